//! JSON files.

use std::fs;
use std::path::Path;

use med2e3_input::text::tokenizer::{GIT_LFS_POINTER, is_git_lfs_pointer};
use med2e3_store::{FileError, put_whole};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::TrainerError;

/// The value of a JSON file.
///
/// # Errors
/// The file can't be read, or it holds something else than `expected`, which the error then names.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path, expected: &str) -> Result<T, TrainerError> {
    let text = fs::read_to_string(path).map_err(FileError::of(path, "read"))?;
    let refused = |found: String| TrainerError::File { path: path.to_owned(), expected: expected.into(), found };
    if is_git_lfs_pointer(text.as_bytes()) {
        return Err(refused(GIT_LFS_POINTER.into()));
    }
    serde_json::from_str(&text).map_err(|e| refused(e.to_string()))
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
