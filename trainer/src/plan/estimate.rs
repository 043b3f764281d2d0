//! What a run will cost: weights, memory, time, for a person to look at before it is started.

use serde::Serialize;

use super::choice::{Choice, Search, Texts};
use super::flops::{self, ModuleFlops};
use super::learning::{Learning, StateBytes, Weights};
use super::profile::DeviceProfile;
use super::{MicroBatch, Policy};
use crate::TrainerError;
use crate::model::Med2e3Config;
use crate::model::recompute::Recompute;
use crate::precision::Precision;

/// What a run will cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Estimate {
    /// The device, and where its rates come from.
    pub device: String,
    /// Bytes that tensors may take.
    pub memory: f64,
    /// Groups of weights.
    pub weights: Vec<Weights>,
    /// Bytes of the states.
    pub states: StateBytes,
    /// FLOPs of an average text by module.
    pub flops: Vec<ModuleFlops>,
    /// Model FLOPs of an average text: forward and backward, neither padding nor recomputation.
    pub model_flops: f64,
    /// What is taken.
    pub choice: Choice,
    /// The same with nothing, part, or all of the blocks computed again, where a text fits.
    pub alternatives: Vec<(Recompute, Choice)>,
    /// Texts of a second.
    pub texts_per_second: f64,
    /// Model FLOPs of a second over what the device's maker states.
    pub utilization: f64,
    /// Optimizer steps.
    pub steps: u64,
    /// Of the whole run, validation and checkpoints left out.
    pub seconds: f64,
}

/// Model FLOPs of one average text.
pub fn model_flops(config: &Med2e3Config, learning: &Learning, texts: &Texts) -> (Vec<ModuleFlops>, f64) {
    let targets = texts.mean_targets.round().max(1.0) as usize;
    let volumes = texts.volumes_of(1.0);
    let text = MicroBatch::of_width(1, texts.mean_tokens.round() as usize, volumes, targets);
    let modules = flops::of_micro_batch(config, learning, &text, &Policy::all(Recompute::None));
    let total = modules.iter().map(|module| module.forward.total() + module.backward.total()).sum();
    (modules, total)
}

/// Estimates a run of so many steps.
///
/// # Errors
/// No text fits the memory.
pub fn estimate(
    config: &Med2e3Config,
    learning: &Learning,
    precision: Precision,
    texts: Texts,
    steps: u64,
    profile: &DeviceProfile,
) -> Result<Estimate, TrainerError> {
    let search = Search::new(config, learning, precision, texts, profile);
    let choice = search.fastest(profile.memory)?;
    let kinds = [Recompute::None, Recompute::Selective, Recompute::Full];
    let of_kind = |kind: Recompute| Some((kind, search.fastest_of(Policy::all(kind), profile.memory).ok()?));
    let alternatives = kinds.into_iter().filter_map(of_kind).collect();
    let (flops, model_flops) = model_flops(config, learning, &texts);
    let texts_per_second = texts.batch as f64 / choice.step_seconds;
    Ok(Estimate {
        device: profile.name.clone(),
        memory: profile.memory,
        weights: search.weights().to_vec(),
        states: search.states(),
        flops,
        model_flops,
        choice,
        alternatives,
        texts_per_second,
        utilization: texts_per_second * model_flops / profile.peak(precision),
        steps,
        seconds: steps as f64 * choice.step_seconds,
    })
}
