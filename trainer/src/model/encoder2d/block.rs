//! One block of the 2D encoder.

use tch::Tensor;

use super::config::SiglipVisionConfig;
use crate::model::layers::{AttentionMask, Gelu, Init, LayerNorm, Linear, Mlp, Tape};

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

    /// (B, Q, E) to the same.
    pub(super) fn forward(&self, hidden_bqe: &Tensor, tape: &mut Tape) -> Tensor {
        let (batch, tokens, width) = hidden_bqe.size3().expect("tokens have three axes");
        let normed_bqe = self.attention_norm.forward(hidden_bqe);
        let [query, key, value] = [&self.query, &self.key, &self.value].map(|linear| {
            let heads_bqe = linear.map(&normed_bqe, None, tape);
            heads_bqe.view([batch, tokens, self.heads, width / self.heads])
        });
        let attended_bqe = tape.attention(&query, &key, &value, AttentionMask::None);
        let hidden_bqe = self.out.map(&attended_bqe, Some(hidden_bqe), tape);
        self.mlp.add_to(&hidden_bqe, &self.mlp_norm.forward(&hidden_bqe), tape)
    }

    /// Whether a backward pass stores a gradient of its weights.
    pub(super) fn is_trained(&self) -> bool {
        let linears = [&self.query, &self.key, &self.value, &self.out];
        linears.into_iter().any(Linear::is_trained)
            || self.mlp.is_trained()
            || self.attention_norm.is_trained()
            || self.mlp_norm.is_trained()
    }

    /// Another handle of the same weights.
    pub(super) fn shallow_clone(&self) -> Block {
        Block {
            attention_norm: self.attention_norm.shallow_clone(),
            query: self.query.shallow_clone(),
            key: self.key.shallow_clone(),
            value: self.value.shallow_clone(),
            out: self.out.shallow_clone(),
            mlp_norm: self.mlp_norm.shallow_clone(),
            mlp: self.mlp.shallow_clone(),
            heads: self.heads,
        }
    }
}
