//! JSON files.

use std::path::Path;

use med2e3_input::text::tokenizer::{GIT_LFS_POINTER, is_git_lfs_pointer};
use med2e3_store::{put_whole, read_regular};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::TrainerError;

/// Largest configuration, index or state in bytes, which is held as a tree of values; the largest that are published have 1 MB.
const MOST: u64 = 8 << 20;

/// Largest report in bytes; that of a million steps has 300 MB.
const MOST_OF_REPORT: u64 = 1 << 30;

/// The text of a small file.
///
/// # Errors
/// The file can't be read, is no regular file, or is larger than any of its kind.
pub(crate) fn read_text(path: &Path) -> Result<String, TrainerError> {
    let text = String::from_utf8(read_regular(path, MOST)?);
    let refused =
        |_| TrainerError::File { path: path.to_owned(), expected: "UTF-8".into(), found: "other bytes".into() };
    text.map_err(refused)
}

/// The value of a JSON file.
///
/// # Errors
/// The file can't be read, or it holds something else than `expected`, which the error then names.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path, expected: &str) -> Result<T, TrainerError> {
    parsed(path, expected, read_regular(path, MOST)?)
}

/// The value of a run's report, which may be long.
///
/// # Errors
/// As [`read_json`].
pub(crate) fn read_report<T: DeserializeOwned>(path: &Path, expected: &str) -> Result<T, TrainerError> {
    parsed(path, expected, read_regular(path, MOST_OF_REPORT)?)
}

fn parsed<T: DeserializeOwned>(path: &Path, expected: &str, bytes: Vec<u8>) -> Result<T, TrainerError> {
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
