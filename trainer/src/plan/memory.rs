//! What a micro-batch keeps for its backward pass, and the peak of memory.

use serde::Serialize;

use super::learning::{Learning, Learns, StateBytes};
use super::shape::{self, Block, Tower};
use super::{BlockPolicy, MicroBatch, Policy};
use crate::model::Med2e3Config;
use crate::model::recompute::Recompute;
use crate::precision::Precision;

/// Bytes of one number of the model's kind.
pub(super) fn element(precision: Precision) -> f64 {
    match precision {
        Precision::F32 => 4.0,
        Precision::Bf16 => 2.0,
    }
}

/// What is computed in, and by which kernels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Numbers {
    /// The model's kind.
    pub precision: Precision,
    /// Whether an RMS norm is one kernel, as on a GPU.
    pub fused_norms: bool,
}

impl Numbers {
    fn element(self) -> f64 {
        element(self.precision)
    }
}

/// The bytes of a micro-batch, without the states.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Activations {
    /// Kept by the language model's blocks.
    pub llm: f64,
    /// Kept by the 2D encoder's.
    pub vision2d: f64,
    /// Kept by the 3D encoder's.
    pub vision3d: f64,
    /// Kept by connectors, embeddings and loss.
    pub between: f64,
    /// The most that exists for a moment beside what is kept.
    pub transient: f64,
}

impl Activations {
    /// What is kept for the backward pass.
    pub fn kept(&self) -> f64 {
        self.llm + self.vision2d + self.vision3d + self.between
    }

    /// What is kept, and the most beside it.
    pub fn peak(&self) -> f64 {
        self.kept() + self.transient
    }
}

/// The peak of a step: states and activations.
pub fn peak(states: &StateBytes, activations: &Activations) -> f64 {
    states.total() + activations.peak()
}

/// Which of a block's inputs are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// Those from which gradients of weights are made too.
    Weights,
    /// Those from which gradients of adapters are made: inputs of products, while norms rest.
    Adapters,
    /// Those that lead to the gradient of the block's input alone.
    Inputs,
}

/// Bytes a token that one block keeps for its backward pass.
pub(super) fn saved(block: &Block, numbers: Numbers, recompute: Recompute, kept: Kept) -> f64 {
    let element = numbers.element();
    let [width, queries, keys, inner] = [block.width, block.queries, block.keys, block.inner].map(|x| x * element);
    // Logarithms of the softmax's sums, and what norms keep of a row: f32.
    let sums = 4.0 * block.heads;
    let for_weights = if kept == Kept::Inputs { 0.0 } else { 1.0 };
    let for_norms = if kept == Kept::Weights { 1.0 } else { 0.0 };
    // One that is composed of steps keeps its input as f32 and the normed numbers before their scale, too.
    let composed = match numbers.precision {
        Precision::F32 => for_norms * 4.0 * block.width,
        Precision::Bf16 => (1.0 + for_norms) * 4.0 * block.width,
    };
    let is_composed = block.is_gated && !numbers.fused_norms;
    let norms = 2.0 * (4.0 * block.norm_numbers + if is_composed { composed } else { 0.0 });
    let mapped = queries + 2.0 * keys;
    match (recompute, block.is_gated) {
        (Recompute::Full, _) => width,
        // Input, queries, keys and values before they are turned, attended, the sum after it, gate and up.
        (Recompute::Selective, true) => 2.0 * width + mapped + queries + 2.0 * inner + sums,
        (Recompute::Selective, false) => 2.0 * width + mapped + queries + inner + sums,
        // And the normed tokens, turned queries and keys, and what the gate makes of what it weighs; its activation is made again.
        (Recompute::None, true) => {
            let norm = (1.0 + for_weights) * width;
            2.0 * norm + mapped + (queries + keys) + queries + (2.0 + for_weights) * inner + sums + norms
        }
        (Recompute::None, false) => {
            let norm = (1.0 + for_weights) * width;
            2.0 * norm + mapped + queries + (1.0 + for_weights) * inner + sums + norms
        }
    }
}

/// Bytes a token that exist for a moment while the gradient goes through one block: the gradients of its widest
/// tensors, and what is made again.
fn transient(block: &Block, numbers: Numbers, recompute: Recompute, kept: Kept) -> f64 {
    let gradients = numbers.element() * (block.width + block.inner * if block.is_gated { 5.0 } else { 2.0 });
    let again = saved(block, numbers, Recompute::None, kept) - saved(block, numbers, recompute, kept);
    gradients + again.max(0.0)
}

/// Bytes that a tower keeps, and the most of one block for a moment.
fn tower(tower: Tower, numbers: Numbers, policy: BlockPolicy, kept: Kept, tokens: f64) -> (f64, f64) {
    let block = &tower.block;
    let parts = policy.split(tower.blocks).into_iter().filter(|(_, count)| *count > 0);
    let all =
        parts.clone().map(|(recompute, count)| count as f64 * saved(block, numbers, recompute, kept)).sum::<f64>();
    let widest = parts.map(|(recompute, _)| transient(block, numbers, recompute, kept)).fold(0.0, f64::max);
    (tokens * all, tokens * widest)
}

/// The bytes of a micro-batch whose rows are padded to the longest.
pub fn activations(
    config: &Med2e3Config,
    learning: &Learning,
    numbers: Numbers,
    batch: &MicroBatch,
    policy: &Policy,
) -> Activations {
    let (variant, element) = (&config.variant, numbers.element());
    let (volumes, texts, tokens) = (batch.volumes, batch.rows.len() as f64, batch.tokens() as f64);
    let width = config.llm.hidden_size as f64 * element;
    let mut found = Activations { llm: 0.0, vision2d: 0.0, vision3d: 0.0, between: 0.0, transient: 0.0 };
    let mut widest_vision: f64 = 0.0;
    if learning.reaches_llm() {
        let kept = match learning.llm_blocks {
            Learns::Frozen => Kept::Inputs,
            Learns::Adapters => Kept::Adapters,
            _ => Kept::Weights,
        };
        let (all, widest) = tower(shape::llm(config), numbers, policy.llm, kept, tokens);
        (found.llm, found.transient) = (all, widest);
    }
    if variant.needs_2d() {
        let own = shape::vision2d(config);
        let seen = volumes * shape::tokens2d(config);
        if learning.vision2d_model {
            let (all, widest) = tower(own, numbers, policy.vision2d, Kept::Weights, seen);
            (found.vision2d, widest_vision) = (all, widest);
        } else {
            // Without a graph: a token, its normed copy and the widest tensor of the MLP, twice.
            widest_vision = seen * element * (2.0 * own.block.width + 2.0 * own.block.inner);
        }
        if learning.reaches_connector2d() {
            let pooled = variant.connector2d.pooled(config.vision2d.grid()).iter().product::<i64>() as f64;
            let mapped = volumes * config.slice_count() as f64 * pooled;
            found.between += connector(variant.connector2d.layers(), own.block.width * element, width, mapped);
            // What the last map is given: the tokens of one slice a text.
            found.between += 2.0 * texts * pooled * width;
        }
    }
    if variant.needs_3d() {
        let own = shape::vision3d(config);
        let seen = volumes * shape::tokens3d(config);
        if learning.vision3d_model {
            let (all, widest) = tower(own, numbers, policy.vision3d, Kept::Weights, seen);
            found.vision3d = all;
            widest_vision = widest_vision.max(widest);
        }
        if learning.reaches_connector3d() {
            let pooled = volumes * config.pooled_grid().iter().product::<i64>() as f64;
            found.between += connector(variant.connector3d.layers(), own.block.width * element, width, pooled);
            found.between += pooled * width;
        }
    }
    // The last norm, and the targets' states with their gradients.
    found.between += tokens * 2.0 * width + 3.0 * batch.targets as f64 * width;
    // Logits of a chunk: in the model's kind, as f32 and their gradient.
    let chunk = LOGITS_AT_ONCE.min(batch.targets as f64 * config.llm.vocab_size as f64);
    let mut logits = chunk * (element + 8.0);
    if learning.llm_head {
        // The output matrix's gradient, in f32, from the loss to the first node of the backward pass.
        logits += 4.0 * (config.llm.vocab_size * config.llm.hidden_size) as f64;
    }
    // While the gradient goes through a vision tower, what the language model kept is gone.
    let in_vision = widest_vision - found.llm;
    found.transient = found.transient.max(logits).max(in_vision);
    found
}

/// As the loss makes them: 64 MiB in f32.
const LOGITS_AT_ONCE: f64 = (1 << 24) as f64;

/// Bytes that a connector's maps keep of so many tokens: the inputs of each, and what the activations between them read.
fn connector(layers: usize, from: f64, to: f64, tokens: f64) -> f64 {
    match layers {
        0 => 0.0,
        layers => tokens * (from + 2.0 * (layers - 1) as f64 * to),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Part, Preset};
    use std::collections::BTreeMap;

    #[derive(serde::Deserialize)]
    struct Golden {
        saved_bytes_per_token: BTreeMap<String, BTreeMap<String, f64>>,
    }

    const GPU: Numbers = Numbers { precision: Precision::Bf16, fused_norms: true };

    /// What libtorch's own graph keeps of a block: the gate's activation too, which is made again here.
    fn torch_keeps(block: &Block, kept: Kept) -> f64 {
        let activation = if block.is_gated { 2.0 * block.inner } else { 0.0 };
        saved(block, GPU, Recompute::None, kept) + activation
    }

    #[test]
    fn a_block_keeps_what_torch_keeps() {
        let golden: Golden = serde_json::from_str(include_str!("../../tests/golden/plan.json")).unwrap();
        let config = Med2e3Config::of_preset(Preset::Paper);
        for (name, tower) in [
            ("llm", shape::llm(&config)),
            ("vision2d", shape::vision2d(&config)),
            ("vision3d", shape::vision3d(&config)),
        ] {
            for (how, kept) in [("full", Kept::Weights), ("frozen", Kept::Inputs)] {
                let expected = golden.saved_bytes_per_token[name][how];
                let found = torch_keeps(&tower.block, kept);
                assert!((found / expected - 1.0).abs() < 0.02, "{name}, {how}: {found} instead of {expected}");
            }
        }
        // The numbers that a report of this model states.
        for (block, expected) in [
            (shape::llm(&config).block, 127_136.0),
            (shape::vision2d(&config).block, 32_848.0),
            (shape::vision3d(&config).block, 24_640.0),
        ] {
            let found = torch_keeps(&block, Kept::Weights);
            assert!((found / expected - 1.0).abs() < 0.02, "{found} instead of {expected}");
        }
    }

    #[test]
    fn each_policy_keeps_less_than_the_one_before() {
        let config = Med2e3Config::of_preset(Preset::Paper);
        let learning = Learning::of_parts(&[Part::Llm, Part::Vision2dModel, Part::Vision2dConnector], false);
        let batch = MicroBatch::of_width(1, 617, 1.0, 27);
        let of = |policy: &Policy| activations(&config, &learning, GPU, &batch, policy);
        let [none, selective, full] =
            [Recompute::None, Recompute::Selective, Recompute::Full].map(|r| of(&Policy::all(r)));
        assert!(selective.kept() < 0.7 * none.kept() && full.kept() < 0.35 * none.kept());
        // A text keeps some 8.6 GB, and what exists beside it for a moment.
        assert!((8.5e9..9.5e9).contains(&none.peak()), "{}", none.peak());
        let some =
            Policy { llm: BlockPolicy { recompute: Recompute::Full, blocks: 8 }, ..Policy::all(Recompute::None) };
        let some = of(&some);
        assert!(full.llm < some.llm && some.llm < none.llm && some.vision2d == none.vision2d);
    }

    #[test]
    fn a_frozen_tower_keeps_nothing() {
        let config = Med2e3Config::of_preset(Preset::Paper);
        let batch = MicroBatch::of_width(1, 700, 1.0, 180);
        let connectors = [Part::Vision2dConnector, Part::Vision3dConnector];
        let learning = Learning::of_parts(&connectors, false);
        let found = activations(&config, &learning, GPU, &batch, &Policy::all(Recompute::None));
        assert_eq!((found.vision2d, found.vision3d), (0.0, 0.0));
        // Three quarters of what a learning language model keeps: no inputs of products with weights.
        let learning = Learning::of_parts(&Part::ALL, false);
        let all = activations(&config, &learning, GPU, &batch, &Policy::all(Recompute::None));
        assert!((0.7..0.8).contains(&(found.llm / all.llm)), "{}", found.llm / all.llm);
    }
}
