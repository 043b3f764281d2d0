//! Low-rank adaptation (Hu et al. 2021) of the language model: a frozen matrix W gets A (rank, in) and B (out, rank), and the
//! map becomes `x W^T + alpha / rank * (x A^T) B^T`. Names and file layout are those of PEFT.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor, no_grad};

use super::error::ModelError;
use super::language_model::{LanguageModel, Role};
use super::layers::{AdaptedLinear, Adapter, Init};

/// The target that alone means every map of the blocks, as PEFT spells it.
pub const ALL_LINEAR: &str = "all-linear";

/// Largest rank; as many as a matrix has rows in the widest models.
const MOST_RANK: i64 = 1 << 16;

/// What is adapted and how. A map is named by its last published names: `q_proj` is that of every block,
/// `model.layers.0.self_attn.q_proj` the first block's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoraConfig {
    /// Rows of A and columns of B.
    pub rank: i64,
    /// The adapters' sum is multiplied by this over the rank, or over what `scale` names.
    pub alpha: f64,
    /// Dropout on an adapter's input, in training only.
    pub dropout: f64,
    /// Maps that get an adapter, by their last published names; or `all-linear` alone.
    pub targets: Vec<String>,
    /// What alpha is divided by.
    #[serde(default, skip_serializing_if = "LoraScale::is_usual")]
    pub scale: LoraScale,
    /// Ranks of maps that have another one; of two names of a map the longer one counts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ranks: BTreeMap<String, i64>,
    /// The same for alpha.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub alphas: BTreeMap<String, f64>,
    /// Tables of the language model that are stored with the adapters, as PEFT's `modules_to_save`; those that `model.train`
    /// has learn beside the adapters are added.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<Table>,
}

/// One of the language model's two tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Table {
    /// From ids to hidden states.
    Embeddings,
    /// From hidden states to logits.
    Head,
}

/// What alpha is divided by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LoraScale {
    /// The rank, as the first publication has it.
    #[default]
    Rank,
    /// Its root (Kalajdzievski 2023, PEFT's `use_rslora`).
    RootOfRank,
}

impl LoraScale {
    fn is_usual(&self) -> bool {
        *self == LoraScale::Rank
    }
}

/// The adapter of one map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct MapAdapter {
    pub(crate) rank: i64,
    pub(crate) alpha: f64,
    /// On the adapter's sum.
    pub(crate) factor: f64,
}

impl LoraConfig {
    /// One rank and one alpha for all maps.
    pub fn plain(rank: i64, alpha: f64, dropout: f64, targets: Vec<String>) -> LoraConfig {
        let (ranks, alphas) = (BTreeMap::new(), BTreeMap::new());
        LoraConfig { rank, alpha, dropout, targets, scale: LoraScale::Rank, ranks, alphas, tables: Vec::new() }
    }

    /// Whether a name of a target, or of [`LoraConfig::ranks`], is that of the map with this path.
    pub(crate) fn is_name_of(name: &str, path: &str) -> bool {
        path.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('.'))
    }

    /// The numbers of the map with this path, if it is adapted.
    pub(crate) fn of_map(&self, path: &str) -> MapAdapter {
        fn value<V: Copy>(named: &BTreeMap<String, V>, path: &str) -> Option<V> {
            let of_map = named.iter().filter(|(name, _)| LoraConfig::is_name_of(name, path));
            of_map.max_by_key(|(name, _)| name.len()).map(|(_, value)| *value)
        }
        let rank = value(&self.ranks, path).unwrap_or(self.rank);
        let alpha = value(&self.alphas, path).unwrap_or(self.alpha);
        let divisor = match self.scale {
            LoraScale::Rank => rank as f64,
            LoraScale::RootOfRank => (rank as f64).sqrt(),
        };
        MapAdapter { rank, alpha, factor: alpha / divisor }
    }

    pub(super) fn check(&self) -> Result<(), ModelError> {
        let fail = |field: &str, expected: &str, found: String| Err(ModelError::config(field, expected, found));
        if let Some(rank) = self.ranks.values().chain([&self.rank]).find(|rank| **rank < 1) {
            return fail("lora.rank", "1 or more", rank.to_string());
        }
        if let Some(rank) = self.ranks.values().chain([&self.rank]).find(|rank| **rank > MOST_RANK) {
            return fail("lora.rank", &format!("at most {MOST_RANK}"), rank.to_string());
        }
        // As f32, which is what the adapters compute in.
        let most = f64::from(f32::MAX);
        if let Some(alpha) = self.alphas.values().chain([&self.alpha]).find(|alpha| !(-most..=most).contains(*alpha)) {
            return fail("lora.alpha", "a number that f32 holds", alpha.to_string());
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return fail("lora.dropout", "0 to below 1", self.dropout.to_string());
        }
        if self.targets.is_empty() {
            return fail("lora.targets", "one map or more", "none".into());
        }
        Ok(())
    }
}

impl LanguageModel {
    /// Adds fresh adapters to the maps for which `adapter_of`, given block and role, has one.
    ///
    /// # Errors
    /// Numbers out of range, no targets, or a rank above the larger side of a map, past which nothing is gained.
    pub(crate) fn adapt(
        &mut self,
        config: &LoraConfig,
        init: &Init,
        adapter_of: impl Fn(i64, Role) -> Option<MapAdapter>,
    ) -> Result<(), ModelError> {
        config.check()?;
        for (layer, block) in (0..).zip(&mut self.blocks) {
            for (role, adapted) in block.linears_mut() {
                if let Some(MapAdapter { rank, factor, .. }) = adapter_of(layer, role) {
                    let (output, input) = adapted.linear.size();
                    if rank > output.max(input) {
                        let expected = format!("at most {}, the larger side of a map", output.max(input));
                        return Err(ModelError::config("lora.rank", expected, rank));
                    }
                    adapted.adapter = Some(Adapter::new(&adapted.linear, rank, factor, config.dropout, init));
                }
            }
        }
        Ok(())
    }

    /// Disables the adapters' dropout, in training too.
    pub(crate) fn disable_dropout(&mut self) {
        let linears = self.blocks.iter_mut().flat_map(|block| block.linears_mut());
        linears.filter_map(|(_, adapted)| adapted.adapter.as_mut()).for_each(|adapter| adapter.dropout = 0.0);
    }

    /// Adds every adapter's matrix to its map's and removes the adapters. Returns the largest difference between a map with its
    /// adapter and the merged one on fixed input, over the largest value: what rounding to the weights' kind costs.
    ///
    /// # Errors
    /// The difference is above `tolerance`; the model is then unusable.
    pub(crate) fn merge_adapters(&mut self, tolerance: f64) -> Result<f64, ModelError> {
        let mut worst = 0.0f64;
        for block in &mut self.blocks {
            for (_, adapted) in block.linears_mut() {
                worst = worst.max(merge(adapted));
            }
        }
        if worst <= tolerance { Ok(worst) } else { Err(ModelError::Merge { difference: worst, tolerance }) }
    }
}

/// Merges one map; the relative difference on four rows of fixed input.
fn merge(adapted: &mut AdaptedLinear) -> f64 {
    let Some(adapter) = adapted.adapter.take() else {
        return 0.0;
    };
    no_grad(|| {
        let weight = &mut adapted.linear.weight;
        let input = weight.size()[1];
        let options = (Kind::Float, weight.device());
        let x = (Tensor::arange(4 * input, options) * 0.618).sin().view([4, input]);
        let linear = |matrix: &Tensor| x.linear(&matrix.to_kind(Kind::Float), None::<&Tensor>);
        // As it was computed before, so that a wrong sum is found as well as a rounded one.
        let expected = linear(weight) + adapter.forward_wide(&x);
        let wide = weight.to_kind(Kind::Float) + adapter.delta();
        weight.copy_(&wide);
        let found = linear(weight);
        let largest = expected.abs().max().double_value(&[]).max(f64::MIN_POSITIVE);
        (found - expected).abs().max().double_value(&[]) / largest
    })
}
