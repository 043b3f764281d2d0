//! A snapshot to a folder that appears whole, and its replacement of an earlier one.

use std::collections::VecDeque;
use std::fs;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use med2e3_store::whole::{earlier, undo_interrupted};
use med2e3_store::{FileError, WholeFolder, put_whole};

use super::layout::{MANIFEST, Manifest};
use super::snapshot::{FileContents, Snapshot};
use crate::TrainerError;
use crate::files::json::write_json;
use crate::files::tensors::write_tensors;

impl Snapshot {
    /// Writes a checkpoint's folder, durably. It appears whole; an earlier one of that name is replaced. After a kill at any
    /// moment [`last`](super::last) and [`Checkpoint::open`](super::Checkpoint::open) find a complete one. What killed writers
    /// left is removed first, so a run has one writer. Blocks until everything is on the disk.
    ///
    /// # Errors
    /// The system refuses to write.
    pub fn write(&self, folder: &Path) -> Result<(), TrainerError> {
        undo_interrupted(folder)?;
        let new = WholeFolder::create(folder)?;
        self.write_files(new.temporary())?;
        Ok(new.publish()?)
    }

    /// Writes to a folder that is new or empty. One that is there, perhaps as a link, a mounted disk or the current folder, is
    /// filled in its place, the manifest last; after a failure it is empty again.
    ///
    /// # Errors
    /// The system refuses to write.
    pub fn write_new(&self, folder: &Path) -> Result<(), TrainerError> {
        if !folder.is_dir() {
            return self.write(folder);
        }
        let written = self.write_files(folder);
        if written.is_err() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                let _ = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            }
        }
        written
    }

    /// The files, then the manifest. Two threads write: one hashes while the other waits for the disk.
    fn write_files(&self, folder: &Path) -> Result<(), TrainerError> {
        for (relative, _) in &self.files {
            let path = folder.join(relative);
            let parent = path.parent().expect("the path has the folder above it");
            fs::create_dir_all(parent).map_err(FileError::of(parent, "create"))?;
        }
        let files = self.files.iter().map(|(path, contents)| (path.as_str(), contents.share()));
        let next = Mutex::new(files.collect::<VecDeque<_>>());
        let writer = || {
            let mut hashes = Vec::new();
            loop {
                // What a writer holds is let go of here, or the other would wait for it.
                let taken = lock(&next).pop_front();
                let Some((relative, contents)) = taken else { return Ok(hashes) };
                let written = contents.write(&folder.join(relative));
                if written.is_err() {
                    // No further file is begun.
                    lock(&next).clear();
                }
                hashes.push((relative.to_owned(), written?));
            }
        };
        let hashes = thread::scope(|scope| {
            // Where the system gives no thread, this one writes all.
            let other = thread::Builder::new().spawn_scoped(scope, writer).ok();
            let own: Result<Vec<(String, blake3::Hash)>, TrainerError> = writer();
            let other = other.map(|other| other.join().unwrap_or_else(|panic| resume_unwind(panic)));
            [Some(own), other]
        });
        let hashes = hashes.into_iter().flatten().collect::<Result<Vec<_>, _>>()?;
        let files =
            hashes.into_iter().flatten().map(|(relative, hash)| (relative, hash.to_hex().to_string())).collect();
        write_json(&folder.join(MANIFEST), &Manifest { files })
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FileContents {
    /// Writes the file, durably, and gives the blake3 of its bytes.
    fn write(&self, path: &Path) -> Result<blake3::Hash, TrainerError> {
        match self {
            FileContents::Bytes(bytes) => {
                put_whole(path, bytes)?;
                Ok(blake3::hash(bytes))
            }
            FileContents::Tensors(tensors) => write_tensors(path, tensors),
        }
    }
}

/// The checkpoint's folder: the one of this name, or where a replacement was interrupted the earlier one. None where neither
/// is complete.
pub(super) fn complete(folder: &Path) -> Option<PathBuf> {
    [folder.to_owned(), earlier(folder)].into_iter().find(|folder| folder.join(MANIFEST).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::checkpoint::last;
    use crate::files::checkpoint::tests::names;

    fn snapshot(text: &str) -> Snapshot {
        Snapshot { files: vec![("a/text".to_owned(), FileContents::Bytes(text.as_bytes().to_vec()))] }
    }

    fn text(folder: &Path) -> String {
        fs::read_to_string(folder.join("a/text")).unwrap()
    }

    /// Every state that a kill during a replacement may leave, with or without an exchange of names: the folders, and the
    /// text that must be found.
    #[test]
    fn a_kill_at_any_step_of_a_replacement_leaves_a_complete_checkpoint() {
        type Stop = fn(&Path);
        let write = |folder: &Path, name: &str, text: &str| {
            snapshot(text).write_files(&folder.with_file_name(name)).unwrap();
        };
        let incomplete: Stop = |folder| {
            fs::create_dir_all(folder.with_file_name("step-3.host-1-0.part/a")).unwrap();
            fs::write(folder.with_file_name("step-3.host-1-0.part/a/text"), "ne").unwrap();
        };
        let written: Stop =
            |folder| snapshot("new").write_files(&folder.with_file_name("step-3.host-1-0.part")).unwrap();
        let renamed: Stop = |folder| {
            snapshot("new").write_files(&folder.with_file_name("step-3.host-1-0.part")).unwrap();
            fs::rename(folder, folder.with_file_name("step-3.old")).unwrap();
        };
        let in_position: Stop = |folder| {
            fs::rename(folder, folder.with_file_name("step-3.old")).unwrap();
            snapshot("new").write_files(folder).unwrap();
        };
        let half_removed: Stop = |folder| {
            fs::rename(folder, folder.with_file_name("step-3.old")).unwrap();
            fs::remove_file(folder.with_file_name("step-3.old/a/text")).unwrap();
            snapshot("new").write_files(folder).unwrap();
        };
        for (stop, expected) in
            [(incomplete, "early"), (written, "early"), (renamed, "early"), (in_position, "new"), (half_removed, "new")]
        {
            let run = tempfile::tempdir().unwrap();
            let folder = run.path().join("step-3");
            write(&folder, "step-2", "before");
            snapshot("early").write(&folder).unwrap();
            stop(&folder);

            let found = last(run.path()).unwrap();
            assert_eq!(text(&found), expected, "{:?}", names(run.path()));
            assert_eq!(complete(&folder), Some(found));
            // A complete checkpoint is there too while the next write goes on, and nothing is left next to it.
            undo_interrupted(&folder).unwrap();
            assert_eq!(text(&last(run.path()).unwrap()), expected);
            snapshot("next").write(&folder).unwrap();
            assert_eq!(text(&folder), "next");
            assert_eq!(names(run.path()), ["step-2", "step-3"]);
        }
    }
}
