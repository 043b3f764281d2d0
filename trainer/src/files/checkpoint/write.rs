//! A snapshot to a folder that appears whole, and its replacement of an earlier one.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use med2e3_feed::shard::commit::write_whole;

use super::layout::{MANIFEST, Manifest, hash_of};
use super::snapshot::{FileContents, Snapshot};
use crate::TrainerError;
use crate::files::json::write_json;
use crate::files::tensors::write_tensors;

impl Snapshot {
    /// Writes a checkpoint's folder, durably. It appears whole. An earlier one of that name is replaced in four steps: the new
    /// one is written next to it, the earlier one renamed, the new one gets its name, the earlier one is removed. After a kill
    /// between any two of them [`last`](super::last) and [`Checkpoint::open`](super::Checkpoint::open) find a complete one.
    /// Blocks until everything is on the disk.
    ///
    /// # Errors
    /// The system refuses to write.
    pub fn write(&self, folder: &Path) -> Result<(), TrainerError> {
        undo_interrupted(folder)?;
        let new = with_ending(folder, NEW);
        self.write_files(&new)?;
        put_in_position(&new, folder)
    }

    /// The files, then the manifest.
    fn write_files(&self, folder: &Path) -> Result<(), TrainerError> {
        let mut manifest = Manifest { files: Default::default() };
        for (relative, contents) in &self.files {
            let path = folder.join(relative);
            let parent = path.parent().expect("the path has the folder above it");
            fs::create_dir_all(parent).map_err(TrainerError::io(parent, "create"))?;
            match contents {
                FileContents::Bytes(bytes) => write_whole(&path, bytes)?,
                FileContents::Tensors(tensors) => write_tensors(&path, tensors)?,
            }
            manifest.files.insert(relative.clone(), hash_of(&path)?);
        }
        write_json(&folder.join(MANIFEST), &manifest)
    }
}

/// The end of the name of a folder that is being written.
const NEW: &str = ".part";
/// The end of the name of a folder that is being replaced.
const EARLIER: &str = ".old";

/// The checkpoint's folder: the one of this name, or where a replacement was interrupted the earlier one. None where neither
/// is complete.
pub(super) fn complete(folder: &Path) -> Option<PathBuf> {
    [folder.to_owned(), with_ending(folder, EARLIER)].into_iter().find(|folder| folder.join(MANIFEST).is_file())
}

/// The name of the checkpoint that a folder belongs to: its own, without the end of an earlier one's name.
pub(super) fn checkpoint_name(folder: &str) -> &str {
    folder.strip_suffix(EARLIER).unwrap_or(folder)
}

/// Removes what an interrupted write left next to the folder, after an earlier checkpoint has its name back.
fn undo_interrupted(folder: &Path) -> Result<(), TrainerError> {
    let earlier = with_ending(folder, EARLIER);
    if !folder.exists() && earlier.exists() {
        rename(&earlier, folder)?;
    }
    for leftover in [with_ending(folder, NEW), earlier] {
        if leftover.exists() {
            remove(&leftover)?;
        }
    }
    Ok(())
}

fn put_in_position(new: &Path, folder: &Path) -> Result<(), TrainerError> {
    let earlier = with_ending(folder, EARLIER);
    if folder.exists() {
        rename(folder, &earlier)?;
    }
    rename(new, folder)?;
    // The renames are on the disk only when the folder above is.
    let above = folder.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(above).and_then(|above| above.sync_all()).map_err(TrainerError::io(above, "sync"))?;
    if earlier.exists() { remove(&earlier) } else { Ok(()) }
}

fn with_ending(folder: &Path, ending: &str) -> PathBuf {
    let mut name = folder.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    folder.with_file_name(name)
}

fn rename(from: &Path, to: &Path) -> Result<(), TrainerError> {
    fs::rename(from, to).map_err(TrainerError::io(to, "rename"))
}

fn remove(folder: &Path) -> Result<(), TrainerError> {
    fs::remove_dir_all(folder).map_err(TrainerError::io(folder, "remove"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::checkpoint::last;

    fn snapshot(text: &str) -> Snapshot {
        Snapshot { files: vec![("a/text".to_owned(), FileContents::Bytes(text.as_bytes().to_vec()))] }
    }

    fn text(folder: &Path) -> String {
        fs::read_to_string(folder.join("a/text")).unwrap()
    }

    fn names(run: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(run).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Every state that a kill during a replacement may leave: what is next to what, and which text is found.
    #[test]
    fn a_kill_at_any_step_of_a_replacement_leaves_a_complete_checkpoint() {
        type Stop = fn(&Path);
        let write = |folder: &Path, name: &str, text: &str| {
            snapshot(text).write_files(&folder.with_file_name(name)).unwrap();
        };
        let incomplete: Stop = |folder| {
            fs::create_dir_all(folder.with_file_name("step-3.part/a")).unwrap();
            fs::write(folder.with_file_name("step-3.part/a/text"), "ne").unwrap();
        };
        let written: Stop = |folder| snapshot("new").write_files(&folder.with_file_name("step-3.part")).unwrap();
        let renamed: Stop = |folder| {
            snapshot("new").write_files(&folder.with_file_name("step-3.part")).unwrap();
            rename(folder, &folder.with_file_name("step-3.old")).unwrap();
        };
        let in_position: Stop = |folder| {
            rename(folder, &folder.with_file_name("step-3.old")).unwrap();
            snapshot("new").write_files(folder).unwrap();
        };
        let half_removed: Stop = |folder| {
            rename(folder, &folder.with_file_name("step-3.old")).unwrap();
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
