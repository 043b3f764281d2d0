//! The interface of a store of files, small enough for a local folder, memory or an object store.

use std::fmt;
use std::ops::Range;
use std::path::{Component, Path};

use bytes::Bytes;

use crate::FileError;

/// A file in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Relative to the store, with `/`.
    pub path: String,
    /// Its size.
    pub bytes: u64,
}

/// What became of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// The file is there with these bytes.
    Done,
    /// Another file was there before; it is unchanged.
    AlreadyThere,
}

/// A store of files, by relative paths with `/`. All calls block and may come from several threads at once; a file is there
/// whole or not at all, for every reader.
///
/// Why not a file system's interface: renames, appends and locks do not exist in object stores, and nothing here needs them.
pub trait Store: fmt::Debug + Send + Sync {
    /// The bytes of a file in a range.
    ///
    /// # Errors
    /// [`FileError::NotFound`], [`FileError::Range`] where the file is shorter, [`FileError::Outside`].
    fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, FileError>;

    /// The size of a file.
    ///
    /// # Errors
    /// [`FileError::NotFound`], [`FileError::Outside`].
    fn size(&self, path: &str) -> Result<u64, FileError>;

    /// Writes a file whole, in place of an earlier one. Folders on the way are made.
    ///
    /// # Errors
    /// [`FileError::DiskFull`], [`FileError::Outside`].
    fn put_whole(&self, path: &str, bytes: &[u8]) -> Result<(), FileError>;

    /// Writes a file whole unless there is one. Of several callers exactly one gets [`Commit::Done`].
    ///
    /// # Errors
    /// [`FileError::DiskFull`], [`FileError::Outside`].
    fn commit_if_absent(&self, path: &str, bytes: &[u8]) -> Result<Commit, FileError>;

    /// Every file below a folder, sorted by path; all files for the empty folder, none for one that is not there.
    ///
    /// # Errors
    /// [`FileError::Outside`], a folder that can't be listed.
    fn list(&self, folder: &str) -> Result<Vec<Entry>, FileError>;

    /// Removes a file. One that is not there is no error, so that a removal can be tried again.
    ///
    /// # Errors
    /// [`FileError::Outside`], a file that can't be removed.
    fn remove(&self, path: &str) -> Result<(), FileError>;
}

/// All bytes of a file.
///
/// # Errors
/// As [`Store::get_range`].
pub fn get_whole(store: &dyn Store, path: &str) -> Result<Bytes, FileError> {
    store.get_range(path, 0..store.size(path)?)
}

/// Whether a path is one of a store: relative, with `/` between names, none of them empty, `.` or `..`.
pub(crate) fn check_path(path: &str) -> Result<(), FileError> {
    let plain = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    let names = path.split('/').all(|name| !name.is_empty() && name != ".") && !path.contains('\\');
    if plain && names { Ok(()) } else { Err(FileError::Outside { path: path.into() }) }
}

/// As [`check_path`], for a folder: the empty path is the store itself.
pub(crate) fn check_folder(folder: &str) -> Result<(), FileError> {
    if folder.is_empty() { Ok(()) } else { check_path(folder) }
}
