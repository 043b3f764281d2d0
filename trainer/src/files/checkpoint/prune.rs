//! Which checkpoints of a run stay: the newest.

use std::fs;
use std::path::{Path, PathBuf};

use med2e3_store::{FileError, put_whole};

use super::layout::MANIFEST;
use super::{checkpoints, step_of, write};
use crate::TrainerError;

/// The file of a run that names its newest checkpoint, for people and other programs; nothing here reads it.
const LATEST: &str = "latest";

/// Writes the name of a run's newest checkpoint to the file `latest`.
///
/// # Errors
/// The system refuses to write.
pub fn note_latest(run: &Path, step: u64) -> Result<(), TrainerError> {
    Ok(put_whole(&run.join(LATEST), format!("step-{step}\n").as_bytes())?)
}

/// Removes a run's checkpoints but for the newest `keep`, oldest first, and what is left of such a removal that was killed. Of a
/// folder that is being removed the manifest goes first: it is never taken for a checkpoint.
///
/// # Errors
/// The system refuses to remove.
pub fn remove_earlier(run: &Path, keep: usize) -> Result<(), TrainerError> {
    let mut whole = checkpoints(run);
    whole.sort();
    let Some((newest, _)) = whole.last() else { return Ok(()) };
    let newest = *newest;
    let earlier = whole.len().saturating_sub(keep.max(1));
    for (_, folder) in &whole[..earlier] {
        let manifest = folder.join(MANIFEST);
        fs::remove_file(&manifest).map_err(FileError::of(&manifest, "remove"))?;
        remove(folder)?;
    }
    let entries = fs::read_dir(run).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_rest = |path: &PathBuf| {
        step_of(path).is_some_and(|step| step < newest) && path.is_dir() && write::complete(path).is_none()
    };
    entries.filter(is_rest).try_for_each(|path| remove(&path))
}

fn remove(folder: &Path) -> Result<(), TrainerError> {
    Ok(fs::remove_dir_all(folder).map_err(FileError::of(folder, "remove"))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::checkpoint::tests::names;

    #[test]
    fn the_newest_stay_and_nothing_else_is_touched() {
        let run = tempfile::tempdir().unwrap();
        let run = run.path();
        for step in [5u64, 9, 10, 20, 100] {
            let folder = run.join(format!("step-{step}"));
            fs::create_dir_all(folder.join("llm")).unwrap();
            fs::write(folder.join(MANIFEST), "{}").unwrap();
        }
        // A killed removal, a checkpoint of a person's own name, one that is being written, files.
        fs::create_dir_all(run.join("step-3/llm")).unwrap();
        for folder in ["best-step-5", "step-200.host-1-0.part", "step-x"] {
            fs::create_dir_all(run.join(folder)).unwrap();
        }
        fs::write(run.join("step-4"), "a file").unwrap();
        remove_earlier(run, 2).unwrap();
        let others = ["best-step-5", "step-100", "step-20", "step-200.host-1-0.part", "step-4", "step-x"];
        assert_eq!(names(run), others);
        // The last one stays whatever is asked for.
        remove_earlier(run, 0).unwrap();
        assert!(run.join("step-100").is_dir() && !run.join("step-20").exists());
        note_latest(run, 100).unwrap();
        assert_eq!(fs::read_to_string(run.join("latest")).unwrap(), "step-100\n");
    }
}
