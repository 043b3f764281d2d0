//! A training as its folder tells it: finished, stopped, or going on while it is read.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use med2e3_schemas::joined::{JoinedRun, RunState};
use med2e3_schemas::report::{StepWork, TaskLoss, Validation};
use med2e3_schemas::sample::Task;
use serde::Deserialize;

use super::run::REPORT;
use crate::TrainerError;
use crate::files::json::read_report;
use crate::train::{by_task, read_log};
use crate::verb::runs::{FoundRun, run};

/// Steps that stand for how it goes now.
const RECENT: usize = 20;

/// A training.
pub(super) struct Training {
    /// Its name, state, and how far it is.
    pub(super) run: FoundRun,
    /// Every step of its log.
    pub(super) steps: Vec<Step>,
    /// Loss on the validation split by step.
    pub(super) validation: Vec<(u64, f64)>,
    /// The last measurement; a training of M3D-CLIP has none.
    pub(super) measured: Option<Validation>,
    /// What is known once it has ended.
    pub(super) ended: Option<EndedTraining>,
}

/// A line of either training's log, as far as it is shown.
#[derive(Deserialize)]
pub(super) struct Step {
    pub(super) step: u64,
    /// Absent where it is not finite.
    pub(super) loss: Option<f64>,
    #[serde(default)]
    by_task: BTreeMap<Task, TaskLoss>,
    pub(super) learning_rate: f64,
    pub(super) gradient_norm: Option<f64>,
    #[serde(default)]
    skipped: bool,
    seconds: f64,
    wait_seconds: f64,
    #[serde(flatten)]
    pub(super) work: Option<StepWork>,
}

/// What either training's `report.json` tells beyond the log.
#[derive(Deserialize)]
pub(super) struct EndedTraining {
    pub(super) seed: u64,
    pub(super) device: String,
    /// By part, or of the whole of M3D-CLIP.
    pub(super) parameters: Parameters,
    #[serde(default)]
    pub(super) trained: Vec<String>,
    #[serde(alias = "pairs")]
    pub(super) samples: u64,
    #[serde(default)]
    validation: Vec<(u64, f64)>,
    pub(super) seconds: f64,
}

/// Parameters of a model.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Parameters {
    Parts(BTreeMap<String, u64>),
    All(u64),
}

impl Parameters {
    /// Of all parts.
    pub(super) fn sum(&self) -> u64 {
        match self {
            Parameters::Parts(parts) => parts.values().copied().fold(0, u64::saturating_add),
            Parameters::All(all) => *all,
        }
    }
}

/// How the last steps went.
pub(super) struct Recent {
    /// Mean loss in nats of those that were not left out; not finite where there is none.
    pub(super) loss: f64,
    /// Mean of each task over its targets, where there are several.
    pub(super) by_task: Vec<(Task, f64)>,
    /// The median step's seconds.
    pub(super) seconds: f64,
    /// Texts of a second, where the log tells them.
    pub(super) texts: Option<f64>,
    /// Share of the time that went into waiting for data, 0 to 1.
    pub(super) waiting: f64,
    /// The most bytes that tensors held, where the log tells them.
    pub(super) peak: Option<u64>,
}

impl Training {
    /// # Errors
    /// A log, report or measurement that does not read.
    pub(super) fn read(folder: &Path) -> Result<Training, TrainerError> {
        let run = run(folder);
        let report = folder.join("report.json");
        // A run that goes on may have the report of an earlier start.
        let is_ended = run.state == RunState::Finished;
        let ended: Option<EndedTraining> = is_ended.then(|| read_report(&report, REPORT)).transpose()?;
        let log = folder.join("train.jsonl");
        let steps: Vec<Step> = if log.is_file() { read_log(&log)? } else { Vec::new() };
        let measured = measurements(folder, steps.last().map_or(0, |step| step.step))?;
        let of_report = ended.iter().flat_map(|ended| ended.validation.iter().copied());
        let validation: BTreeMap<u64, f64> =
            measured.iter().map(|measured| (measured.step, measured.loss)).chain(of_report).collect();
        Ok(Training {
            run,
            steps,
            validation: validation.into_iter().collect(),
            measured: measured.into_iter().next_back(),
            ended,
        })
    }

    /// The name of its configuration, else its folder.
    pub(super) fn name(&self) -> String {
        self.run.name.clone().unwrap_or_else(|| self.run.path.display().to_string())
    }

    /// Losses by step, those that are finite.
    pub(super) fn losses(&self) -> Vec<(u64, f64)> {
        self.steps.iter().filter_map(|step| Some((step.step, step.loss?))).collect()
    }

    /// How the last steps went; `None` before the first.
    pub(super) fn recent(&self) -> Option<Recent> {
        let last = &self.steps[self.steps.len().saturating_sub(RECENT)..];
        let mut seconds: Vec<f64> = last.iter().map(|step| step.seconds).collect();
        seconds.sort_by(f64::total_cmp);
        let median = *seconds.get(seconds.len() / 2)?;
        let all: f64 = seconds.iter().sum();
        let taken: Vec<&Step> = last.iter().filter(|step| !step.skipped).collect();
        let texts: u64 = last.iter().filter_map(|step| step.work.as_ref()).map(|work| work.texts).sum();
        Some(Recent {
            loss: taken.iter().filter_map(|step| step.loss).sum::<f64>() / taken.len() as f64,
            by_task: by_task(taken.iter().map(|step| &step.by_task)),
            seconds: median,
            texts: (texts > 0).then(|| texts as f64 / all.max(1e-9)),
            waiting: last.iter().map(|step| step.wait_seconds).sum::<f64>() / all.max(1e-9),
            peak: last.iter().filter_map(|step| step.work.as_ref()?.peak_bytes).max(),
        })
    }

    /// Seconds until its last step, by the median of the last ones; `None` where it does not go on or its length is not known.
    pub(super) fn seconds_left(&self) -> Option<f64> {
        let steps = self.run.steps.filter(|_| self.run.state == RunState::Running)?;
        Some(steps.saturating_sub(self.run.step) as f64 * self.recent()?.seconds)
    }

    /// Seconds of its steps, or of all where it has ended.
    pub(super) fn seconds(&self) -> f64 {
        let steps = || self.steps.iter().map(|step| step.seconds).sum();
        self.ended.as_ref().map_or_else(steps, |ended| ended.seconds)
    }

    /// Steps that changed no weight.
    pub(super) fn left_out(&self) -> usize {
        self.steps.iter().filter(|step| step.skipped).count()
    }

    pub(super) fn joined(&self, path: String) -> JoinedRun {
        JoinedRun::Training {
            path,
            name: self.name(),
            state: self.run.state,
            step: self.run.step,
            steps: self.run.steps,
            losses: self.losses(),
            validation: self.validation.iter().copied().filter(|(_, loss)| loss.is_finite()).collect(),
            seconds: self.seconds(),
        }
    }
}

/// What was measured up to a step, in the order of steps: a run that was resumed further back may have later ones.
fn measurements(folder: &Path, last: u64) -> Result<Vec<Validation>, TrainerError> {
    let entries = fs::read_dir(folder.join("validation")).into_iter().flatten().flatten().map(|entry| entry.path());
    let files = entries.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    let mut measured: Vec<Validation> = files.map(|path| read_report(&path, REPORT)).collect::<Result<_, _>>()?;
    measured.retain(|measured| measured.step <= last);
    measured.sort_by_key(|measured| measured.step);
    Ok(measured)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    /// A folder with a log of steps of these losses, 2 s each, as a run leaves it that is under way.
    fn folder(losses: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let line = |(number, loss): (usize, &&str)| {
            format!(
                "{{\"step\":{},\"epoch\":0,\"loss\":{loss},\"learning_rate\":1e-3,\"gradient_norm\":null,\"seconds\":2.0,\
                 \"wait_seconds\":0.5,\"skipped\":{}}}\n",
                number + 1,
                *loss == "null"
            )
        };
        let log: String = losses.iter().enumerate().map(line).collect();
        fs::write(folder.path().join("train.jsonl"), log + "{\"step\":9").unwrap();
        fs::write(folder.path().join("train.toml"), "name = \"mine\"\n").unwrap();
        fs::write(folder.path().join("run.json"), "{\"steps\": 13}").unwrap();
        folder
    }

    #[test]
    fn a_run_that_goes_on_is_read_and_its_end_is_foretold() {
        let folder = folder(&["3.0", "null", "1.0"]);
        let stopped = Training::read(folder.path()).unwrap();
        assert_eq!((stopped.run.state, stopped.seconds_left()), (RunState::Stopped, None));

        let lock = File::open(folder.path()).unwrap();
        lock.lock().unwrap();
        let running = Training::read(folder.path()).unwrap();
        assert_eq!((running.name().as_str(), running.run.state), ("mine", RunState::Running));
        assert_eq!(running.losses(), [(1, 3.0), (3, 1.0)]);
        assert_eq!((running.seconds_left(), running.seconds(), running.left_out()), (Some(20.0), 6.0, 1));
        let recent = running.recent().unwrap();
        assert_eq!((recent.loss, recent.seconds, recent.waiting, recent.texts), (2.0, 2.0, 0.25, None));
    }

    #[test]
    fn measurements_behind_the_log_are_of_an_earlier_start() {
        let folder = folder(&["3.0", "2.0"]);
        fs::create_dir(folder.path().join("validation")).unwrap();
        for step in [1, 2, 4] {
            let text = format!("{{\"step\":{step},\"loss\":{step}.5,\"by_task\":{{}},\"answers\":[]}}");
            fs::write(folder.path().join(format!("validation/step-{step}.json")), text).unwrap();
        }
        let training = Training::read(folder.path()).unwrap();
        assert_eq!(training.validation, [(1, 1.5), (2, 2.5)]);
        assert_eq!(training.measured.unwrap().step, 2);
    }

    #[test]
    fn a_run_before_its_first_step_has_nothing_to_tell() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("train.toml"), "").unwrap();
        let training = Training::read(folder.path()).unwrap();
        assert!(training.recent().is_none() && training.losses().is_empty() && training.seconds_left().is_none());
    }
}
