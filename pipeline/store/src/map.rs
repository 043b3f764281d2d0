//! Memory-mapped files: the pages of a checkpoint as one byte slice, read by the system as they are touched.
#![allow(unsafe_code)]

use std::path::{Path, PathBuf};

use crate::{FileError, open_regular};

/// A file's bytes, mapped read-only.
///
/// Checkpoints are written under another name and renamed, so a mapped file is never changed in place by this project's
/// programs. Another program that cuts the file short while it is mapped makes reads fail with SIGBUS.
#[derive(Debug)]
pub struct MappedFile {
    // `None` for an empty file, which the system refuses to map.
    map: Option<memmap2::Mmap>,
    path: PathBuf,
}

impl MappedFile {
    /// Maps the whole file.
    ///
    /// # Errors
    /// Something else than a regular file, a file that can't be opened or mapped.
    pub fn open(path: &Path) -> Result<MappedFile, FileError> {
        let file = open_regular(path)?;
        let length = file.metadata().map_err(FileError::of(path, "stat"))?.len();
        // SAFETY: the map is read-only and private to this value; the file is not modified in place (see the type's
        // documentation), which is the condition that memmap2 asks for.
        let map = match length {
            0 => None,
            _ => Some(unsafe { memmap2::Mmap::map(&file) }.map_err(FileError::of(path, "map"))?),
        };
        Ok(MappedFile { map, path: path.to_owned() })
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl AsRef<[u8]> for MappedFile {
    fn as_ref(&self) -> &[u8] {
        self.map.as_deref().unwrap_or_default()
    }
}
