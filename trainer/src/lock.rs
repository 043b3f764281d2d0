//! One writer of a run's folder: the folder itself is locked while a run is open.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use med2e3_program::note;
use med2e3_program::output::OutputError;
use med2e3_store::FileError;

use crate::TrainerError;

/// A run's folder, kept from other runs until this is dropped. The system lets go of it when the process ends, however it ends.
pub(crate) struct RunLock {
    _folder: File,
    /// The folder, where it was not there before.
    created: Option<PathBuf>,
}

impl RunLock {
    /// Makes the folder, where it is not there, and locks it.
    ///
    /// # Errors
    /// Another process writes into it; the system refuses.
    pub(crate) fn take(out: &Path) -> Result<RunLock, TrainerError> {
        RunLock::of(out, File::try_lock)
    }

    /// As [`RunLock::take`], for work of a moment: waits until no other process writes into the folder.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn wait(out: &Path) -> Result<RunLock, TrainerError> {
        RunLock::of(out, |folder| folder.lock().map_err(TryLockError::Error))
    }

    fn of(out: &Path, lock: impl FnOnce(&File) -> Result<(), TryLockError>) -> Result<RunLock, TrainerError> {
        let created = (!out.exists()).then(|| out.to_owned());
        fs::create_dir_all(out).map_err(FileError::of(out, "create"))?;
        let folder = File::open(out).map_err(FileError::of(out, "open"))?;
        match lock(&folder) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OutputError::Occupied {
                    path: out.to_owned(),
                    problem: "another process writes into this folder".into(),
                    hint: "wait for it, or give another --out".into(),
                }
                .into());
            }
            Err(TryLockError::Error(error)) => {
                let out = out.display();
                note(format_args!("note: {out} can't be locked ({error}): start no other run into this folder"));
            }
        }
        Ok(RunLock { _folder: folder, created })
    }
}

/// Whether a process writes a run into a folder.
pub(crate) fn is_held(out: &Path) -> bool {
    File::open(out).is_ok_and(|folder| matches!(folder.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

impl Drop for RunLock {
    /// A run that wrote nothing leaves no folder behind.
    fn drop(&mut self) {
        if let Some(created) = &self.created {
            // Only an empty folder is removed.
            let _ = fs::remove_dir(created);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_run_at_a_time_and_an_empty_one_does_not_stay() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("a/run");
        let lock = RunLock::take(&out).unwrap();
        let error = RunLock::take(&out).err().unwrap().to_string();
        assert!(error.contains("another process") && out.is_dir(), "{error}");
        assert!(is_held(&out));
        drop(lock);
        assert!(!is_held(&out));
        assert!(!out.exists());

        let lock = RunLock::take(&out).unwrap();
        fs::write(out.join("train.toml"), "").unwrap();
        drop(lock);
        assert!(out.join("train.toml").is_file());
        drop(RunLock::take(&out).unwrap());
    }
}
