//! One row with one seed: stage 1, stage 2, the evaluation, each by the verb of its name, in one folder that is kept from other processes
//! meanwhile. What a kill leaves goes on.

use std::fs;
use std::path::{Path, PathBuf};

use med2e3_program::Stopwatch;
use med2e3_program::output::{OutputError, is_occupied, write_report};
use med2e3_schemas::ablation::AblatedRunReport;
use med2e3_schemas::report::TrainReport;
use med2e3_store::FileError;

use super::start::{Ground, Taken, write_varied};
use crate::TrainerError;
use crate::config::{AblateConfig, RowsOwn, StageConfig, Start};
use crate::files::checkpoint::Checkpoint;
use crate::files::json::read_report;
use crate::lock::RunLock;
use crate::model::Preset;
use crate::train::{Ended, Existing, Observed, train};
use crate::verb::compare::Evaluated;
use crate::verb::evaluate::evaluate;
use crate::words::Word;

const REPORT: &str = "report.json";
/// Names of the folders in a run's folder.
pub(super) const PRETRAIN: &str = "pretrain";
pub(super) const FINETUNE: &str = "finetune";
pub(super) const EVALUATE: &str = "evaluate";
/// Weights under the row's variant, until the stage that begins with them has ended.
const START: &str = "start";

/// A row and a seed.
#[derive(Clone, Copy)]
pub(super) struct RowRun<'a> {
    pub(super) config: &'a AblateConfig,
    pub(super) ground: &'a Ground,
    /// Of what binds in the configuration.
    pub(super) hash: &'a str,
    /// The folder of all rows.
    pub(super) out: &'a Path,
    pub(super) row: Preset,
    pub(super) seed: u64,
}

/// How a run ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RunEnded {
    /// All of it is there.
    Done,
    /// A signal asked it to stop, and what it had is saved.
    Stopped,
    /// Another process is at it.
    Busy,
}

impl RowRun<'_> {
    /// The run's folder, relative to that of all rows.
    pub(super) fn name(&self) -> String {
        format!("{}/seed-{}", self.row.as_str(), self.seed)
    }

    pub(super) fn folder(&self) -> PathBuf {
        self.out.join(self.name())
    }

    /// Whether the run has ended.
    ///
    /// # Errors
    /// A report that does not read, or of another configuration.
    pub(super) fn is_done(&self) -> Result<bool, TrainerError> {
        let path = self.folder().join(REPORT);
        if !path.is_file() {
            return Ok(false);
        }
        let report: AblatedRunReport = read_report(&path, "the report of an ablation's run")?;
        match report.configuration == self.hash {
            true => Ok(true),
            false => Err(TrainerError::File {
                path,
                expected: format!("a run of the configuration with the hash {}", self.hash),
                found: format!("one with the hash {}; another --out keeps both", report.configuration),
            }),
        }
    }

    /// Runs what is not there yet.
    ///
    /// # Errors
    /// As [`train`] and [`evaluate`].
    pub(super) fn run(&self) -> Result<RunEnded, TrainerError> {
        let watch = Stopwatch::start();
        let Some(_lock) = free(&self.folder())? else { return Ok(RunEnded::Busy) };
        // Another process may have ended it before the lock was free.
        if self.is_done()? {
            return Ok(RunEnded::Done);
        }
        let own_pretrain = !self.config.share_pretrain || self.row == self.config.base.preset();
        let start = if own_pretrain {
            let ended = self.pretrain()?;
            if ended != RunEnded::Done {
                return Ok(ended);
            }
            Start::Checkpoint(self.folder().join(PRETRAIN))
        } else {
            let base = RowRun { row: self.config.base.preset(), ..*self };
            if !base.folder().join(PRETRAIN).join(REPORT).is_file() {
                let Some(_lock) = free(&base.folder())? else { return Ok(RunEnded::Busy) };
                let ended = base.pretrain()?;
                if ended != RunEnded::Done {
                    return Ok(ended);
                }
            }
            let source = Checkpoint::open(&base.folder().join(PRETRAIN))?;
            self.varied(FINETUNE, &source, Taken::All)?
        };
        if self.stage(&self.config.finetune, FINETUNE, start)? == RunEnded::Stopped {
            return Ok(RunEnded::Stopped);
        }
        let folder = self.folder();
        let out = folder.join(EVALUATE);
        if !out.join(REPORT).is_file() {
            evaluate(&self.config.evaluate.of_row(self.config, &self.own(EVALUATE), &folder.join(FINETUNE)), &out)?;
        }
        let report = AblatedRunReport {
            row: self.row.as_str().into(),
            seed: self.seed,
            configuration: self.hash.into(),
            pretrain_steps: if own_pretrain { steps(&folder.join(PRETRAIN))? } else { 0 },
            finetune_steps: steps(&folder.join(FINETUNE))?,
            answers: Evaluated::read(&out)?.run.answers,
            seconds: watch.seconds(),
        };
        write_report(&folder, &report)?;
        Ok(RunEnded::Done)
    }

    /// Stage 1 of this row.
    fn pretrain(&self) -> Result<RunEnded, TrainerError> {
        let start = match &self.ground.checkpoint {
            None => Start::Fresh(Box::new(self.ground.sizes_of(self.row))),
            Some(source) => self.varied(PRETRAIN, source, Taken::Towers)?,
        };
        self.stage(&self.config.pretrain, PRETRAIN, start)
    }

    /// A stage, which goes on where it was stopped; nothing where it has ended.
    fn stage(&self, stage: &StageConfig, name: &str, start: Start) -> Result<RunEnded, TrainerError> {
        let out = self.folder().join(name);
        if !out.join(REPORT).is_file() {
            let config = stage.of_row(self.config, &self.own(name), start);
            let existing = if is_occupied(&out) { Existing::Resume } else { Existing::Refuse };
            if let Ended::Stopped(_) = train(&config, &out, existing, &Observed::default())? {
                return Ok(RunEnded::Stopped);
            }
        }
        let written = self.folder().join(START);
        if written.exists() {
            fs::remove_dir_all(&written).map_err(FileError::of(&written, "remove"))?;
        }
        Ok(RunEnded::Done)
    }

    /// A checkpoint with this row's variant for a stage to begin with; nothing is written where the stage has ended.
    fn varied(&self, stage: &str, source: &Checkpoint, taken: Taken) -> Result<Start, TrainerError> {
        let (folder, out) = (self.folder(), self.folder().join(START));
        if !folder.join(stage).join(REPORT).is_file() && Checkpoint::open(&out).is_err() {
            if out.exists() {
                fs::remove_dir_all(&out).map_err(FileError::of(&out, "remove"))?;
            }
            write_varied(source, self.row, taken, self.seed, &out)?;
        }
        Ok(Start::Checkpoint(out))
    }

    fn own(&self, stage: &str) -> RowsOwn {
        RowsOwn {
            name: format!("{} {stage}, seed {}", self.row.as_str(), self.seed),
            seed: self.seed,
            has_text_encoder: self.row.variant().needs_text_encoder(),
        }
    }
}

/// The lock of a run's folder, if no other process has it.
fn free(folder: &Path) -> Result<Option<RunLock>, TrainerError> {
    match RunLock::take(folder) {
        Ok(lock) => Ok(Some(lock)),
        Err(TrainerError::Output(OutputError::Occupied { .. })) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Steps of a stage that has ended.
fn steps(stage: &Path) -> Result<u64, TrainerError> {
    let report: TrainReport = read_report(&stage.join(REPORT), "the whole report of a training")?;
    Ok(report.steps.len() as u64)
}
