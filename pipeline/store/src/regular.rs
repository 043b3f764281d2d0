//! Regular files alone: whatever path a stranger's file names, what is opened is never a pipe that waits, nor a device.

use std::fs::{self, File, FileType};
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::FileError;

/// Fails where something else than a regular file is at the end of the path's links. Opens nothing.
///
/// # Errors
/// Something else; a path at which the system finds nothing.
pub fn check_regular(path: &Path) -> Result<(), FileError> {
    refuse_other(path, fs::metadata(path).map_err(FileError::of(path, "stat"))?.file_type())
}

/// Opens a regular file for reading, at the end of links. Never waits for another process.
///
/// # Errors
/// Something else than a regular file; a file that the system does not open.
pub fn open_regular(path: &Path) -> Result<File, FileError> {
    // Looked at before it is opened, since opening a device may do something; and again when it is open, since it may have
    // been replaced between. A pipe that took its place does not wait for a writer: the call does not block.
    check_regular(path)?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file =
        rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| FileError::of(path, "open")(errno.into()))?;
    let file = File::from(file);
    refuse_other(path, file.metadata().map_err(FileError::of(path, "stat"))?.file_type())?;
    Ok(file)
}

/// The bytes of a regular file that has at most `most` of them.
///
/// # Errors
/// As [`open_regular`]; [`FileError::TooLarge`]; the system refuses to read.
pub fn read_regular(path: &Path, most: u64) -> Result<Vec<u8>, FileError> {
    let file = open_regular(path)?;
    let bytes = file.metadata().map_err(FileError::of(path, "stat"))?.len();
    let too_large = |bytes: u64| FileError::TooLarge { path: path.to_owned(), bytes, most };
    if bytes > most {
        return Err(too_large(bytes));
    }
    let mut contents = Vec::new();
    file.take(most + 1).read_to_end(&mut contents).map_err(FileError::of(path, "read"))?;
    // It may have grown meanwhile.
    if contents.len() as u64 > most { Err(too_large(contents.len() as u64)) } else { Ok(contents) }
}

fn refuse_other(path: &Path, kind: FileType) -> Result<(), FileError> {
    let found = match kind {
        kind if kind.is_file() => return Ok(()),
        kind if kind.is_dir() => "a folder",
        kind if kind.is_fifo() => "a named pipe",
        kind if kind.is_socket() => "a socket",
        _ => "a device",
    };
    Err(FileError::NotRegular { path: path.to_owned(), found })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn only_regular_files_are_opened_and_nothing_waits() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), b"abc").unwrap();
        std::os::unix::fs::symlink("file", at("link")).unwrap();
        assert_eq!(read_regular(&at("link"), 3).unwrap(), b"abc");
        assert!(matches!(read_regular(&at("file"), 2), Err(FileError::TooLarge { bytes: 3, most: 2, .. })));

        rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe"), Mode::RUSR | Mode::WUSR).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        let said = |path: &Path| open_regular(path).unwrap_err().to_string();
        assert!(said(&at("pipe")).ends_with("expected a regular file, found a named pipe"));
        assert!(said(&at("socket")).ends_with("found a socket"));
        assert!(said(folder.path()).ends_with("found a folder"));
        assert!(said(Path::new("/dev/null")).ends_with("found a device"));
        assert!(matches!(open_regular(&at("none")), Err(FileError::NotFound { .. })));
    }
}
