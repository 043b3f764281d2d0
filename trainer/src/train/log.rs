//! `train.jsonl`: one line of JSON a step.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use med2e3_store::{FileError, put_whole};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::TrainerError;

/// The log, open for appending, and the steps in it.
pub(super) struct StepLog<S> {
    path: PathBuf,
    file: File,
    pub(super) steps: Vec<S>,
}

impl<S: Serialize> StepLog<S> {
    /// A log that begins with the given steps; one that is there is replaced.
    pub(super) fn create(path: &Path, steps: Vec<S>) -> Result<StepLog<S>, TrainerError> {
        let lines: String = steps.iter().map(line).collect();
        put_whole(path, lines.as_bytes())?;
        let file = OpenOptions::new().append(true).open(path).map_err(FileError::of(path, "open"))?;
        Ok(StepLog { path: path.to_owned(), file, steps })
    }

    pub(super) fn append(&mut self, step: S) -> Result<(), TrainerError> {
        self.file.write_all(line(&step).as_bytes()).map_err(FileError::of(&self.path, "write"))?;
        self.steps.push(step);
        Ok(())
    }
}

/// The logged steps. A killed run may have logged steps after its last checkpoint, the last of them in part: that line is none.
pub(super) fn read<S: DeserializeOwned>(path: &Path) -> Result<Vec<S>, TrainerError> {
    let text = fs::read_to_string(path).map_err(FileError::of(path, "read"))?;
    Ok(text.lines().filter_map(|line| serde_json::from_str::<S>(line).ok()).collect())
}

fn line<S: Serialize>(step: &S) -> String {
    serde_json::to_string(step).expect("a step is plain data") + "\n"
}
