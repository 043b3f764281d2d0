//! One block of the 2D encoder.

use tch::Tensor;

use super::config::SiglipVisionConfig;
use crate::model::layers::{AttentionMask, Gelu, Init, LayerNorm, Linear, Mlp, attention};

/// Pre-norm attention and MLP, each added to its input.
pub(crate) struct Block {
    pub(crate) attention_norm: LayerNorm,
    pub(crate) query: Linear,
    pub(crate) key: Linear,
    pub(crate) value: Linear,
    pub(crate) out: Linear,
    pub(crate) mlp_norm: LayerNorm,
    pub(crate) mlp: Mlp,
    heads: i64,
}

impl Block {
    pub(super) fn new(config: &SiglipVisionConfig, init: &Init) -> Block {
        let width = config.hidden_size;
        Block {
            attention_norm: LayerNorm::new(init, width, config.layer_norm_eps),
            query: Linear::new(init, width, width),
            key: Linear::new(init, width, width),
            value: Linear::new(init, width, width),
            out: Linear::new(init, width, width),
            mlp_norm: LayerNorm::new(init, width, config.layer_norm_eps),
            mlp: Mlp::new(init, width, config.intermediate_size, width, Gelu::Tanh),
            heads: config.num_attention_heads,
        }
    }

    pub(super) fn forward(&self, hidden_bqe: Tensor) -> Tensor {
        let (batch, tokens, width) = hidden_bqe.size3().expect("tokens have three axes");
        let normed_bqe = self.attention_norm.forward(&hidden_bqe);
        let heads = |linear: &Linear| linear.forward(&normed_bqe).view([batch, tokens, self.heads, width / self.heads]);
        let attended_bqe = attention(&heads(&self.query), &heads(&self.key), &heads(&self.value), AttentionMask::None);
        let hidden_bqe = self.out.add_to(&hidden_bqe, &attended_bqe);
        self.mlp.add_to(&hidden_bqe, &self.mlp_norm.forward(&hidden_bqe))
    }
}
