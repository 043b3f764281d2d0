//! Which weights learn, how many there are, and the bytes of their states.

use serde::Serialize;

use super::shape;
use crate::model::language_model::Role;
use crate::model::piece::{How, Piece, Tunings};
use crate::model::weights::adapt::adapters_of;
use crate::model::weights::roles::role_name;
use crate::model::{ConnectorKind, LoraConfig, Med2e3Config, Part, Scorer, TextFeature};
use crate::precision::Precision;

/// How the blocks of the language model learn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Learns {
    /// Not at all.
    Frozen,
    /// By all their weights.
    Full,
    /// By adapters.
    Adapters,
}

/// Which weights learn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Learning {
    /// The language model's blocks, its last norm among them.
    pub llm_blocks: Learns,
    /// Its input embeddings.
    pub llm_embeddings: bool,
    /// Its output matrix.
    pub llm_head: bool,
    /// The 2D encoder.
    pub vision2d_model: bool,
    /// Its connector.
    pub vision2d_connector: bool,
    /// The 3D encoder.
    pub vision3d_model: bool,
    /// Its connector, and the scorer's weights.
    pub vision3d_connector: bool,
}

impl Learning {
    /// Whole parts; the language model by its adapters where it has any.
    pub fn of_parts(parts: &[Part], has_adapters: bool) -> Learning {
        let learns = |part: Part| parts.contains(&part);
        let all = learns(Part::Llm) && !has_adapters;
        Learning {
            llm_blocks: match learns(Part::Llm) {
                true if has_adapters => Learns::Adapters,
                true => Learns::Full,
                false => Learns::Frozen,
            },
            llm_embeddings: all,
            llm_head: all,
            vision2d_model: learns(Part::Vision2dModel),
            vision2d_connector: learns(Part::Vision2dConnector),
            vision3d_model: learns(Part::Vision3dModel),
            vision3d_connector: learns(Part::Vision3dConnector),
        }
    }

    /// Each piece as it is trained.
    pub fn of_tunings(tunings: &Tunings) -> Learning {
        let learns = |piece: Piece| tunings.of(piece).how == How::Full;
        Learning {
            llm_blocks: match tunings.of(Piece::LlmBlocks).how {
                How::Frozen => Learns::Frozen,
                How::Full => Learns::Full,
                How::Lora => Learns::Adapters,
            },
            llm_embeddings: learns(Piece::LlmEmbeddings),
            llm_head: learns(Piece::LlmHead),
            vision2d_model: learns(Piece::Vision2dModel),
            vision2d_connector: learns(Piece::Vision2dConnector),
            vision3d_model: learns(Piece::Vision3dModel),
            vision3d_connector: learns(Piece::Vision3dConnector),
        }
    }

    /// Whether a gradient goes back through the language model's blocks.
    pub(super) fn reaches_llm(&self) -> bool {
        self.llm_blocks != Learns::Frozen || self.reaches_embeddings()
    }

    /// Whether a gradient is needed at the language model's input. The scorer's question feature reads the embeddings too.
    pub(super) fn reaches_embeddings(&self) -> bool {
        self.llm_embeddings || self.reaches_connector2d() || self.reaches_connector3d()
    }

    pub(super) fn reaches_connector2d(&self) -> bool {
        self.vision2d_connector || self.vision2d_model
    }

    pub(super) fn reaches_connector3d(&self) -> bool {
        self.vision3d_connector || self.vision3d_model
    }
}

/// The weights of one group, and how many of them learn.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Weights {
    /// Which.
    pub group: &'static str,
    /// How they are trained.
    pub how: How,
    /// All.
    pub count: f64,
    /// Those that learn.
    pub learning: f64,
}

/// The group of all adapters.
const ADAPTERS: &str = "llm.adapters";

/// Every group of the model that has weights.
pub fn weights(config: &Med2e3Config, learning: &Learning) -> Vec<Weights> {
    let variant = &config.variant;
    let llm = shape::llm(config);
    let width = llm.block.width;
    let table = config.llm.vocab_size as f64 * width;
    let tower = |tower: shape::Tower| tower.blocks as f64 * tower.block.weights();
    let mut groups = Vec::new();
    let mut add = |group: &'static str, count: f64, learns: bool| {
        if count > 0.0 {
            let how = match learns {
                true if group == ADAPTERS => How::Lora,
                true => How::Full,
                false => How::Frozen,
            };
            groups.push(Weights { group, how, count, learning: if learns { count } else { 0.0 } });
        }
    };
    add("llm.blocks", tower(llm) + width, learning.llm_blocks == Learns::Full);
    add("llm.embeddings", table, learning.llm_embeddings);
    add("llm.head", if config.llm.tie_word_embeddings { 0.0 } else { table }, learning.llm_head);
    add(ADAPTERS, adapter_weights(config), learning.llm_blocks == Learns::Adapters);
    if variant.needs_2d() {
        let own = &config.vision2d;
        let wide = own.hidden_size as f64;
        let patches = (own.patch_size.pow(2) * own.num_channels + 1 + own.token_count() + 2) as f64 * wide;
        add("vision2d_model", tower(shape::vision2d(config)) + patches, learning.vision2d_model);
        add("vision2d_connector", connector(variant.connector2d, wide, width), learning.vision2d_connector);
    }
    if variant.needs_3d() {
        let own = &config.vision3d;
        let wide = own.hidden_size as f64;
        let patch = (own.patch_size.iter().product::<i64>() * own.in_channels) as f64;
        let rest = (patch + 1.0 + own.token_count() as f64 + 1.0 + 2.0) * wide;
        add("vision3d_model", tower(shape::vision3d(config)) + rest, learning.vision3d_model);
        let scorer = scorer(config, width);
        add("vision3d_connector", connector(variant.connector3d, wide, width) + scorer, learning.vision3d_connector);
    }
    if let Some(text) = config.text_encoder.as_ref().filter(|_| variant.needs_text_encoder()) {
        let rows = text.vocab_size + text.max_position_embeddings + text.type_vocab_size;
        let wide = text.hidden_size as f64;
        let rest = rows as f64 * wide + 2.0 * wide + wide * wide + wide;
        add("text_encoder", tower(shape::text(text)) + rest, false);
    }
    groups
}

fn connector(kind: ConnectorKind, from: f64, to: f64) -> f64 {
    match kind.layers() {
        0 => 0.0,
        layers => (from + 1.0) * to + (layers - 1) as f64 * (to + 1.0) * to,
    }
}

fn scorer(config: &Med2e3Config, width: f64) -> f64 {
    let variant = &config.variant;
    match variant.scorer {
        Scorer::Linear => width + 1.0,
        Scorer::TextGuided if variant.text_feature == TextFeature::M3dClip => {
            let from = config.text_encoder.as_ref().map_or(width, |text| text.hidden_size as f64);
            (from + 1.0) * width
        }
        Scorer::TextGuided | Scorer::Uniform | Scorer::Random | Scorer::Gauss => 0.0,
    }
}

/// Weights of the adapters: those of every map that the configuration names.
pub(super) fn adapter_weights(config: &Med2e3Config) -> f64 {
    let Some(lora) = &config.lora else {
        return 0.0;
    };
    // What names no map is refused where the model is built.
    let Ok(adapters) = adapters_of(lora, &config.llm) else {
        return 0.0;
    };
    let size_of = |path: &str| {
        let roles = config.llm.model_type.roles().iter();
        let role = roles.copied().find(|role| LoraConfig::is_name_of(role_name(*role), path));
        role.map_or(0.0, |role| {
            let (input, output) = role_size(config, role);
            input + output
        })
    };
    adapters.iter().map(|(path, adapter)| adapter.rank as f64 * size_of(path)).sum()
}

/// Inputs and outputs of a map.
fn role_size(config: &Med2e3Config, role: Role) -> (f64, f64) {
    let block = shape::llm(config).block;
    let (width, queries, keys, inner) = (block.width, block.queries, block.keys, block.inner);
    match role {
        Role::QueryKeyValue => (width, queries + 2.0 * keys),
        Role::Query => (width, queries),
        Role::Key | Role::Value => (width, keys),
        Role::Out => (queries, width),
        Role::GateUp => (width, 2.0 * inner),
        Role::Gate | Role::Up => (width, inner),
        Role::Down => (inner, width),
    }
}

/// Bytes of one weight and of what the optimizer keeps of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StateBytes {
    /// The weights that are computed with.
    pub weights: f64,
    /// f32 sums of their gradients.
    pub gradients: f64,
    /// Both moments, f32.
    pub moments: f64,
    /// What an f32 master has beyond its weight of fewer bits.
    pub remainder: f64,
}

impl StateBytes {
    /// All of them.
    pub fn total(&self) -> f64 {
        self.weights + self.gradients + self.moments + self.remainder
    }
}

/// Bytes of the states of these groups. A weight in bf16 has its 16-bit remainder beside it, which together are an f32 master.
pub fn states(weights: &[Weights], precision: Precision) -> StateBytes {
    let all: f64 = weights.iter().map(|group| group.count).sum();
    let learning: f64 = weights.iter().map(|group| group.learning).sum();
    let (weight, remainder) = match precision {
        Precision::F32 => (4.0, 0.0),
        Precision::Bf16 => (2.0, 2.0),
    };
    StateBytes {
        weights: weight * all,
        gradients: 4.0 * learning,
        moments: 8.0 * learning,
        remainder: remainder * learning,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Preset;

    fn counted(config: &Med2e3Config) -> f64 {
        let shapes = Part::ALL.into_iter().flat_map(|part| config.parameter_shapes(part).unwrap());
        shapes.map(|(_, shape)| shape.iter().product::<i64>() as f64).sum()
    }

    #[test]
    fn weights_are_those_that_the_model_is_built_with() {
        let nothing = Learning::of_parts(&[], false);
        for preset in [Preset::Paper, Preset::Released, Preset::Vision2dOnly, Preset::M3dLamed, Preset::Linear2d] {
            let config = Med2e3Config::of_preset(preset);
            let own: f64 = weights(&config, &nothing).iter().map(|group| group.count).sum();
            assert_eq!(own, counted(&config), "{}", crate::words::Word::as_str(preset));
        }
    }

    #[test]
    fn adapters_are_counted_by_map() {
        let mut config = Med2e3Config::of_preset(Preset::Paper);
        config.lora = Some(LoraConfig::plain(16, 32.0, 0.0, vec!["all-linear".into()]));
        // 32 blocks: 16 (3072 + 9216 + 3072 + 16384 + 3072 + 3072 + 8192 + 3072)
        assert_eq!(adapter_weights(&config), 32.0 * 16.0 * 49152.0);
        config.lora = Some(LoraConfig::plain(4, 8.0, 0.0, vec!["o_proj".into()]));
        assert_eq!(adapter_weights(&config), 32.0 * 4.0 * 6144.0);
    }

    #[test]
    fn states_of_stage_2_at_published_sizes() {
        let config = Med2e3Config::of_preset(Preset::Paper);
        let parts = [Part::Llm, Part::Vision2dModel, Part::Vision2dConnector, Part::Vision3dConnector];
        let weights = weights(&config, &Learning::of_parts(&parts, false));
        let learning: f64 = weights.iter().map(|group| group.learning).sum();
        let (bf16, f32) = (states(&weights, Precision::Bf16).total(), states(&weights, Precision::F32).total());
        // 16 bytes a weight that learns, 2 or 4 a frozen one.
        assert!((16.0 * learning / 66.4e9 - 1.0).abs() < 0.01, "{learning}");
        let frozen = weights.iter().map(|group| group.count - group.learning).sum::<f64>();
        assert_eq!((bf16, f32), (16.0 * learning + 2.0 * frozen, 16.0 * learning + 4.0 * frozen));
    }
}
