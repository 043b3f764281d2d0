//! Low-rank adaptation (Hu et al. 2021) of the language model: a frozen matrix W gets A (rank, in) and B (out, rank), and the
//! map becomes `x W^T + alpha / rank * (x A^T) B^T`. Names and file layout are those of PEFT.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor, no_grad};

use super::error::ModelError;
use super::language_model::{LanguageModel, Role};
use super::layers::{AdaptedLinear, Adapter, Init};

/// The target that alone means every map of the blocks, as PEFT spells it.
pub const ALL_LINEAR: &str = "all-linear";

/// What is adapted and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraConfig {
    /// Rows of A and columns of B.
    pub rank: i64,
    /// The adapters' sum is multiplied by this over the rank.
    pub alpha: f64,
    /// Dropout on an adapter's input, in training only; drawn from libtorch's global generator.
    pub dropout: f64,
    /// Maps of each block that get an adapter, by their last published name, such as `qkv_proj`; or [`ALL_LINEAR`] alone.
    pub targets: Vec<String>,
}

impl LoraConfig {
    fn check(&self) -> Result<(), ModelError> {
        let fail = |field: &str, expected: &str, found: String| Err(ModelError::config(field, expected, found));
        if self.rank < 1 {
            return fail("lora.rank", "1 or more", self.rank.to_string());
        }
        if !self.alpha.is_finite() {
            return fail("lora.alpha", "a number", self.alpha.to_string());
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
    /// Adds fresh adapters to the maps whose role `is_target` names.
    ///
    /// # Errors
    /// Numbers out of range, no targets, or a rank above the larger side of a map, past which nothing is gained.
    pub(crate) fn adapt(
        &mut self,
        config: &LoraConfig,
        init: &Init,
        is_target: impl Fn(Role) -> bool,
    ) -> Result<(), ModelError> {
        config.check()?;
        for block in &mut self.blocks {
            for (role, adapted) in block.linears_mut() {
                if is_target(role) {
                    let (output, input) = adapted.linear.size();
                    if config.rank > output.max(input) {
                        let expected = format!("at most {}, the larger side of a map", output.max(input));
                        return Err(ModelError::config("lora.rank", expected, config.rank));
                    }
                    let scale = config.alpha / config.rank as f64;
                    adapted.adapter = Some(Adapter::new(&adapted.linear, config.rank, scale, config.dropout, init));
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
