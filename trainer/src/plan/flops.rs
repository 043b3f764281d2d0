//! FLOPs of each module over a micro-batch.

use serde::Serialize;

use super::learning::{Learning, Learns, adapter_weights};
use super::shape::{self, Block, Tower};
use super::{BlockPolicy, MicroBatch, Policy};
use crate::model::recompute::Recompute;
use crate::model::{Aggregate, ConnectorKind, Med2e3Config};

/// A module whose time is counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Module {
    /// Blocks of the language model.
    Llm,
    /// Its output matrix, at targets alone.
    LlmHead,
    /// The 2D encoder.
    Vision2d,
    /// Its connector.
    Connector2d,
    /// The 3D encoder.
    Vision3d,
    /// Its connector.
    Connector3d,
    /// The text encoder of the question.
    TextEncoder,
}

impl Module {
    /// The name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Module::Llm => "llm",
            Module::LlmHead => "llm head",
            Module::Vision2d => "vision2d",
            Module::Connector2d => "connector2d",
            Module::Vision3d => "vision3d",
            Module::Connector3d => "connector3d",
            Module::TextEncoder => "text encoder",
        }
    }
}

/// FLOPs by what computes them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Flops {
    /// Products with weights.
    pub products: f64,
    /// Scores and sums of attention; of causal attention the half below the diagonal.
    pub attention: f64,
}

impl Flops {
    /// Both.
    pub fn total(self) -> f64 {
        self.products + self.attention
    }

    fn scaled(self, products: f64, attention: f64) -> Flops {
        Flops { products: self.products * products, attention: self.attention * attention }
    }
}

/// What one module computes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ModuleFlops {
    /// Which.
    pub module: Module,
    /// Of the forward pass.
    pub forward: Flops,
    /// Of the backward pass, without what is computed again.
    pub backward: Flops,
    /// What the backward pass computes again.
    pub again: Flops,
}

impl ModuleFlops {
    /// A share of them: one of so many equal parts.
    pub(super) fn divide(&mut self, parts: f64) {
        for flops in [&mut self.forward, &mut self.backward, &mut self.again] {
            *flops = flops.scaled(1.0 / parts, 1.0 / parts);
        }
    }
}

/// Every module that the variant has, in the order of a forward pass.
pub fn of_micro_batch(
    config: &Med2e3Config,
    learning: &Learning,
    batch: &MicroBatch,
    policy: &Policy,
) -> Vec<ModuleFlops> {
    let (variant, volumes, texts) = (&config.variant, batch.volumes, batch.rows.len() as f64);
    let width = config.llm.hidden_size as f64;
    let mut modules = Vec::new();
    if variant.needs_3d() {
        let own = &config.vision3d;
        let patch = (own.patch_size.iter().product::<i64>() * own.in_channels) as f64;
        let patches = own.token_count() as f64 * patch * own.hidden_size as f64;
        let tower = Towered { tower: shape::vision3d(config), patches, learns: learning.vision3d_model };
        let tokens = shape::tokens3d(config);
        modules.push(tower.flops(Module::Vision3d, volumes, tokens, policy.vision3d));
        let pooled = config.pooled_grid().iter().product::<i64>() as f64;
        let maps = connector(variant.connector3d, own.hidden_size as f64, width, pooled);
        let forward = Flops { products: volumes * maps, attention: 0.0 };
        modules.push(connected(
            Module::Connector3d,
            forward,
            learning.reaches_connector3d(),
            learning.vision3d_model,
            learning.vision3d_connector,
        ));
    }
    if variant.needs_2d() {
        let own = &config.vision2d;
        let patches = (own.token_count() * own.patch_size.pow(2) * own.hidden_size) as f64;
        let tower = Towered { tower: shape::vision2d(config), patches, learns: learning.vision2d_model };
        let (slices, tokens) = (volumes * config.slice_count() as f64, own.token_count() as f64);
        modules.push(tower.flops(Module::Vision2d, slices, tokens, policy.vision2d));
        let pooled = variant.connector2d.pooled(own.grid()).iter().product::<i64>() as f64;
        let maps = connector2d(config, own.hidden_size as f64, width, pooled, slices, texts);
        modules.push(connected(
            Module::Connector2d,
            Flops { products: maps, attention: 0.0 },
            learning.reaches_connector2d(),
            learning.vision2d_model,
            learning.vision2d_connector,
        ));
    }
    if let Some(text) = config.text_encoder.as_ref().filter(|_| variant.needs_text_encoder()) {
        let tokens = batch.question_tokens as f64;
        let tower = Towered { tower: shape::text(text), patches: 0.0, learns: false };
        modules.push(tower.flops(Module::TextEncoder, texts, tokens, BlockPolicy::NONE));
    }
    modules.push(llm(config, learning, batch, policy.llm));
    let head = Flops { products: 2.0 * batch.targets as f64 * config.llm.vocab_size as f64 * width, attention: 0.0 };
    modules.push(connected(Module::LlmHead, head, true, learning.reaches_llm(), learning.llm_head));
    modules
}

/// A module without attention: forward, and backward to its input and to its weights where each is asked for.
fn connected(module: Module, forward: Flops, is_reached: bool, to_input: bool, to_weights: bool) -> ModuleFlops {
    let times = if is_reached { f64::from(u8::from(to_input)) + f64::from(u8::from(to_weights)) } else { 0.0 };
    ModuleFlops { module, forward, backward: forward.scaled(times, times), again: Flops::default() }
}

/// An encoder of rows of equal length.
struct Towered {
    tower: Tower,
    /// FLOPs of half a patch map over one row of a volume or slice: a multiplication each.
    patches: f64,
    learns: bool,
}

impl Towered {
    fn flops(&self, module: Module, rows: f64, tokens: f64, policy: BlockPolicy) -> ModuleFlops {
        let block = &self.tower.block;
        let one = Flops {
            products: 2.0 * rows * tokens * block.matrix_weights(),
            attention: 4.0 * rows * tokens * tokens * block.queries,
        };
        let blocks = self.tower.blocks as f64;
        let mut forward = one.scaled(blocks, blocks);
        // The gradient of a patch map's input, the voxels, is never asked for.
        let patches = 2.0 * rows * self.patches;
        let backward = if self.learns { forward.scaled(2.0, 2.0) } else { Flops::default() };
        let backward = Flops { products: backward.products + if self.learns { patches } else { 0.0 }, ..backward };
        forward.products += patches;
        let again = if self.learns { again(one, self.tower.blocks, policy) } else { Flops::default() };
        ModuleFlops { module, forward, backward, again }
    }
}

fn llm(config: &Med2e3Config, learning: &Learning, batch: &MicroBatch, policy: BlockPolicy) -> ModuleFlops {
    let tower = shape::llm(config);
    let block = &tower.block;
    let products = 2.0 * batch.tokens() as f64 * block.matrix_weights();
    let of_layer = |layer: i64| Flops { products, attention: 4.0 * pairs(config, batch, layer) * block.queries };
    let layers: Vec<Flops> = (0..tower.blocks).map(of_layer).collect();
    let sum = |layers: &[Flops]| {
        layers.iter().fold(Flops::default(), |sum, one| Flops {
            products: sum.products + one.products,
            attention: sum.attention + one.attention,
        })
    };
    let mut forward = sum(&layers);
    let adapters = 2.0 * batch.tokens() as f64 * adapter_weights(config);
    forward.products += adapters;
    let backward = match learning.llm_blocks {
        _ if !learning.reaches_llm() => Flops::default(),
        Learns::Full => forward.scaled(2.0, 2.0),
        // Gradients of inputs through the frozen maps, of both through the adapters.
        Learns::Adapters | Learns::Frozen => {
            let through = forward.scaled(1.0, 2.0);
            let own = if learning.llm_blocks == Learns::Adapters { adapters } else { 0.0 };
            Flops { products: through.products + own, ..through }
        }
    };
    let again = match (policy.recompute, learning.reaches_llm()) {
        (Recompute::Full, true) => sum(&layers[..policy.blocks.clamp(0, tower.blocks) as usize]),
        _ => Flops::default(),
    };
    ModuleFlops { module: Module::Llm, forward, backward, again }
}

/// Products and attention that so many blocks compute again.
fn again(one: Flops, blocks: i64, policy: BlockPolicy) -> Flops {
    match policy.recompute {
        Recompute::Full => {
            let count = policy.blocks.clamp(0, blocks) as f64;
            one.scaled(count, count)
        }
        Recompute::None | Recompute::Selective => Flops::default(),
    }
}

/// Pairs of a query and a key that a layer compares, over all rows.
fn pairs(config: &Med2e3Config, batch: &MicroBatch, layer: i64) -> f64 {
    let window = config.llm.window_of(layer).unwrap_or(usize::MAX);
    let of_row = |tokens: usize| {
        let (tokens, full) = (tokens as f64, tokens.min(window) as f64);
        0.5 * full * (full + 1.0) + (tokens - full) * full
    };
    batch.rows.iter().map(|tokens| of_row(*tokens)).sum()
}

/// FLOPs of a connector's maps over so many tokens.
fn connector(kind: ConnectorKind, from: f64, to: f64, tokens: f64) -> f64 {
    match kind.layers() {
        0 => 0.0,
        layers => 2.0 * tokens * (from * to + (layers - 1) as f64 * to * to),
    }
}

/// FLOPs of the 2D connector's maps: all but the last over every token of every slice; the last one after the sum over slices,
/// where that is one, and on the means of slices.
fn connector2d(config: &Med2e3Config, from: f64, to: f64, pooled: f64, slices: f64, texts: f64) -> f64 {
    let (kind, variant) = (config.variant.connector2d, &config.variant);
    let (layers, all) = (kind.layers(), connector(kind, from, to, slices * pooled));
    if layers == 0 || variant.aggregate == Aggregate::Max {
        return all;
    }
    let last = 2.0 * to * if layers == 1 { from } else { to };
    let means = if variant.uses_slice_features() { slices } else { 0.0 };
    all - last * slices * pooled + last * (texts * pooled + means)
}

/// Bytes that the elementwise operations of one block read and write a token: in the forward and in the backward pass, and what
/// selective recomputation adds. Counted over libtorch's own kernels, none of them fused.
pub(super) fn elementwise_bytes(block: &Block, element: f64) -> [f64; 3] {
    let (width, queries, keys, inner) =
        (block.width * element, block.queries * element, block.keys * element, block.inner * element);
    let turned = queries + keys;
    if block.is_gated {
        // Norms 2 each, sums 3 each; turning: four products and two sums over halves, one joint copy.
        let forward = 10.0 * width + 9.0 * turned + 5.0 * inner;
        let again = 4.0 * width + 9.0 * turned + 5.0 * inner;
        return [forward, 14.0 * width + 13.0 * turned + 2.0 * keys + 13.0 * inner, again];
    }
    [10.0 * width + 2.0 * inner, 23.0 * width + 4.0 * inner, 4.0 * width + 2.0 * inner]
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::{Part, Preset};

    const STAGE2: [Part; 4] = [Part::Llm, Part::Vision2dModel, Part::Vision2dConnector, Part::Vision3dConnector];

    #[derive(serde::Deserialize)]
    struct Golden {
        flops: Counted,
    }

    /// One text of stage 2: its lengths, the weights that learn, and the FLOPs of both passes as torch counts them, which are those
    /// of both halves of causal attention.
    #[derive(serde::Deserialize)]
    pub(in crate::plan) struct Counted {
        pub(in crate::plan) tokens: usize,
        pub(in crate::plan) targets: usize,
        pub(in crate::plan) trained: f64,
        pub(in crate::plan) forward: std::collections::BTreeMap<String, f64>,
        pub(in crate::plan) backward: f64,
    }

    pub(in crate::plan) fn golden() -> Counted {
        let text = include_str!("../../tests/golden/plan.json");
        serde_json::from_str::<Golden>(text).unwrap().flops
    }

    fn near(what: &str, found: f64, expected: f64) {
        assert!((found / expected - 1.0).abs() < 0.01, "{what}: {found} instead of {expected}");
    }

    /// torch counts both halves of causal attention.
    fn both_halves(module: &ModuleFlops, flops: Flops) -> f64 {
        flops.products + if module.module == Module::Llm { 2.0 } else { 1.0 } * flops.attention
    }

    #[test]
    fn flops_at_published_sizes_are_those_that_torch_counts() {
        let (config, counted) = (Med2e3Config::of_preset(Preset::Paper), golden());
        let learning = Learning::of_parts(&STAGE2, false);
        let batch = MicroBatch::of_width(1, counted.tokens, 1.0, counted.targets);
        let modules = of_micro_batch(&config, &learning, &batch, &Policy::all(Recompute::None));
        for (module, names) in [
            (Module::Llm, ["llm"].as_slice()),
            (Module::LlmHead, &["head"]),
            (Module::Vision2d, &["vision2d", "patch2d"]),
            (Module::Vision3d, &["vision3d", "patch3d"]),
            (Module::Connector3d, &["connector3d"]),
        ] {
            let found = modules.iter().find(|found| found.module == module).unwrap();
            let expected: f64 = names.iter().map(|name| counted.forward[*name]).sum();
            near(module.name(), both_halves(found, found.forward), expected);
        }
        // The peer's last map is given every slice.
        let others = modules.iter().filter(|one| one.module != Module::Connector2d);
        let sum = |of: fn(&ModuleFlops) -> Flops| others.clone().map(|one| both_halves(one, of(one))).sum::<f64>();
        let maps = counted.forward["connector2d"];
        near("forward", sum(|one| one.forward), counted.forward["all"] - maps);
        near("backward", sum(|one| one.backward), counted.backward - 2.0 * maps);
        let weights = crate::plan::learning::weights(&config, &learning);
        // The peer's patch map reads one channel where SigLIP's has three, and it has no last norm.
        let beyond = 2.0 * 16.0 * 16.0 * 1024.0 + 2.0 * 1024.0;
        assert_eq!(weights.iter().map(|group| group.learning).sum::<f64>(), counted.trained + beyond);
        assert_eq!(sum(|one| one.again), 0.0);
    }

    #[test]
    fn full_recomputation_is_one_more_forward_of_the_blocks_that_learn() {
        let config = Med2e3Config::of_preset(Preset::Paper);
        let learning = Learning::of_parts(&STAGE2, false);
        let batch = MicroBatch::of_width(2, 640, 1.0, 16);
        let modules = of_micro_batch(&config, &learning, &batch, &Policy::all(Recompute::Full));
        for module in modules {
            let blocks = match module.module {
                Module::Llm => module.forward.total(),
                // But for the patch map.
                Module::Vision2d => module.forward.total() - 2.0 * 32.0 * 256.0 * 256.0 * 1024.0,
                _ => 0.0,
            };
            assert_eq!(module.again.total(), blocks, "{}", module.module.name());
        }
        let half =
            Policy { llm: BlockPolicy { recompute: Recompute::Full, blocks: 16 }, ..Policy::all(Recompute::None) };
        let modules = of_micro_batch(&config, &learning, &batch, &half);
        let llm = modules.iter().find(|one| one.module == Module::Llm).unwrap();
        near("half", llm.again.total(), 0.5 * llm.forward.total());
    }

    #[test]
    fn frozen_parts_cost_no_backward_pass_but_what_goes_through_them() {
        let config = Med2e3Config::of_preset(Preset::Paper);
        let connectors = [Part::Vision2dConnector, Part::Vision3dConnector];
        let batch = MicroBatch::of_width(1, 700, 1.0, 180);
        let learning = Learning::of_parts(&connectors, false);
        let modules = of_micro_batch(&config, &learning, &batch, &Policy::all(Recompute::None));
        let of = |module: Module| *modules.iter().find(|one| one.module == module).unwrap();
        assert_eq!(of(Module::Vision2d).backward, Flops::default());
        assert_eq!(of(Module::Vision3d).backward, Flops::default());
        let llm = of(Module::Llm);
        assert_eq!(llm.backward.products, llm.forward.products);
        let total: f64 = modules.iter().map(|one| one.forward.total() + one.backward.total()).sum();
        assert!((16e12..18e12).contains(&total), "{total}");
    }

    #[test]
    fn a_window_bounds_the_keys_of_a_query() {
        let mut config = Med2e3Config::of_preset(Preset::Paper);
        config.llm.sliding_window = Some(3);
        let batch = MicroBatch { rows: vec![5, 2], volumes: 1.0, targets: 1, question_tokens: 1 };
        // Keys of each query: 1 2 3 3 3, and 1 2.
        assert_eq!(pairs(&config, &batch, 0), 15.0);
        config.llm.sliding_window = None;
        assert_eq!(pairs(&config, &batch, 0), 18.0);
    }
}
