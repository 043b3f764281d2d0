//! JSON files.

use std::path::Path;

use med2e3_input::text::tokenizer::{GIT_LFS_POINTER, is_git_lfs_pointer};
use med2e3_store::{put_whole, read_regular};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::TrainerError;

/// Bytes of a JSON file at most; that of a million steps has 300 MB.
const MAX_JSON_BYTES: u64 = 1 << 30;

/// The value of a JSON file.
///
/// # Errors
/// The file can't be read, or it holds something else than `expected`, which the error then names.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path, expected: &str) -> Result<T, TrainerError> {
    let bytes = read_regular(path, MAX_JSON_BYTES)?;
    let refused = |found: String| TrainerError::File { path: path.to_owned(), expected: expected.into(), found };
    if is_git_lfs_pointer(&bytes) {
        return Err(refused(GIT_LFS_POINTER.into()));
    }
    serde_json::from_slice(&bytes).map_err(|e| refused(e.to_string()))
}

/// Writes a value as indented JSON; the file appears whole.
///
/// # Errors
/// The system refuses to write.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), TrainerError> {
    Ok(put_whole(path, &to_json(value))?)
}

/// A value as indented JSON.
pub(crate) fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec_pretty(value).expect("plain data can be written as JSON")
}
