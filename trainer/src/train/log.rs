//! `train.jsonl`: one line of JSON a step.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use med2e3_program::note;
use med2e3_schemas::Id;
use med2e3_schemas::report::{ClipStep, TrainStep};
use med2e3_store::{FileError, put_whole};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::TrainerError;

/// A line of a log.
pub(super) trait Logged: Serialize + DeserializeOwned {
    /// The step, from 1.
    fn step(&self) -> u64;
}

impl Logged for TrainStep {
    fn step(&self) -> u64 {
        self.step
    }
}

impl Logged for ClipStep {
    fn step(&self) -> u64 {
        self.step
    }
}

/// The log, open for appending, and the steps in it.
pub(super) struct StepLog<S> {
    path: PathBuf,
    file: File,
    pub(super) steps: Vec<S>,
}

impl<S: Logged> StepLog<S> {
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

/// The logged steps up to `last`. A killed run may have logged steps after its last checkpoint, the last of them in part.
pub(super) fn read<S: Logged>(path: &Path, last: u64) -> Result<Vec<S>, TrainerError> {
    let text = fs::read_to_string(path).map_err(FileError::of(path, "read"))?;
    let steps = text.lines().filter_map(|line| serde_json::from_str::<S>(line).ok());
    Ok(steps.filter(|step| step.step() <= last).collect())
}

fn line<S: Logged>(step: &S) -> String {
    serde_json::to_string(step).expect("a step is plain data") + "\n"
}

/// Samples of a step that was left out, in its message at most.
const SAMPLES_NAMED: usize = 8;

/// Says on standard error that a step changed no weight, and whose texts it was made of.
pub(super) fn note_left_out(step: u64, loss: f64, samples: &[Id]) {
    let names: Vec<String> = samples.iter().take(SAMPLES_NAMED).map(ToString::to_string).collect();
    let more = match samples.len() - names.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    note(format_args!(
        "step {step} is left out: its loss {loss} or its gradients are not finite; samples {}{more}",
        names.join(", ")
    ));
}
