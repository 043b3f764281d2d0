//! Names of unfinished files: `NAME.HOST-PROCESS-ATTEMPT.part`, next to where the finished file will be.
//!
//! Two writers of one file, in one process or on two machines that share a disk, never write to the same temporary file. A
//! killed writer leaves its temporary file; [`is_temporary`] tells such files from others, so that the next owner of the
//! folder can remove them.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The end of every temporary name.
const ENDING: &str = ".part";

static ATTEMPT: AtomicU64 = AtomicU64::new(0);

/// A fresh temporary path for `path`, in the same folder, so that a rename between the two stays on one file system.
fn candidate(path: &Path) -> PathBuf {
    let host = rustix::system::uname().nodename().to_string_lossy().replace(['/', '.'], "-");
    let attempt = ATTEMPT.fetch_add(1, Ordering::Relaxed);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(OsString::from(format!(".{host}-{}-{attempt}{ENDING}", std::process::id())));
    path.with_file_name(name)
}

/// Makes something new at a fresh temporary path, and returns both. A path that is taken, as one of a container with the
/// same host name and process number may be, is passed over.
pub(crate) fn create<T>(path: &Path, make: impl Fn(&Path) -> io::Result<T>) -> io::Result<(PathBuf, T)> {
    loop {
        let temporary = candidate(path);
        match make(&temporary) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            result => return result.map(|made| (temporary, made)),
        }
    }
}

/// Whether the path has a temporary name.
pub fn is_temporary(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().ends_with(ENDING.as_bytes()))
}

/// Whether `path` is a temporary name of `of`.
pub fn is_temporary_of(path: &Path, of: &Path) -> bool {
    let (name, start) = (path.file_name().unwrap_or_default(), of.file_name().unwrap_or_default());
    let rest = name.as_encoded_bytes().strip_prefix(start.as_encoded_bytes());
    path.parent() == of.parent() && is_temporary(path) && rest.is_some_and(|rest| rest.starts_with(b"."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_never_repeat_and_stay_in_the_folder() {
        let path = Path::new("folder/00000.parquet");
        let (a, b) = (candidate(path), candidate(path));
        assert_ne!(a, b);
        assert_eq!(a.parent(), path.parent());
        assert!(is_temporary(&a) && is_temporary_of(&a, path) && !is_temporary(path));
        assert!(!is_temporary_of(&a, Path::new("folder/00001.parquet")));
        assert!(!is_temporary_of(&a, Path::new("other/00000.parquet")));
    }

    #[test]
    fn a_taken_name_is_passed_over() {
        let tries = std::cell::Cell::new(0);
        let (_, made) = create(Path::new("x"), |_| {
            tries.set(tries.get() + 1);
            if tries.get() < 3 { Err(io::ErrorKind::AlreadyExists.into()) } else { Ok(tries.get()) }
        })
        .unwrap();
        assert_eq!(made, 3);
    }
}
