//! Contrastive training of M3D-CLIP, on one page.
//!
//! next step -> captions to ids -> features -> loss of all pairs -> gradients part by part -> AdamW -> log -> checkpoint. It is a
//! verb of its own, since nothing of a configuration of `train` but the optimizer has a meaning here: no parts, no
//! instruction, no micro-batch of tokens.
//!
//! # Layout
//! - `run`: what the loop needs, opened and checked
//! - `captions`: a caption's ids; `pairs`: the pairs of a step in parts

mod captions;
mod pairs;
mod run;

use std::path::Path;

use med2e3_program::{Progress, StopSignal, Stopwatch};
use med2e3_schemas::report::{ClipStep, TrainClipReport};

use super::start::Existing;
use super::{Ended, STOPPING, StoppedRun, epoch_of};
use crate::TrainerError;
use crate::config::TrainClipConfig;
use crate::model::draws::draw_key;
use run::ClipRun;

/// Trains as `config` states and writes log, checkpoints and report to `out`.
///
/// # Errors
/// A configuration, dataset or checkpoint that does not fit; more steps in a row than the configuration allows whose gradients are
/// not finite, or checkpoints in a row that can't be written.
pub fn train_clip(
    config: &TrainClipConfig,
    out: &Path,
    existing: Existing,
) -> Result<Ended<TrainClipReport>, TrainerError> {
    let watch = Stopwatch::start();
    let mut run = ClipRun::open(config, out, existing)?;
    let mut feed = run.feed()?;
    let progress = Progress::new(run.total_steps, run.state.step, "steps");
    let stop = StopSignal::listen(STOPPING);

    while run.state.step < run.total_steps && !stop.is_asked() {
        let step_watch = Stopwatch::start();
        let Some(batch) = feed.next_batch() else { break };
        let batch = batch?;
        let wait_seconds = step_watch.seconds();
        let step = run.state.step + 1;

        // What is drawn depends on seed, step and sample alone, so a resumed run draws what an unbroken one would.
        let pairs = run.pairs(&batch, draw_key(&[config.seed, step]), &config.step)?;
        let logit_scale = run.clip.logit_scale().copy();
        let contrast = run.clip.add_gradients(pairs.parts(), |part| pairs.part(part))?;
        let count = pairs.count() as u64;
        let learning_rate = config.optimizer.learning_rate * run.schedule.factor(run.state.step);
        let samples = batch.sample_ids.clone();
        let found = run.optimizer.step(learning_rate)?;
        run.optimizer.zero_grad()?;
        (run.state.step, run.state.cursor.position) = (step, batch.position);
        // The device's numbers are read one step later, when they have long arrived.
        let line = ClipStep {
            step,
            epoch: epoch_of(batch.position, run.sample_count()),
            loss: f64::NAN,
            accuracy: f64::NAN,
            logit_scale: f64::NAN,
            learning_rate,
            gradient_norm: f64::NAN,
            pairs: count,
            skipped: false,
            seconds: step_watch.seconds(),
            wait_seconds,
        };
        let numbers = [&contrast.loss, &contrast.correct_count, &logit_scale, &found.norm, &found.skipped];
        drop(batch);
        run.note_step(line, samples, &numbers)?;

        let is_last = step == run.total_steps;
        if let Some(validation) = config.validation.filter(|v| is_last || step.is_multiple_of(v.every)) {
            run.finish_step()?;
            let loss = run.validation_loss(config, validation.pairs)?;
            run.state.validation.push((step, loss));
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
