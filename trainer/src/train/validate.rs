//! What is measured on the validation split while a run goes on: the loss over its first batches, by task, and answers to a few
//! fixed samples.

use std::fs;
use std::path::Path;

use med2e3_feed::{Feed, FeedPlan, Order, Tail};
use med2e3_program::{note, with_causes};
use med2e3_schemas::report::Validation;
use med2e3_store::FileError;
use tch::{Device, Kind};

use super::run::Run;
use super::tasks::TaskSums;
use crate::TrainerError;
use crate::config::ValidationConfig;
use crate::files::json::write_json;

/// The folder of a run's measurements, one `step-N.json` each.
pub(crate) const FOLDER: &str = "validation";

/// Removes the measurements after a step, which a run that goes on from there makes again.
///
/// # Errors
/// The system refuses.
pub(super) fn forget_after(out: &Path, step: u64) -> Result<(), TrainerError> {
    let folder = out.join(FOLDER);
    let Ok(entries) = fs::read_dir(&folder) else { return Ok(()) };
    let of_later = |path: &Path| step_of(path).is_some_and(|own| own > step);
    for path in entries.flatten().map(|entry| entry.path()).filter(|path| of_later(path)) {
        fs::remove_file(&path).map_err(FileError::of(&path, "remove"))?;
    }
    Ok(())
}

/// The step of a measurement's file.
pub(crate) fn step_of(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_prefix("step-")?.strip_suffix(".json")?.parse().ok()
}

impl Run {
    /// Measures the loss and keeps it in the run's state, and all that was measured in a file. A loss that is not finite is said and
    /// not kept: the steps go on, as they do after a step whose gradients are not finite.
    ///
    /// # Errors
    /// Data that can't be fed, once the steps so far are saved; a batch that does not fit the model; answers that can't be made.
    pub(super) fn validate(&mut self, config: &ValidationConfig) -> Result<(), TrainerError> {
        let step = self.state.step;
        let found = match self.measured(config) {
            Ok(found) => found,
            Err(TrainerError::Feed(problem)) => return Err(self.saved_before(problem)),
            Err(other) => return Err(other),
        };
        if found.loss.is_finite() {
            self.state.validation.push((step, found.loss));
            if let Some(metrics) = &self.metrics {
                metrics.measured(found.loss);
            }
        } else {
            note(format_args!("WARNING: step {step}: the validation loss is {}", found.loss));
        }
        let by_task = found.by_task.iter().map(|(task, own)| (format!("validation/loss/{task}"), own.loss));
        let scalars: Vec<_> = std::iter::once(("validation/loss".to_owned(), found.loss)).chain(by_task).collect();
        self.log.measured(step, &scalars);
        let folder = self.out.join(FOLDER);
        let written = fs::create_dir_all(&folder).map_err(|error| FileError::of(&folder, "create")(error).into());
        let written = written.and_then(|()| write_json(&folder.join(format!("step-{step}.json")), &found));
        if let Err(problem) = written {
            // The steps that follow are worth more than its answers; the losses are kept with the run's state.
            let problem = with_causes(&problem);
            note(format_args!("WARNING: {problem}; what was measured after step {step} is not in {FOLDER}/"));
        }
        Ok(())
    }

    /// Mean loss in nats per target over all targets of the batches, and over those of each task; NaN where the run has no
    /// validation samples. Then the answers.
    fn measured(&mut self, config: &ValidationConfig) -> Result<Validation, TrainerError> {
        let mut found =
            Validation { step: self.state.step, loss: f64::NAN, by_task: Default::default(), answers: Vec::new() };
        let Some(samples) = self.data.validation.clone() else {
            return Ok(found);
        };
        let plan = FeedPlan { order: Order::ById, tail: Tail::Keep, epochs: 1, start: 0, ..self.plan.clone() };
        let mut feed = Feed::start(self.data.dataset.clone(), samples.clone(), plan)?;
        let (mut sum, mut targets, mut steps, mut tasks) = (0.0, 0, 0, TaskSums::default());
        while steps < config.batches {
            let Some(batch) = feed.next_batch() else { break };
            let batch = batch?;
            self.note_bad(self.state.step, &batch)?;
            if batch.is_empty() {
                steps += usize::from(batch.share.ends_step());
                continue;
            }
            let computed = self.measure(&batch, &samples)?;
            sum += computed.output.loss_sum.double_value(&[]);
            targets += computed.output.target_count;
            tasks.add(&computed.tasks);
            steps += usize::from(batch.share.ends_step());
        }
        found.loss = sum / targets.max(1) as f64;
        if let Some(losses_k) = tasks.losses() {
            let losses_k = losses_k.to_device(Device::Cpu).to_kind(Kind::Double);
            found.by_task = tasks.by_task(&Vec::<f64>::try_from(losses_k).expect("a flat f64 tensor on the CPU"));
        }
        if let Some(questions) = &self.questions {
            found.answers = questions.answers(&self.model, &self.data.dataset, self.device, self.seed)?;
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measurements_after_a_step_are_forgotten() {
        let out = tempfile::tempdir().unwrap();
        forget_after(out.path(), 0).unwrap();
        let folder = out.path().join(FOLDER);
        fs::create_dir(&folder).unwrap();
        for name in ["step-3.json", "step-6.json", "step-12.json", "notes.txt"] {
            fs::write(folder.join(name), "{}").unwrap();
        }
        forget_after(out.path(), 6).unwrap();
        let mut left: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["notes.txt", "step-3.json", "step-6.json"]);
    }
}
