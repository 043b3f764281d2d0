//! Reading: the file operations of readers and listings, which tell a fault of the machine from a fault of a file.
//!
//! A disk that fails, a network mount that is lost or a process without free file handles says nothing about the file
//! that was to be read. So each operation here remembers such an error, whatever its caller makes of it, and whoever
//! reads an input does so [`patiently`]: the whole input is read again, and an error that stays is a [`MachineFault`],
//! which no reader can turn into a dropped slice or a rejected row.
//!
//! All of this crate and prepare's manifests read files by these functions alone.

use std::cell::RefCell;
pub use std::fs::DirEntry;
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// How long to wait before each further try: a mount that comes back, a handle that another thread gives free.
const WAITS: [Duration; 3] = [Duration::from_millis(50), Duration::from_millis(300), Duration::from_secs(1)];

/// An operation that the machine failed to do, time and again.
#[derive(Debug, thiserror::Error)]
#[error("{}: the machine failed to read it in {} tries, which says nothing of the file", path.display(), WAITS.len() + 1)]
pub struct MachineFault {
    /// The file or folder.
    pub path: PathBuf,
    /// The system's error.
    pub source: io::Error,
}

/// The system's number of an error for memory that is not there, ENOMEM.
const NO_MEMORY: i32 = 12;

impl MachineFault {
    /// Names the input that was read where the fault names no file, as one of memory.
    pub(crate) fn of(mut self, input: &Path) -> MachineFault {
        if self.path.as_os_str().is_empty() {
            input.clone_into(&mut self.path);
        }
        self
    }
}

thread_local! {
    /// The first error of the machine on this thread since the reading began.
    static HEARD: RefCell<Option<MachineFault>> = const { RefCell::new(None) };
}

/// Whether an error is the machine's: any that the system reports, save those that say something about the path: nothing
/// is there, it may not be read, it is of another kind, its name can't exist. Errors of decoding are none of the system's.
pub fn is_of_the_machine(error: &io::Error) -> bool {
    let about_the_path = [
        ErrorKind::NotFound,
        ErrorKind::PermissionDenied,
        ErrorKind::NotADirectory,
        ErrorKind::IsADirectory,
        ErrorKind::InvalidInput,
        ErrorKind::InvalidFilename,
    ];
    // No such device (a socket that is opened), no such address, too many links, bytes that are no name here.
    let by_number = [6, 19, 40, 84];
    error.raw_os_error().is_some_and(|code| !about_the_path.contains(&error.kind()) && !by_number.contains(&code))
}

/// Runs `read`, which reads one input on this thread; again and again, with waits of about a second in all, while an
/// error of the machine occurs in it.
///
/// # Errors
/// The first error of the machine in the last try.
pub fn patiently<T>(mut read: impl FnMut() -> T) -> Result<T, MachineFault> {
    let mut waits = WAITS.iter();
    loop {
        let outer = HEARD.take();
        let result = read();
        let Some(fault) = HEARD.replace(outer) else { return Ok(result) };
        match waits.next() {
            Some(wait) => thread::sleep(*wait),
            None => return Err(fault),
        }
    }
}

/// Remembers an error of the machine for [`patiently`].
fn hear(path: &Path, error: &io::Error) {
    let Some(code) = error.raw_os_error().filter(|_| is_of_the_machine(error)) else { return };
    HEARD.with_borrow_mut(|heard| {
        let fault = || MachineFault { path: path.to_owned(), source: io::Error::from_raw_os_error(code) };
        heard.get_or_insert_with(fault);
    });
}

/// The error for memory that the machine does not have, which is remembered for [`patiently`]. It names no path: whoever reads
/// an input names it.
pub(crate) fn no_memory() -> io::Error {
    let error = io::Error::from_raw_os_error(NO_MEMORY);
    hear(Path::new(""), &error);
    error
}

fn heard<T>(path: &Path, result: io::Result<T>) -> io::Result<T> {
    result.inspect_err(|error| hear(path, error))
}

/// As [`fs::metadata`]: a link is followed.
///
/// # Errors
/// The system's.
pub fn metadata(path: &Path) -> io::Result<Metadata> {
    heard(path, fs::metadata(path))
}

/// Whether anything is at the path, at the end of a link.
pub fn exists(path: &Path) -> bool {
    metadata(path).is_ok()
}

/// Whether a regular file is at the path, at the end of a link.
pub fn is_file(path: &Path) -> bool {
    metadata(path).is_ok_and(|metadata| metadata.is_file())
}

/// Whether a folder is at the path, at the end of a link.
pub fn is_dir(path: &Path) -> bool {
    metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

/// As [`fs::canonicalize`].
///
/// # Errors
/// The system's.
pub fn canonicalize(path: &Path) -> io::Result<PathBuf> {
    heard(path, fs::canonicalize(path))
}

/// The entries of a folder, in the order of their names.
///
/// # Errors
/// The system's; then no entry is given.
pub fn entries(path: &Path) -> io::Result<Vec<DirEntry>> {
    let mut entries: Vec<DirEntry> = heard(path, fs::read_dir(path).and_then(Iterator::collect))?;
    entries.sort_by_key(DirEntry::file_name);
    Ok(entries)
}

/// The first bytes of a file: all of one that has at most `most`, and one more of any other, by which it is known.
///
/// # Errors
/// The system's.
pub fn read_at_most(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// An open file.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
    file: fs::File,
}

impl File {
    /// Opens a file to read it.
    ///
    /// # Errors
    /// The system's.
    pub fn open(path: &Path) -> io::Result<File> {
        let file = heard(path, fs::File::open(path))?;
        Ok(File { path: path.to_owned(), file })
    }

    /// Of the file that is open.
    ///
    /// # Errors
    /// The system's.
    pub fn metadata(&self) -> io::Result<Metadata> {
        heard(&self.path, self.file.metadata())
    }
}

impl Read for File {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        heard(&self.path, self.file.read(out))
    }

    fn read_to_end(&mut self, out: &mut Vec<u8>) -> io::Result<usize> {
        heard(&self.path, self.file.read_to_end(out))
    }
}

impl Seek for File {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        heard(&self.path, self.file.seek(to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EIO: i32 = 5;

    #[test]
    fn what_the_system_says_of_a_path_is_no_fault_of_the_machine() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, b"bytes").unwrap();
        let long = folder.path().join("n".repeat(300));
        let refused = [
            fs::read(folder.path().join("none")).unwrap_err(),
            fs::read(folder.path()).unwrap_err(),
            fs::read(file.join("below")).unwrap_err(),
            fs::read(long).unwrap_err(),
            fs::read("/proc/self/mem\0").unwrap_err(),
            io::Error::from(ErrorKind::UnexpectedEof),
            io::Error::from(ErrorKind::PermissionDenied),
        ];
        refused.iter().for_each(|error| assert!(!is_of_the_machine(error), "{error}"));
        // Input/output, handles of the process and of the system, memory, stale handle, time out, host down, quota.
        for code in [EIO, 24, 23, 12, 116, 110, 112, 122] {
            assert!(is_of_the_machine(&io::Error::from_raw_os_error(code)), "{code}");
        }
    }

    #[test]
    fn an_input_is_read_again_while_the_machine_fails_and_then_refused() {
        let fail = || hear(Path::new("slice"), &io::Error::from_raw_os_error(EIO));
        let mut tries = 0;
        let result = patiently(|| {
            tries += 1;
            if tries < 3 {
                fail();
            }
            tries
        });
        assert_eq!((result.unwrap(), tries), (3, 3));
        let mut tries = 0;
        let fault = patiently(|| {
            tries += 1;
            fail();
        });
        let fault = fault.unwrap_err();
        assert_eq!((tries, fault.source.raw_os_error()), (WAITS.len() + 1, Some(EIO)));
        assert!(fault.to_string().starts_with("slice: the machine failed to read it in 4 tries"), "{fault}");
        // What an inner reading met is its own.
        let outer = patiently(|| patiently(fail).is_err());
        assert!(outer.unwrap());
    }
}
