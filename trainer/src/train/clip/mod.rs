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
/// A configuration, dataset or checkpoint that does not fit; a loss or gradient that is not finite.
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
        let norm = run.optimizer.step(learning_rate)?.norm.double_value(&[]);

        // Reading norm and loss waits for the device. Neither may spoil the weights that a checkpoint keeps.
        let loss = contrast.loss.double_value(&[]);
        if !(loss.is_finite() && norm.is_finite()) {
            return Err(run.diverged(step, loss));
        }
        run.optimizer.zero_grad()?;
        (run.state.step, run.state.cursor) = (step, batch.cursor);
        run.log.append(ClipStep {
            step,
            epoch: epoch_of(&batch.cursor),
            loss,
            accuracy: contrast.correct_count.int64_value(&[]) as f64 / count as f64,
            logit_scale: logit_scale.double_value(&[]),
            learning_rate,
            gradient_norm: norm,
            pairs: count,
            seconds: step_watch.seconds(),
            wait_seconds,
        })?;
        feed.recycle(batch);

        let is_last = step == run.total_steps;
        if let Some(validation) = config.validation.filter(|v| is_last || step.is_multiple_of(v.every)) {
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
    if run.state.step < run.total_steps && stop.is_asked() {
        return Ok(Ended::Stopped(StoppedRun { stopped_after: run.state.step, steps: run.total_steps }));
    }
    Ok(Ended::Finished(run.report(config, watch.seconds())?))
}
