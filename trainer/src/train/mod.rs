//! FLOW 3: the training loop, on one page.
//!
//! (next micro-batch -> device -> forward -> loss -> backward) until the step is whole -> clip -> AdamW -> log -> checkpoint.
//! The feed's cursor goes back into the checkpoint; with the step it is all that a resumed run needs to see the same batches and
//! the same draws.
//!
//! # Layout
//! - `outlook`: what of a run is known before its first step
//! - `run`: what the loop needs, opened and checked step by step
//! - `checkpoints`: when they are written, and which stay
//! - `lock`: one writer of a folder; `resume`: whether a folder holds this run
//! - `rows`: what is known of the samples' lengths and ids before the first step
//! - `settle`: what a configuration leaves open of a step, found within the device's memory
//! - `step_sums`: what the micro-batches of a step add up to: `tasks`: losses by task; `work`: how much, how fast, in what memory
//! - `rejects`: samples that the run goes without
//! - `recent`: the last steps in words; `left_out`: steps that changed nothing
//! - `observed`: a trace of a step, and by which peak utilization is stated; `metrics`: numbers for Prometheus
//! - `data`: the samples; `start`: the model's first weights; `log`: `train.jsonl`; `events`: TensorBoard's files; `appended`: both, on a full disk
//! - `clip`: M3D-CLIP's own training
//! - `validate`: the validation loss, and `questions`: what is answered with it
//! - [`optimizer`]: clipping and AdamW over flat buffers; [`schedule`]: the learning rate

mod appended;
mod checkpoints;
mod clip;
#[cfg(test)]
mod cost;
mod data;
mod events;
mod left_out;
mod log;
mod metrics;
mod observed;
pub mod optimizer;
mod outlook;
mod questions;
#[cfg(test)]
mod reads;
mod recent;
mod rejects;
mod resume;
mod rows;
mod run;
pub mod schedule;
mod settle;
#[cfg(test)]
mod skipped;
mod start;
mod step_sums;
mod tasks;
mod validate;
#[cfg(test)]
mod wild;
mod work;

use std::path::Path;

use med2e3_feed::Spent;
use med2e3_program::{Progress, StopSignal, Stopwatch};
use med2e3_schemas::report::{StepFeed, TrainReport, TrainStep};
use serde::Serialize;

use crate::TrainerError;
use crate::config::TrainConfig;
use crate::libtorch;
use crate::model::draws::draw_key;
use optimizer::StepScalars;
use run::Run;
use step_sums::StepSums;

pub use clip::train_clip;
pub(crate) use log::{LENGTH, read as read_log};
pub use observed::Observed;
pub(crate) use outlook::{Planned, planned, planned_of};
pub(crate) use recent::by_task;
pub(crate) use resume::{FREE, LENGTH as LENGTH_KEYS};
pub(crate) use settle::profile_of;
pub use start::Existing;

/// What is said when a run is told to stop.
const STOPPING: &str = "told to stop: the step is finished and saved first; a second signal ends the run at once";

/// How a run ended that did not fail.
pub enum Ended<R> {
    /// All its steps are done; its report.
    Finished(R),
    /// It was told to stop, and its last step is saved.
    Stopped(StoppedRun),
}

/// Where a run was told to stop.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct StoppedRun {
    /// Its last finished step, which is saved; 0 where none was finished.
    pub stopped_after: u64,
    /// The steps of the whole run.
    pub steps: u64,
}

impl StoppedRun {
    /// Where a run stopped that a signal asked to; `None` where it has all its steps, or was not asked.
    fn of(step: u64, steps: u64, stop: &StopSignal) -> Option<StoppedRun> {
        (step < steps && stop.is_asked()).then_some(StoppedRun { stopped_after: step, steps })
    }
}

/// Trains as `config` states and writes log, checkpoints and report to `out`. A signal that asks the program to end lets it
/// finish its step and save.
///
/// # Errors
/// A configuration, dataset or checkpoint that does not fit; more steps in a row than the configuration allows whose gradients are
/// not finite, or checkpoints in a row that can't be written; data that does not read, once the steps before it are saved.
pub fn train(
    config: &TrainConfig,
    out: &Path,
    existing: Existing,
    observed: &Observed,
) -> Result<Ended<TrainReport>, TrainerError> {
    let watch = Stopwatch::start();
    let mut run = Run::open(config, out, existing, observed)?;
    let mut feed = run.feed()?;
    let mut fed = feed.spent();
    let progress = Progress::new(run.total_steps, run.state.step, "steps");
    let stop = StopSignal::listen(STOPPING);

    'steps: while run.state.step < run.total_steps && !stop.is_asked() {
        let step_watch = Stopwatch::start();
        let step = run.state.step + 1;
        let trace = run.trace_of(step)?;
        let is_left_out = run.is_left_out(step);
        // Whatever is drawn depends on seed and step, so a resumed run draws what an unbroken one would.
        let seed = draw_key(&[config.seed, step]);
        let (mut sums, mut position, mut wait_seconds) = (StepSums::default(), run.state.cursor.position, 0.0);
        let ready = feed.ready();
        while !sums.is_whole() {
            let wait_watch = Stopwatch::start();
            let Some(batch) = feed.next_batch() else { break 'steps };
            let batch = batch.map_err(|problem| run.saved_before(problem))?;
            wait_seconds += wait_watch.seconds();
            run.note_bad(step, &batch)?;
            if is_left_out || batch.is_empty() {
                sums.leave_out(&batch);
            } else {
                let computed = run.forward(&batch, seed)?;
                if computed.output.loss.requires_grad() {
                    libtorch::backward(&computed.output.loss)?;
                    sums.has_graph = true;
                }
                sums.add(&batch, &computed);
            }
            position = batch.position;
        }
        // A step whose samples are all bad changes nothing.
        let is_left_out = is_left_out || sums.samples.is_empty();
        if !(sums.has_graph || is_left_out) {
            return Err(TrainerError::Config {
                key: "model.train".into(),
                expected: "a part that the loss of every step depends on".into(),
                found: format!("none in step {step}"),
            });
        }
        let learning_rate = config.optimizer.learning_rate * run.schedule.factor(run.state.step);
        let found = if is_left_out { StepScalars::left_out() } else { run.optimizer.step(learning_rate)? };
        run.optimizer.zero_grad()?;
        (run.state.step, run.state.cursor.position) = (step, position);
        // The device's numbers are read one step later, when they have long arrived.
        let before = std::mem::replace(&mut fed, feed.spent());
        let line = TrainStep {
            feed: Some(of_feed(ready, fed - before)),
            ..sums.line(step, epoch_of(position, run.data.samples.len()), learning_rate, wait_seconds)
        };
        run.note_step(line, sums, &found, step_watch)?;
        run.end_trace(trace)?;

        let is_last = step == run.total_steps;
        if let Some(validation) = config.validation.filter(|v| is_last || step.is_multiple_of(v.every)) {
            run.finish_step()?;
            run.validate(&validation)?;
        }
        if run.checkpoints.is_due(step) {
            run.save_checkpoint()?;
        }
        run.checkpoints.look()?;
        progress.set_message(run.summary());
        progress.add_timed(step_watch.seconds());
    }
    run.save_last_checkpoint()?;
    progress.finish();
    match StoppedRun::of(run.state.step, run.total_steps, &stop) {
        Some(stopped) => Ok(Ended::Stopped(stopped)),
        None => Ok(Ended::Finished(run.report(config, watch.seconds())?)),
    }
}

/// What the feed did for a step, as it is logged.
fn of_feed(ready: usize, spent: Spent) -> StepFeed {
    StepFeed {
        ready: ready as u64,
        bytes: spent.bytes,
        read_seconds: spent.read.as_secs_f64(),
        hash_seconds: spent.hash.as_secs_f64(),
        decode_seconds: spent.decode.as_secs_f64(),
        collate_seconds: spent.collate.as_secs_f64(),
    }
}

/// The epoch of `samples` that the sample before a position belongs to.
fn epoch_of(position: u64, samples: usize) -> u64 {
    position.saturating_sub(1) / samples.max(1) as u64
}
