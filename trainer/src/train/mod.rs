//! FLOW 3: the training loop, on one page.
//!
//! (next micro-batch -> device -> forward -> loss -> backward) until the step is whole -> clip -> AdamW -> log -> checkpoint.
//! The feed's cursor goes back into the checkpoint; with the step it is all that a resumed run needs to see the same batches and
//! the same draws.
//!
//! # Layout
//! - `outlook`: what of a run is known before its first step
//! - `run`: what the loop needs, opened and checked step by step
//! - `lock`: one writer of a folder; `resume`: whether a folder holds this run
//! - `rows`: what is known of the samples' lengths and ids before the first step
//! - `settle`: what a configuration leaves open of a step, found within the device's memory
//! - `step_sums`: what the micro-batches of a step add up to
//! - `data`: the samples; `start`: the model's first weights; `log`: `train.jsonl`; `seed`: of dropout
//! - `clip`: M3D-CLIP's own training
//! - `validate`: the validation loss
//! - [`optimizer`]: clipping and AdamW over flat buffers; [`schedule`]: the learning rate

mod clip;
#[cfg(test)]
mod cost;
mod data;
mod lock;
mod log;
pub mod optimizer;
mod outlook;
#[cfg(test)]
mod reads;
mod resume;
mod rows;
mod run;
pub mod schedule;
mod seed;
mod settle;
mod start;
mod step_sums;
mod validate;
#[cfg(test)]
mod wild;

use std::path::Path;

use med2e3_feed::FeedCursor;
use med2e3_program::{Progress, Stopwatch};
use med2e3_schemas::report::TrainReport;

use crate::TrainerError;
use crate::config::TrainConfig;
use crate::libtorch;
use run::Run;
use step_sums::StepSums;

pub use clip::train_clip;
pub(crate) use outlook::{Planned, planned};
pub(crate) use settle::profile_of;
pub use start::Existing;

/// Trains as `config` states and writes log, checkpoints and report to `out`.
///
/// # Errors
/// A configuration, dataset or checkpoint that does not fit; more steps in a row than the configuration allows whose gradients are
/// not finite.
pub fn train(config: &TrainConfig, out: &Path, existing: Existing) -> Result<TrainReport, TrainerError> {
    let watch = Stopwatch::start();
    let mut run = Run::open(config, out, existing)?;
    let mut feed = run.feed()?;
    let progress = Progress::new(run.total_steps, run.state.step, "steps");

    'steps: while run.state.step < run.total_steps {
        let step_watch = Stopwatch::start();
        let step = run.state.step + 1;
        // Whatever is drawn depends on seed and step, so a resumed run draws what an unbroken one would.
        let seed = seed::seed_of(config.seed, step);
        let (mut sums, mut cursor, mut wait_seconds) = (StepSums::default(), run.state.cursor, 0.0);
        while !sums.is_whole() {
            let wait_watch = Stopwatch::start();
            let Some(batch) = feed.next_batch() else { break 'steps };
            let batch = batch?;
            wait_seconds += wait_watch.seconds();
            let output = run.forward(&batch, seed)?;
            if output.loss.requires_grad() {
                libtorch::backward(&output.loss)?;
                sums.has_graph = true;
            }
            sums.add(&batch, &output);
            cursor = batch.cursor;
            feed.recycle(batch);
        }
        if !sums.has_graph {
            return Err(TrainerError::Config {
                key: "model.train".into(),
                expected: "a part that the loss of every step depends on".into(),
                found: format!("none in step {step}"),
            });
        }
        let learning_rate = config.optimizer.learning_rate * run.schedule.factor(run.state.step);
        let found = run.optimizer.step(learning_rate)?;
        run.optimizer.zero_grad()?;
        (run.state.step, run.state.cursor) = (step, cursor);
        // The device's numbers are read one step later, when they have long arrived.
        let line = sums.line(step, epoch_of(&cursor), learning_rate, step_watch.seconds(), wait_seconds);
        let (loss, correct) = sums.numbers();
        run.note_step(line, sums.samples, &[&loss, &correct, &found.norm, &found.skipped])?;

        let is_last = step == run.total_steps;
        let validation = config.validation.filter(|v| is_last || step.is_multiple_of(v.every));
        let is_saved = is_last || config.checkpoint_every.is_some_and(|every| step.is_multiple_of(every));
        if validation.is_some() || is_saved {
            run.finish_step()?;
        }
        if let Some(validation) = validation {
            let loss = run.validation_loss(&validation)?;
            run.state.validation.push((step, loss));
        }
        if is_saved {
            run.save_checkpoint()?;
        }
        progress.set_message(run.summary());
        progress.add(1);
    }
    run.finish_step()?;
    progress.finish();
    run.report(config, watch.seconds())
}

/// The epoch that the batch before this cursor belongs to.
fn epoch_of(cursor: &FeedCursor) -> u64 {
    if cursor.batch == 0 { cursor.epoch.saturating_sub(1) } else { cursor.epoch }
}
