//! `train.jsonl`: one line of JSON a step; the same numbers go to TensorBoard's event files.

use std::fs;
use std::path::Path;

use med2e3_schemas::report::{ClipStep, TrainStep};
use med2e3_store::{FileError, put_whole};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::appended::AppendedFile;
use super::events::EventFile;
use crate::TrainerError;

/// A line of a log.
pub(super) trait Logged: Serialize + DeserializeOwned {
    /// The step, from 1.
    fn step(&self) -> u64;

    /// Its numbers by TensorBoard's tags.
    fn scalars(&self) -> Vec<(String, f64)>;
}

impl Logged for TrainStep {
    fn step(&self) -> u64 {
        self.step
    }

    fn scalars(&self) -> Vec<(String, f64)> {
        let mut scalars = vec![("loss", self.loss), ("token_accuracy", self.token_accuracy)];
        scalars.extend([("learning_rate", self.learning_rate), ("gradient_norm", self.gradient_norm)]);
        scalars.extend(self.clipped_norm.map(|norm| ("gradient_norm/clipped", norm)));
        scalars.extend([("skipped", if self.skipped { 1.0 } else { 0.0 }), ("seconds", self.seconds)]);
        if let Some(work) = &self.work {
            scalars.extend([
                ("rate/texts_per_second", work.texts_per_second),
                ("rate/tokens_per_second", work.tokens_per_second),
                ("rate/volumes_per_second", work.volumes_per_second),
                ("share/padding", work.padding_share),
                ("share/waiting_for_data", work.wait_share),
            ]);
            scalars.extend(work.mfu.map(|share| ("utilization/mfu", share)));
            scalars.extend(work.hfu.map(|share| ("utilization/hfu", share)));
            scalars.extend(work.peak_bytes.map(|bytes| ("memory/peak_bytes", bytes as f64)));
        }
        if let Some(feed) = &self.feed {
            scalars.extend([
                ("feed/ready", feed.ready as f64),
                ("feed/bytes", feed.bytes as f64),
                ("feed/read_seconds", feed.read_seconds),
                ("feed/hash_seconds", feed.hash_seconds),
                ("feed/decode_seconds", feed.decode_seconds),
                ("feed/collate_seconds", feed.collate_seconds),
            ]);
        }
        let by_task = self.by_task.iter().map(|(task, own)| (format!("loss/{task}"), own.loss));
        owned(scalars).chain(by_task).collect()
    }
}

impl Logged for ClipStep {
    fn step(&self) -> u64 {
        self.step
    }

    fn scalars(&self) -> Vec<(String, f64)> {
        let scalars = vec![
            ("loss", self.loss),
            ("accuracy", self.accuracy),
            ("logit_scale", self.logit_scale),
            ("learning_rate", self.learning_rate),
            ("gradient_norm", self.gradient_norm),
            ("seconds", self.seconds),
            ("rate/pairs_per_second", self.pairs as f64 / self.seconds.max(1e-9)),
            ("share/waiting_for_data", (self.wait_seconds / self.seconds.max(1e-9)).min(1.0)),
        ];
        owned(scalars).collect()
    }
}

fn owned(scalars: Vec<(&str, f64)>) -> impl Iterator<Item = (String, f64)> {
    scalars.into_iter().map(|(tag, number)| (tag.to_owned(), number))
}

/// The file of a run's folder that states its length.
pub(crate) const LENGTH: &str = "run.json";

/// The log, open for appending, and the steps in it.
pub(super) struct StepLog<S> {
    file: AppendedFile,
    events: EventFile,
    pub(super) steps: Vec<S>,
}

impl<S: Logged> StepLog<S> {
    /// A log that begins with the given steps; one that is there is replaced. Next to it, in `events`, the folder of TensorBoard's
    /// files, which then hold no later step either.
    pub(super) fn create(path: &Path, steps: Vec<S>) -> Result<StepLog<S>, TrainerError> {
        let lines: String = steps.iter().map(line).collect();
        put_whole(path, lines.as_bytes())?;
        let events = EventFile::begin(&path.with_file_name("events"), steps.last().map_or(0, Logged::step))?;
        Ok(StepLog { file: AppendedFile::open(path)?, events, steps })
    }

    /// Adds a step. What the disk refuses of it waits for [`StepLog::flush`].
    pub(super) fn append(&mut self, step: S) {
        self.file.append(line(&step).as_bytes());
        self.events.append(step.step(), &step.scalars());
        self.steps.push(step);
    }

    /// What was measured after a step, for TensorBoard alone.
    pub(super) fn measured(&mut self, step: u64, scalars: &[(String, f64)]) {
        self.events.append(step, scalars);
    }

    /// Writes what waits.
    ///
    /// # Errors
    /// The disk still refuses it.
    pub(super) fn flush(&mut self) -> Result<(), TrainerError> {
        self.file.flush()?;
        self.events.flush()
    }
}

/// The logged steps. A killed run may have logged steps after its last checkpoint, the last of them in part: that line is none.
pub(crate) fn read<S: DeserializeOwned>(path: &Path) -> Result<Vec<S>, TrainerError> {
    let text = fs::read_to_string(path).map_err(FileError::of(path, "read"))?;
    Ok(text.lines().filter_map(|line| serde_json::from_str::<S>(line).ok()).collect())
}

fn line<S: Serialize>(step: &S) -> String {
    serde_json::to_string(step).expect("a step is plain data") + "\n"
}
