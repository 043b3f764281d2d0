//! FLOW 3: the training loop, on one page.
//!
//! next batch -> device -> forward -> loss -> backward -> clip -> AdamW -> log -> checkpoint. The feed's cursor travels back
//! into the checkpoint; with the step it is all that a resumed run needs to see the same batches and the same dropout.

use std::path::Path;

use med2e3_feed::{Feed, FeedCursor, FeedPlan};
use med2e3_schemas::report::{TrainReport, TrainStep};

use crate::TrainerError;
use crate::checkpoint;
use crate::config::TrainConfig;
use crate::device_batch::to_device;
use crate::optimizer::clip_grad_norm;
use crate::progress::{Progress, Stopwatch};
use crate::run::{self, Run};

/// What to do where `out` holds a run already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// An error that says so.
    Refuse,
    /// Go on from its last checkpoint.
    Resume,
}

/// Trains as `config` says and writes log, checkpoints and report to `out`.
///
/// # Errors
/// A configuration, dataset or checkpoint that does not fit; a loss that is no number any more.
pub fn train(config: &TrainConfig, out: &Path, existing: Existing) -> Result<TrainReport, TrainerError> {
    let watch = Stopwatch::start();
    let mut run = Run::open(config, out, existing)?;
    let mut feed = Feed::start(run.dataset.clone(), run.samples.clone(), run.plan());
    let mut progress = Progress::new(run.total_steps, run.state.step, "steps");

    while run.state.step < run.total_steps {
        let step_watch = Stopwatch::start();
        let Some(batch) = feed.next_batch() else { break };
        let batch = batch?;
        let wait_seconds = step_watch.seconds();
        let step = run.state.step + 1;

        let input = to_device(&batch, run.dataset.voxels(), run.device);
        // Dropout depends on seed and step alone, so a resumed run draws what an unbroken one would.
        tch::manual_seed(run::seed_of(config.seed, step));
        let output = run.model.forward(&input, true)?;
        output.loss.backward();
        let norm = clip_grad_norm(&run.trainable, config.optimizer.clip)?.double_value(&[]);

        // Reading norm and loss waits for the device. Neither may spoil the weights that a checkpoint keeps.
        let loss = output.loss.double_value(&[]);
        if !(loss.is_finite() && norm.is_finite()) {
            return Err(TrainerError::Diverged { step, loss });
        }
        let learning_rate = config.optimizer.learning_rate * run.schedule.factor(run.state.step);
        run.optimizer.step(learning_rate)?;
        run.optimizer.zero_grad()?;
        (run.state.step, run.state.cursor) = (step, batch.cursor);
        let targets = output.target_count as u64;
        run.log(TrainStep {
            step,
            epoch: epoch_of(&batch.cursor),
            loss,
            token_accuracy: output.correct_count.double_value(&[]) / targets.max(1) as f64,
            learning_rate,
            gradient_norm: norm,
            targets,
            seconds: step_watch.seconds(),
            wait_seconds,
        })?;
        feed.recycle(batch);

        let last = step == run.total_steps;
        if let Some(validation) = config.validation.filter(|v| last || step.is_multiple_of(v.every)) {
            let loss = run.validation_loss(&validation)?;
            run.state.validation.push((step, loss));
        }
        if last || config.checkpoint_every.is_some_and(|every| step.is_multiple_of(every)) {
            checkpoint::save(out, &run.model, &run.optimizer, &run.state, &run.tokenizers)?;
        }
        progress.step(1, run.in_words());
    }
    progress.finish();
    run.report(config, watch.seconds())
}

/// The epoch that the batch before this cursor belongs to.
fn epoch_of(cursor: &FeedCursor) -> u64 {
    if cursor.batch == 0 { cursor.epoch.saturating_sub(1) } else { cursor.epoch }
}

impl Run {
    /// What the feed is asked for.
    fn plan(&self) -> FeedPlan {
        FeedPlan { start: self.state.cursor, ..self.plan.clone() }
    }
}
