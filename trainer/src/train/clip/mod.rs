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

use med2e3_program::{Progress, Stopwatch};
use med2e3_schemas::report::{ClipStep, TrainClipReport};

use super::start::Existing;
use super::{epoch_of, seed};
use crate::TrainerError;
use crate::config::TrainClipConfig;
use run::ClipRun;

/// Trains as `config` states and writes log, checkpoints and report to `out`.
///
/// # Errors
/// A configuration, dataset or checkpoint that does not fit; more steps in a row than the configuration allows whose gradients are
/// not finite.
pub fn train_clip(config: &TrainClipConfig, out: &Path, existing: Existing) -> Result<TrainClipReport, TrainerError> {
    let watch = Stopwatch::start();
    let mut run = ClipRun::open(config, out, existing)?;
    let mut feed = run.feed()?;
    let progress = Progress::new(run.total_steps, run.state.step, "steps");

    while run.state.step < run.total_steps {
        let step_watch = Stopwatch::start();
        let Some(batch) = feed.next_batch() else { break };
        let batch = batch?;
        let wait_seconds = step_watch.seconds();
        let step = run.state.step + 1;

        // What is drawn depends on seed, step and sample alone, so a resumed run draws what an unbroken one would.
        let pairs = run.pairs(&batch, seed::seed_of(config.seed, step), &config.step)?;
        let logit_scale = run.clip.logit_scale().copy();
        let contrast = run.clip.add_gradients(pairs.parts(), |part| pairs.part(part))?;
        let count = pairs.count() as u64;
        let learning_rate = config.optimizer.learning_rate * run.schedule.factor(run.state.step);
        let samples = batch.texts.iter().map(|text| text.sample_id).collect();
        let found = run.optimizer.step(learning_rate)?;
        run.optimizer.zero_grad()?;
        (run.state.step, run.state.cursor) = (step, batch.cursor);
        // The device's numbers are read one step later, when they have long arrived.
        let line = ClipStep {
            step,
            epoch: epoch_of(&batch.cursor),
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
        feed.recycle(batch);
        run.note_step(line, samples, &numbers)?;

        let is_last = step == run.total_steps;
        let validation = config.validation.filter(|v| is_last || step.is_multiple_of(v.every));
        let is_saved = is_last || config.checkpoint_every.is_some_and(|every| step.is_multiple_of(every));
        if validation.is_some() || is_saved {
            run.finish_step()?;
        }
        if let Some(validation) = validation {
            let loss = run.validation_loss(config, validation.pairs)?;
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
