//! When a run's checkpoints are written, by a thread beside the loop, and which of them stay.

use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use med2e3_program::{Stopwatch, note, with_causes};

use crate::TrainerError;
use crate::config::CheckpointConfig;
use crate::error::kept;
use crate::files::checkpoint::{Snapshot, folder_of, note_latest, remove_earlier};
use crate::machine::{available_bytes, gib};

/// Seconds after which a checkpoint that could not be written is tried again at the latest.
const RETRY_SECONDS: f64 = 60.0;
/// Seconds between tries where the run can't go on without.
const LAST_RETRY: Duration = Duration::from_secs(1);

/// What a thread gives back that wrote: how it went, and the copy, which is let go of where it was made, by the loop's thread: only
/// so is it counted to the end of what tensors hold.
type Written = (Result<f64, TrainerError>, Option<Snapshot>);

/// A checkpoint that a thread writes.
struct Writing {
    step: u64,
    /// Seconds for which training waited until the copy had begun.
    waited: f64,
    thread: JoinHandle<Written>,
}

/// The checkpoints of a run.
pub(super) struct Checkpoints {
    out: PathBuf,
    config: CheckpointConfig,
    /// Since the last one was begun.
    since: Stopwatch,
    /// Seconds after which the next one is due, whatever the step.
    due_seconds: f64,
    /// The one that is being written.
    writing: Option<Writing>,
    /// Host memory that a copy took and that libtorch keeps for the next one.
    kept_bytes: u64,
    /// The step of the last whole one.
    last: Option<u64>,
    failed_in_a_row: usize,
    /// Whether it was said that memory is short.
    is_short_said: bool,
}

impl Checkpoints {
    /// Of a run whose last checkpoint is that of the step `last`.
    pub(super) fn new(config: &CheckpointConfig, out: &Path, last: Option<u64>) -> Checkpoints {
        Checkpoints {
            out: out.to_owned(),
            config: config.clone(),
            since: Stopwatch::start(),
            due_seconds: 60.0 * config.every_minutes,
            writing: None,
            kept_bytes: 0,
            last,
            failed_in_a_row: 0,
            is_short_said: false,
        }
    }

    /// Whether the state after this step is to be written.
    pub(super) fn is_due(&self, step: u64) -> bool {
        let is_due_by_time = || {
            let is_idle = self.writing.as_ref().is_none_or(|writing| writing.thread.is_finished());
            is_idle && self.since.seconds() >= self.due_seconds
        };
        self.config.every_steps.is_some_and(|every| step.is_multiple_of(every)) || is_due_by_time()
    }

    /// Writes the state after a step while training goes on; waits for the copy in memory, on a GPU until it has begun, and for the
    /// checkpoint before. Where the memory is short of a copy it waits until everything is written, a tensor at a time. `before`
    /// writes what must be on the disk first.
    ///
    /// # Errors
    /// More checkpoints in a row than the configuration allows could not be written.
    pub(super) fn begin(
        &mut self,
        step: u64,
        shared: &Snapshot,
        before: impl FnOnce() -> Result<(), TrainerError>,
    ) -> Result<(), TrainerError> {
        let watch = Stopwatch::start();
        self.settle()?;
        self.since = Stopwatch::start();
        self.due_seconds = 60.0 * self.config.every_minutes;
        if let Err(problem) = before() {
            return self.ended(step, Err(problem));
        }
        let (out, keep) = (self.out.clone(), self.config.keep);
        let bytes = shared.copy_bytes();
        // A copy may not press what else runs out of memory.
        let available = available_bytes().map(|available| available.saturating_add(self.kept_bytes));
        if let Some(available) = available.filter(|available| bytes > available / 10 * 9) {
            if !self.is_short_said {
                self.is_short_said = true;
                let [bytes, available] = [bytes, available].map(|bytes| gib(bytes.into()));
                note(format_args!(
                    "note: training waits for each checkpoint: a copy of {bytes} does not fit the {available} of free memory"
                ));
            }
            return self.write_here(step, shared);
        }
        // The system has less memory than it says, or pins less.
        let Ok(copy) = shared.copy() else { return self.write_here(step, shared) };
        self.kept_bytes = if shared.is_on_host() { 0 } else { bytes };
        let waited = watch.seconds();
        let beside = move || match copy.finish() {
            Ok(snapshot) => (write(&snapshot, &out, step, keep), Some(snapshot)),
            Err(problem) => (Err(problem), None),
        };
        match thread::Builder::new().name("checkpoint".into()).spawn(beside) {
            Ok(thread) => {
                self.writing = Some(Writing { step, waited, thread });
                Ok(())
            }
            // The system gives no thread: this one writes.
            Err(_) => self.write_here(step, shared),
        }
    }

    /// Writes the state after a step while training waits.
    fn write_here(&mut self, step: u64, shared: &Snapshot) -> Result<(), TrainerError> {
        let written = write(shared, &self.out, step, self.config.keep).map(|seconds| (seconds, seconds));
        self.ended(step, written)
    }

    /// Whether the state after this step is written; waits for the checkpoint that is being written.
    ///
    /// # Errors
    /// As [`Checkpoints::begin`].
    pub(super) fn has(&mut self, step: u64) -> Result<bool, TrainerError> {
        self.settle()?;
        Ok(self.last == Some(step))
    }

    /// Writes the state after a step, and waits until it is written, in as many tries as the configuration allows. `before` as for
    /// [`Checkpoints::begin`].
    ///
    /// # Errors
    /// It could not be written.
    pub(super) fn write(
        &mut self,
        step: u64,
        shared: &Snapshot,
        mut before: impl FnMut() -> Result<(), TrainerError>,
    ) -> Result<(), TrainerError> {
        while !self.has(step)? {
            if self.failed_in_a_row > 0 {
                thread::sleep(LAST_RETRY);
            }
            match before() {
                Ok(()) => self.write_here(step, shared)?,
                Err(problem) => self.ended(step, Err(problem))?,
            }
        }
        Ok(())
    }

    /// Takes note of a checkpoint that has been written meanwhile.
    ///
    /// # Errors
    /// As [`Checkpoints::begin`].
    pub(super) fn look(&mut self) -> Result<(), TrainerError> {
        match &self.writing {
            Some(writing) if writing.thread.is_finished() => self.settle(),
            _ => Ok(()),
        }
    }

    /// Waits for the checkpoint that is being written.
    ///
    /// # Errors
    /// As [`Checkpoints::begin`].
    pub(super) fn settle(&mut self) -> Result<(), TrainerError> {
        let Some(Writing { step, waited, thread }) = self.writing.take() else { return Ok(()) };
        let panicked = || TrainerError::File {
            path: folder_of(&self.out, step),
            expected: "a checkpoint".into(),
            found: "a thread that panicked while it wrote".into(),
        };
        let written = thread.join().map_or_else(|_| Err(panicked()), |(written, _)| written);
        self.ended(step, written.map(|seconds| (seconds, waited)))
    }

    /// The step of the last whole one.
    pub(super) fn last(&self) -> Option<u64> {
        self.last
    }

    /// Takes note of how a checkpoint went: the seconds that it took, and those for which training waited.
    fn ended(&mut self, step: u64, written: Result<(f64, f64), TrainerError>) -> Result<(), TrainerError> {
        match written {
            Ok((seconds, waited)) => {
                (self.last, self.failed_in_a_row) = (Some(step), 0);
                note(format_args!(
                    "checkpoint step-{step} is written, in {seconds:.1} s; training waited {waited:.2} s"
                ));
                Ok(())
            }
            Err(problem) => {
                let problem = with_causes(&problem);
                self.failed_in_a_row += 1;
                self.due_seconds = self.due_seconds.min(self.since.seconds() + RETRY_SECONDS);
                let (count, kept, most) = (self.failed_in_a_row, kept(self.last), self.config.max_failed);
                if count > most {
                    return Err(TrainerError::Unsaved { count, kept, problem });
                }
                note(format_args!(
                    "WARNING: checkpoint step-{step} is not written: {problem}; {kept}; the run goes on and tries again, {count} \
                     of at most {most} failures in a row"
                ));
                Ok(())
            }
        }
    }
}

impl Drop for Checkpoints {
    /// A run that fails leaves the checkpoint that it had begun.
    fn drop(&mut self) {
        let _ = self.settle();
    }
}

/// Writes a checkpoint, and removes those that are no longer kept. Gives the seconds that it took.
fn write(snapshot: &Snapshot, out: &Path, step: u64, keep: usize) -> Result<f64, TrainerError> {
    let watch = Stopwatch::start();
    snapshot.write(&folder_of(out, step))?;
    let tidied = note_latest(out, step).and_then(|()| remove_earlier(out, keep));
    if let Err(problem) = tidied {
        // The checkpoint itself is whole.
        let problem = with_causes(&problem);
        note(format_args!("WARNING: {problem}; earlier checkpoints may stay in {}", out.display()));
    }
    Ok(watch.seconds())
}
