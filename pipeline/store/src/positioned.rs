//! A regular file that is read at positions, by copies: one that is cut short or removed meanwhile is an error, where a mapped
//! one ends the process by a signal.

use std::fs::File;
use std::io;
use std::num::NonZero;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{Advice, fadvise};

use crate::{FileError, open_regular};

/// Files that are held open at a time, of all; others are opened for each read. A system gives a process 1,024 unless told
/// otherwise, and a dataset may have more shards.
const MOST_HELD: usize = 256;

static HELD: AtomicUsize = AtomicUsize::new(0);

/// A file that may be read from several threads at once.
#[derive(Debug)]
pub struct PositionedFile {
    path: PathBuf,
    held: Option<Held>,
    // Device, inode, bytes.
    identity: (u64, u64, u64),
}

#[derive(Debug)]
struct Held(File);

impl Drop for Held {
    fn drop(&mut self) {
        HELD.fetch_sub(1, Ordering::Relaxed);
    }
}

impl PositionedFile {
    /// Opens a regular file, at the end of links.
    ///
    /// # Errors
    /// As [`open_regular`].
    pub fn open(path: &Path) -> Result<PositionedFile, FileError> {
        let file = open_regular(path)?;
        let identity = identity(path, &file)?;
        let take = |held: usize| (held < MOST_HELD).then_some(held + 1);
        let held = HELD.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok().then(|| Held(file));
        Ok(PositionedFile { path: path.to_owned(), held, identity })
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its size when it was opened.
    pub fn bytes(&self) -> u64 {
        self.identity.2
    }

    /// Device and number of the file there: the same for every name of one file.
    pub fn number(&self) -> (u64, u64) {
        (self.identity.0, self.identity.1)
    }

    /// Replaces the contents of `buffer` by the bytes in a range.
    ///
    /// # Errors
    /// [`FileError::Range`] where the file has them not, or no longer; [`FileError::Replaced`]; the system refuses to read.
    pub fn read(&self, range: Range<u64>, buffer: &mut Vec<u8>) -> Result<(), FileError> {
        // Before the buffer grows: a range comes from the file itself.
        if range.start > range.end || range.end > self.bytes() {
            return Err(FileError::Range { path: self.path.clone(), range, bytes: self.bytes() });
        }
        buffer.resize((range.end - range.start) as usize, 0);
        self.read_at(range.start, buffer)
    }

    /// Tells the system that a range will be read soon, so that it may begin. Does not wait, and does nothing where the file is
    /// opened for each read.
    pub fn will_read(&self, range: Range<u64>) {
        self.advise(range, Advice::WillNeed);
    }

    /// Takes the file out of the system's cache, as far as it lets that be: what is read next comes from the disk.
    pub fn forget(&self) {
        self.advise(0..self.bytes(), Advice::DontNeed);
    }

    fn advise(&self, range: Range<u64>, advice: Advice) {
        let bytes = NonZero::new(range.end.saturating_sub(range.start));
        if let (Some(Held(file)), Some(bytes)) = (&self.held, bytes) {
            let _ = fadvise(file, range.start, Some(bytes), advice);
        }
    }

    /// Fills `buffer` with the bytes from `start` on.
    ///
    /// # Errors
    /// As [`PositionedFile::read`].
    pub fn read_at(&self, start: u64, buffer: &mut [u8]) -> Result<(), FileError> {
        let range = start..start.saturating_add(buffer.len() as u64);
        if range.end > self.bytes() {
            return Err(FileError::Range { path: self.path.clone(), range, bytes: self.bytes() });
        }
        let read = match &self.held {
            Some(Held(file)) => file.read_exact_at(buffer, start),
            None => self.open_again()?.read_exact_at(buffer, start),
        };
        read.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                let bytes = std::fs::metadata(&self.path).map_or(0, |now| now.len());
                FileError::Range { path: self.path.clone(), range, bytes }
            }
            _ => FileError::of(&self.path, "read")(error),
        })
    }

    fn open_again(&self) -> Result<File, FileError> {
        let file = open_regular(&self.path)?;
        let is_same = identity(&self.path, &file)? == self.identity;
        if is_same { Ok(file) } else { Err(FileError::Replaced { path: self.path.clone() }) }
    }
}

fn identity(path: &Path, file: &File) -> Result<(u64, u64, u64), FileError> {
    let metadata = file.metadata().map_err(FileError::of(path, "stat"))?;
    Ok((metadata.dev(), metadata.ino(), metadata.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_file_that_is_cut_or_replaced_meanwhile_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, vec![7; 100_000]).unwrap();
        let file = PositionedFile::open(&path).unwrap();
        let mut buffer = Vec::new();
        file.read(99_998..100_000, &mut buffer).unwrap();
        assert_eq!(buffer, [7, 7]);
        assert!(matches!(file.read(0..u64::MAX, &mut buffer), Err(FileError::Range { .. })));
        File::options().write(true).open(&path).unwrap().set_len(10).unwrap();
        let cut = file.read(50_000..100_000, &mut buffer).unwrap_err().to_string();
        assert!(cut.contains("found 10 bytes"), "{cut}");
    }

    #[test]
    fn more_files_are_read_than_are_held() {
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> = (0..MOST_HELD + 3).map(|n| folder.path().join(n.to_string())).collect();
        paths.iter().for_each(|path| fs::write(path, path.to_str().unwrap()).unwrap());
        let files: Vec<PositionedFile> = paths.iter().map(|path| PositionedFile::open(path).unwrap()).collect();
        assert!(files.iter().filter(|file| file.held.is_some()).count() <= MOST_HELD);
        let mut buffer = Vec::new();
        for (file, path) in files.iter().zip(&paths) {
            file.read(0..file.bytes(), &mut buffer).unwrap();
            assert_eq!(buffer, path.to_str().unwrap().as_bytes());
        }
        let last = paths.last().unwrap();
        fs::write(folder.path().join("other"), fs::read(last).unwrap()).unwrap();
        fs::rename(folder.path().join("other"), last).unwrap();
        let error = files.last().unwrap().read(0..1, &mut buffer).unwrap_err();
        assert!(matches!(error, FileError::Replaced { .. }));
        fs::remove_file(last).unwrap();
        assert!(matches!(files.last().unwrap().read(0..1, &mut buffer), Err(FileError::NotFound { .. })));
    }
}
