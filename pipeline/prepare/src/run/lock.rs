//! The lock on a run's folder: one process reads the manifest, then several may work at their parts.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

use med2e3_program::{WorkPart, note};

use crate::PrepareError;

/// A lock that is held as long as the run goes on. The system releases it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    sharing: Sharing,
}

/// Who else may work in the folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sharing {
    /// Nobody: the tables may be made.
    Alone,
    /// Other processes with parts of their own; the tables are on the disk.
    Shared,
    /// The file system has no locks: nobody is kept out.
    Unknown,
}

impl Lock {
    /// Takes the lock for this process alone, or, for a part, shares it with others that work at theirs; blocks while
    /// another process reads the manifest. A file system without locks (Lustre, some NFS) is no obstacle to a run
    /// without parts: a line says that nobody is kept out.
    ///
    /// # Errors
    /// Another process works in the folder; parts on a file system without locks; the system refuses.
    pub(super) fn take(path: &Path, out: &Path, part: WorkPart) -> Result<Lock, PrepareError> {
        let file = File::options().create(true).truncate(false).write(true).open(path);
        let file = file.map_err(PrepareError::file(path, "open"))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { file, sharing: Sharing::Alone }),
            Err(TryLockError::Error(error)) if has_no_locks(&error) && part == WorkPart::WHOLE => {
                note(format_args!(
                    "note: the file system of {} has no locks ({error}): start no other run into this folder",
                    out.display()
                ));
                Ok(Lock { file, sharing: Sharing::Unknown })
            }
            Err(TryLockError::Error(error)) if has_no_locks(&error) => Err(PrepareError::Output {
                path: out.to_owned(),
                problem: format!("parts need a file system with locks ({error})"),
                hint: "run without --part, or give an --out on another file system".into(),
            }),
            Err(TryLockError::Error(error)) => Err(PrepareError::file(path, "lock")(error)),
            Err(TryLockError::WouldBlock) if part != WorkPart::WHOLE => {
                if let Err(TryLockError::WouldBlock) = file.try_lock_shared() {
                    note(format_args!("waiting for the process that reads the manifest of {}", out.display()));
                    file.lock_shared().map_err(PrepareError::file(path, "lock"))?;
                }
                Ok(Lock { file, sharing: Sharing::Shared })
            }
            Err(TryLockError::WouldBlock) => Err(PrepareError::Output {
                path: out.to_owned(),
                problem: "another process prepares this dataset".into(),
                hint: "wait for it; to share the work give each process its own --part I/N".into(),
            }),
        }
    }

    /// Lets others in.
    pub(super) fn share(&mut self, folder: &Path) -> Result<(), PrepareError> {
        if self.sharing == Sharing::Alone {
            let shared = self.file.unlock().and_then(|()| self.file.lock_shared());
            shared.map_err(PrepareError::file(folder, "lock"))?;
            self.sharing = Sharing::Shared;
        }
        Ok(())
    }

    pub(super) fn is_shared(&self) -> bool {
        self.sharing == Sharing::Shared
    }
}

/// Whether the error says that there are no locks here, rather than that this one can't be had.
fn has_no_locks(error: &io::Error) -> bool {
    // ENOSYS, EOPNOTSUPP, ENOLCK, EINVAL, as network file systems answer.
    matches!(error.raw_os_error(), Some(38 | 95 | 37 | 22))
}
