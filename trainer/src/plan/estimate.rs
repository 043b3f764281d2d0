//! What a run will cost: weights, memory, time, disk, for a person to look at before it is started.

use serde::Serialize;

use super::checkpoint::CheckpointBytes;
use super::choice::{Choice, Search};
use super::flops::{self, ModuleFlops};
use super::learning::{Learning, StateBytes, Weights};
use super::memory::Activations;
use super::profile::DeviceProfile;
use super::work::Work;
use super::{MicroBatch, Policy};
use crate::model::Med2e3Config;
use crate::model::recompute::Recompute;
use crate::precision::Precision;

/// What a run will cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Estimate {
    /// The device, and where its rates come from.
    pub device: String,
    /// Bytes that tensors may take on it.
    pub memory: f64,
    /// Groups of weights, and how each is trained.
    pub weights: Vec<Weights>,
    /// Bytes of the states.
    pub states: StateBytes,
    /// The texts: lengths, padding, micro-batches.
    pub work: Work,
    /// FLOPs of an average step by module, over real lengths; nothing is computed again.
    pub flops: Vec<ModuleFlops>,
    /// Model FLOPs of an average step: forward and backward, neither padding nor recomputation.
    pub step_flops: f64,
    /// The same of the whole run.
    pub run_flops: f64,
    /// What is taken: stated by the configuration, or found.
    pub choice: Choice,
    /// Bytes of the largest micro-batch that occurs, without the states.
    pub activations: Activations,
    /// Bytes of the states and of that micro-batch.
    pub peak: f64,
    /// The same with nothing, part, or all of the blocks computed again, where a text fits.
    pub alternatives: Vec<(Recompute, Choice)>,
    /// Texts of a step.
    pub batch: u64,
    /// Optimizer steps.
    pub steps: u64,
    /// Seconds of the run as the device's rates make them, validation and checkpoints left out.
    pub seconds: f64,
    /// Model FLOPs of a second over what the device's maker states.
    pub utilization: f64,
    /// Hours of the run where 40 and 50 % of that are reached.
    pub hours_at: [HoursAt; 2],
    /// What checkpoints take.
    pub checkpoint: CheckpointBytes,
    /// Bytes that are free on the disk of the run's folder, where the system says.
    pub disk_free: Option<u64>,
    /// Bytes of memory that the host has, where the system says.
    pub host_memory: Option<u64>,
    /// Seconds for which a checkpoint's tensors are on their way from the device to the host.
    pub snapshot_seconds: f64,
}

/// How long the run takes at a utilization.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct HoursAt {
    /// Model FLOPs of a second over what the device's maker states.
    pub utilization: f64,
    /// Hours.
    pub hours: f64,
}

/// What an estimate is made of.
pub struct Asked<'a> {
    /// The model's sizes.
    pub config: &'a Med2e3Config,
    /// Which weights learn.
    pub learning: &'a Learning,
    /// The kind of the weights.
    pub precision: Precision,
    /// The device.
    pub profile: &'a DeviceProfile,
    /// What is computed at once and again.
    pub choice: Choice,
    /// Texts of a step.
    pub batch: u64,
    /// Optimizer steps.
    pub steps: u64,
    /// The texts.
    pub work: Work,
    /// What checkpoints take.
    pub checkpoint: CheckpointBytes,
    /// Bytes that are free on the disk.
    pub disk_free: Option<u64>,
    /// Bytes of memory that the host has.
    pub host_memory: Option<u64>,
}

impl Estimate {
    /// Estimates a run; `search` is of the same model, texts and device.
    pub fn new(asked: Asked<'_>, search: &Search<'_>) -> Estimate {
        let Asked { config, learning, precision, profile, choice, batch, steps, work, .. } = asked;
        let laid_out = work.laid_out_steps.max(1) as f64;
        let mut flops = flops::of_micro_batch(config, learning, &work.laid_out, &Policy::all(Recompute::None));
        flops.iter_mut().for_each(|module| module.divide(laid_out));
        let step_flops: f64 = flops.iter().map(|module| module.forward.total() + module.backward.total()).sum();
        let run_flops = step_flops * steps as f64;
        let (activations, peak) = largest(search, &work.shapes, &choice);
        let kinds = [Recompute::None, Recompute::Selective, Recompute::Full];
        let of_kind = |kind: Recompute| Some((kind, search.fastest_of(Policy::all(kind), profile.memory).ok()?));
        let stated = profile.peak(precision);
        let hours = |utilization: f64| HoursAt { utilization, hours: run_flops / (utilization * stated) / 3600.0 };
        Estimate {
            device: profile.name.clone(),
            memory: profile.memory,
            weights: search.weights().to_vec(),
            states: search.states(),
            work,
            flops,
            step_flops,
            run_flops,
            activations,
            peak,
            alternatives: kinds.into_iter().filter_map(of_kind).collect(),
            batch,
            steps,
            seconds: steps as f64 * choice.step_seconds,
            utilization: step_flops / choice.step_seconds / stated,
            choice,
            hours_at: [0.4, 0.5].map(hours),
            checkpoint: asked.checkpoint,
            disk_free: asked.disk_free,
            host_memory: asked.host_memory,
            snapshot_seconds: asked.checkpoint.snapshot() / profile.copy,
        }
    }

    /// Texts of a second.
    pub fn texts_per_second(&self) -> f64 {
        self.batch as f64 / self.choice.step_seconds
    }
}

/// The micro-batch that takes the most, of those that occur; the fullest that may, where none is known.
fn largest(search: &Search<'_>, shapes: &[MicroBatch], choice: &Choice) -> (Activations, f64) {
    let found = shapes.iter().map(|shape| search.activations(shape, &choice.policy));
    let largest = found.max_by(|a, b| a.peak().total_cmp(&b.peak())).unwrap_or(choice.activations);
    (largest, super::memory::peak(&search.states(), &largest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{LoraConfig, Part, Preset};
    use crate::plan::QUESTION_TOKENS;
    use crate::plan::choice::{Budget, Texts};
    use crate::plan::flops::tests::{Counted, golden};

    const STAGE1: [Part; 2] = [Part::Vision2dConnector, Part::Vision3dConnector];
    const STAGE2: [Part; 4] = [Part::Llm, Part::Vision2dModel, Part::Vision2dConnector, Part::Vision3dConnector];

    /// A run of so many steps of texts of one length, a volume for each so many of them.
    fn of(parts: &[Part], lora: Option<LoraConfig>, tokens: usize, targets: usize, of_volume: usize) -> Estimate {
        let config = Med2e3Config { lora, ..Med2e3Config::of_preset(Preset::Paper) };
        let learning = Learning::of_parts(parts, config.lora.is_some());
        let (batch, profile) = (128, DeviceProfile::h100());
        let texts = Texts {
            batch,
            mean_tokens: tokens as f64,
            longest: tokens,
            mean_targets: targets as f64,
            texts_per_volume: of_volume as f64,
            most_volumes: 1,
        };
        let search = Search::new(&config, &learning, Precision::Bf16, texts, &profile);
        let volumes = batch / of_volume;
        let all = MicroBatch {
            rows: vec![tokens; batch],
            volumes: volumes as f64,
            targets: batch * targets,
            question_tokens: QUESTION_TOKENS,
        };
        let work = Work {
            texts: batch as u64,
            tokens: (batch * tokens) as u64,
            targets: (batch * targets) as u64,
            histogram: Vec::new(),
            laid_out_steps: 1,
            step_tokens: (batch * tokens) as f64,
            step_micro_batches: 1.0,
            step_volumes: volumes as f64,
            padding_share: 0.0,
            shapes: vec![MicroBatch::of_width(8, tokens, 8.0 / of_volume as f64, 8 * targets)],
            laid_out: all,
        };
        let choice = search.cost(Policy::all(Recompute::Full), Budget { tokens: 8 * tokens, volumes: 8 });
        let checkpoint = CheckpointBytes::new(search.weights(), &learning, &search.states(), 0, 3);
        let (disk_free, host_memory) = (Some(1), Some(1));
        let asked = Asked {
            config: &config,
            learning: &learning,
            precision: Precision::Bf16,
            profile: &profile,
            choice,
            batch: batch as u64,
            steps: 29_800,
            work,
            checkpoint,
            disk_free,
            host_memory,
        };
        Estimate::new(asked, &search)
    }

    fn near(what: &str, found: f64, expected: f64) {
        assert!((found / expected - 1.0).abs() < 0.03, "{what}: {found} instead of {expected}");
    }

    #[test]
    fn a_plan_at_published_sizes_is_what_torch_counts() {
        let Counted { tokens, targets, trained, forward, backward } = golden();
        let full = of(&STAGE2, None, tokens, targets, 1);
        near("weights that learn", full.weights.iter().map(|group| group.learning).sum(), trained);
        // torch counts both halves of causal attention: 32 layers, 2 products of 3072 numbers a pair, once forward, twice backward.
        let upper = 3.0 * 32.0 * 2.0 * 3072.0 * (tokens * tokens) as f64;
        near("FLOPs of a text", full.step_flops / 128.0, forward["all"] + backward - upper);
        near("states", full.states.total(), 16.0 * trained + 2.0 * 87e6);
        near("a checkpoint", full.checkpoint.one(), 12.0 * trained + 2.0 * 87e6);
        near("FLOPs of the run", full.run_flops, 29_800.0 * full.step_flops);
        let [at_40, at_50] = full.hours_at;
        near("hours", at_40.hours, full.run_flops / (0.4 * 989e12) / 3600.0);
        near("hours", at_50.hours, 0.8 * at_40.hours);

        // Eight texts a volume: the towers once for all of them.
        let shared = of(&STAGE2, None, tokens, targets, 8);
        let towers: f64 =
            ["vision2d", "vision3d", "connector3d", "patch2d", "patch3d"].iter().map(|name| forward[*name]).sum();
        assert!(full.step_flops - shared.step_flops > 128.0 * 7.0 / 8.0 * towers);
        // Adapters save the gradients of the blocks' and the head's weights, one forward's products, and cost little.
        let lora = LoraConfig::plain(16, 32.0, 0.0, vec!["all-linear".into()]);
        let adapters = of(&STAGE2, Some(lora), tokens, targets, 1);
        let saved = (full.step_flops - adapters.step_flops) / 128.0;
        let products = forward["llm"] - 32.0 * 4.0 * 3072.0 * (tokens * tokens) as f64;
        assert!((0.9..1.0).contains(&(saved / products)), "{saved} of {products}");
        // Stage 1 goes back through the language model to its inputs alone.
        let first = of(&STAGE1, None, 700, 180, 1);
        let plain = first.step_flops / 128.0;
        assert!((16e12..18e12).contains(&plain), "{plain}");
    }
}
