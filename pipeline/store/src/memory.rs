//! Memory as a store: for tests, and for what should never touch a disk.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::FileError;
use crate::store::{Commit, Entry, Store, check_folder, check_path};

/// Files in memory.
#[derive(Debug, Default)]
pub struct Memory {
    files: Mutex<BTreeMap<String, Bytes>>,
}

impl Memory {
    fn files(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        // No call leaves the map half changed, so it is whole after a panic too.
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for Memory {
    fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, FileError> {
        check_path(path)?;
        let file = self.files().get(path).cloned().ok_or_else(|| FileError::NotFound { path: path.into() })?;
        let bytes = file.len() as u64;
        if range.start > range.end || range.end > bytes {
            return Err(FileError::Range { path: path.into(), range, bytes });
        }
        Ok(file.slice(range.start as usize..range.end as usize))
    }

    fn size(&self, path: &str) -> Result<u64, FileError> {
        check_path(path)?;
        let files = self.files();
        files.get(path).map(|file| file.len() as u64).ok_or_else(|| FileError::NotFound { path: path.into() })
    }

    fn put_whole(&self, path: &str, bytes: &[u8]) -> Result<(), FileError> {
        check_path(path)?;
        self.files().insert(path.to_owned(), Bytes::copy_from_slice(bytes));
        Ok(())
    }

    fn commit_if_absent(&self, path: &str, bytes: &[u8]) -> Result<Commit, FileError> {
        check_path(path)?;
        let mut files = self.files();
        if files.contains_key(path) {
            return Ok(Commit::AlreadyThere);
        }
        files.insert(path.to_owned(), Bytes::copy_from_slice(bytes));
        Ok(Commit::Done)
    }

    fn list(&self, folder: &str) -> Result<Vec<Entry>, FileError> {
        check_folder(folder)?;
        let start = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let files = self.files();
        let below = files.iter().filter(|(path, _)| path.starts_with(&start));
        Ok(below.map(|(path, file)| Entry { path: path.clone(), bytes: file.len() as u64 }).collect())
    }

    fn remove(&self, path: &str) -> Result<(), FileError> {
        check_path(path)?;
        self.files().remove(path);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_conforms() {
        crate::conformance::check(&Memory::default());
    }
}
