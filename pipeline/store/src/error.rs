//! The crate's error: each variant is something that a caller can decide on, and names the file.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Why a file can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Nothing is at the path.
    #[error("{path}: no such file or folder")]
    NotFound {
        /// The file.
        path: PathBuf,
    },
    /// Something is at a path that was expected to be free.
    #[error("{path}: already exists")]
    AlreadyExists {
        /// The file.
        path: PathBuf,
    },
    /// A path of a store that leads out of it, or is not a plain relative path.
    #[error("{path}: expected a relative path without `..`")]
    Outside {
        /// The path as it was given.
        path: PathBuf,
    },
    /// Something else than a regular file, where one is read.
    #[error("{path}: expected a regular file, found {found}")]
    NotRegular {
        /// The path.
        path: PathBuf,
        /// What is there.
        found: &'static str,
    },
    /// A file that is larger than any of its kind.
    #[error("{path}: expected {most} bytes or fewer, found {bytes}")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The largest that is read.
        most: u64,
    },
    /// A file that is another one than was opened under its name.
    #[error("{path}: the file was replaced or changed while it was read")]
    Replaced {
        /// The file.
        path: PathBuf,
    },
    /// Bytes that the file does not have.
    #[error("{path}: expected bytes {} to {}, found {bytes} bytes", range.start, range.end)]
    Range {
        /// The file.
        path: PathBuf,
        /// The bytes that were asked for.
        range: Range<u64>,
        /// The file's size.
        bytes: u64,
    },
    /// No room is left on the disk, or in the user's quota.
    #[error("{path}: {action} failed, the disk is full")]
    DiskFull {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// The system refused for another reason.
    #[error("{path}: {action} failed")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The system's error.
        source: io::Error,
    },
}

impl FileError {
    /// Turns the system's error into the variant of its kind; `action` is a verb such as "open".
    pub fn of(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> FileError {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::NotFound => FileError::NotFound { path },
            io::ErrorKind::AlreadyExists => FileError::AlreadyExists { path },
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FileError::DiskFull { path, action, source },
            _ => FileError::Io { path, action, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variant_follows_the_kind() {
        let path = Path::new("a/b");
        let of = |kind: io::ErrorKind| FileError::of(path, "write")(kind.into());
        assert!(matches!(of(io::ErrorKind::NotFound), FileError::NotFound { .. }));
        assert!(matches!(of(io::ErrorKind::AlreadyExists), FileError::AlreadyExists { .. }));
        assert!(matches!(of(io::ErrorKind::StorageFull), FileError::DiskFull { .. }));
        assert!(matches!(of(io::ErrorKind::PermissionDenied), FileError::Io { .. }));
        assert_eq!(of(io::ErrorKind::PermissionDenied).to_string(), "a/b: write failed");
    }
}
