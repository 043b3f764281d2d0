//! JSON files.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use med2e3_input::text::tokenizer::{GIT_LFS_POINTER, is_git_lfs_pointer};
use med2e3_store::{FileError, put_whole};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::TrainerError;

/// Largest configuration, index or state in bytes, which is held as a tree of values; the largest that are published have 1 MB.
const MOST: u64 = 8 << 20;

/// The text of a small file.
///
/// # Errors
/// The file can't be read, or it is larger than any of its kind.
pub(crate) fn read_text(path: &Path) -> Result<String, TrainerError> {
    let mut text = String::new();
    // Opening a pipe would wait for its other end.
    if fs::metadata(path).is_ok_and(|file| !file.is_file() && !file.is_dir()) {
        let (path, expected, found) = (path.to_owned(), "a file".into(), "a pipe or a device".into());
        return Err(TrainerError::File { path, expected, found });
    }
    let file = File::open(path).map_err(FileError::of(path, "read"))?;
    file.take(MOST + 1).read_to_string(&mut text).map_err(FileError::of(path, "read"))?;
    if text.len() as u64 > MOST {
        let (path, expected) = (path.to_owned(), format!("at most {MOST} bytes"));
        return Err(TrainerError::File { path, expected, found: "more".into() });
    }
    Ok(text)
}

/// The value of a JSON file.
///
/// # Errors
/// The file can't be read, or it holds something else than `expected`, which the error then names.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path, expected: &str) -> Result<T, TrainerError> {
    let text = read_text(path)?;
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
