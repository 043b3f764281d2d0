//! A file that grows with a run. What the disk refuses waits in memory and is written with what comes next: a full disk costs a run
//! no step.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use med2e3_program::{note, with_causes};
use med2e3_store::FileError;

use crate::TrainerError;

/// A file that grows.
pub(super) struct AppendedFile {
    path: PathBuf,
    file: File,
    /// Bytes of it that are whole.
    length: u64,
    /// What comes after them; empty but where the disk refused it.
    waiting: Vec<u8>,
}

impl AppendedFile {
    /// Opens a file that is there.
    ///
    /// # Errors
    /// The system refuses.
    pub(super) fn open(path: &Path) -> Result<AppendedFile, TrainerError> {
        let file = OpenOptions::new().append(true).open(path).map_err(FileError::of(path, "open"))?;
        AppendedFile::of(path, file)
    }

    /// Begins a file that is not there.
    ///
    /// # Errors
    /// The system refuses.
    pub(super) fn create(path: &Path) -> Result<AppendedFile, TrainerError> {
        let file = OpenOptions::new().append(true).create_new(true).open(path);
        AppendedFile::of(path, file.map_err(FileError::of(path, "create"))?)
    }

    fn of(path: &Path, file: File) -> Result<AppendedFile, TrainerError> {
        let length = file.metadata().map_err(FileError::of(path, "read"))?.len();
        Ok(AppendedFile { path: path.to_owned(), file, length, waiting: Vec::new() })
    }

    /// Adds bytes. Where the disk refuses them that is said, once, and they wait.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        let waited = !self.waiting.is_empty();
        match (self.write(bytes), waited) {
            (Err(problem), false) => {
                note(format_args!("WARNING: {}; what comes is kept in memory and tried again", with_causes(&problem)))
            }
            (Ok(()), true) => note(format_args!("{} is whole again", self.path.display())),
            _ => {}
        }
    }

    /// Writes what waits.
    ///
    /// # Errors
    /// The disk still refuses it.
    pub(super) fn flush(&mut self) -> Result<(), TrainerError> {
        Ok(self.write(&[])?)
    }

    fn write(&mut self, more: &[u8]) -> Result<(), FileError> {
        let waited = !self.waiting.is_empty();
        self.waiting.extend_from_slice(more);
        if self.waiting.is_empty() {
            return Ok(());
        }
        // A part of what waited may have been written.
        let whole = if waited { self.file.set_len(self.length) } else { Ok(()) };
        let written: io::Result<()> = whole.and_then(|()| self.file.write_all(&self.waiting));
        written.map_err(FileError::of(&self.path, "write"))?;
        self.length += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_is_written_in_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut log = AppendedFile::create(&path).unwrap();
        log.append(b"one\n");
        // A file that is open for reading refuses what is written.
        let file = std::mem::replace(&mut log.file, File::open(&path).unwrap());
        log.append(b"two\n");
        log.append(b"three\n");
        assert!(log.flush().is_err());
        log.file = file;
        // As a disk that took a part of it.
        log.file.write_all(b"tw").unwrap();
        log.append(b"four\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\nthree\nfour\n");
        log.flush().unwrap();
        let mut again = AppendedFile::open(&path).unwrap();
        again.append(b"five\n");
        assert!(std::fs::read_to_string(&path).unwrap().ends_with("four\nfive\n"));
        assert!(AppendedFile::create(&path).is_err());
    }
}
