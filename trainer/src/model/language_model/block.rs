//! One decoder block.

use tch::Tensor;

use super::cache::LayerCache;
use super::config::Phi3Config;
use super::rope::Angles;
use crate::model::layers::{Init, Linear, RmsNorm, Sight, attention};

/// Pre-norm causal attention and gated MLP, each added to its input.
pub(crate) struct Block {
    pub(crate) attention_norm: RmsNorm,
    pub(crate) qkv: Linear,
    pub(crate) out: Linear,
    pub(crate) mlp_norm: RmsNorm,
    pub(crate) gate_up: Linear,
    pub(crate) down: Linear,
    heads: i64,
    key_value_heads: i64,
    head_width: i64,
}

impl Block {
    pub(super) fn new(config: &Phi3Config, init: &Init) -> Block {
        let (width, head_width) = (config.hidden_size, config.head_width());
        let qkv_heads = config.num_attention_heads + 2 * config.num_key_value_heads;
        Block {
            attention_norm: RmsNorm::new(init, width, config.rms_norm_eps),
            qkv: Linear::without_bias(init, width, qkv_heads * head_width),
            out: Linear::without_bias(init, width, width),
            mlp_norm: RmsNorm::new(init, width, config.rms_norm_eps),
            gate_up: Linear::without_bias(init, width, 2 * config.intermediate_size),
            down: Linear::without_bias(init, config.intermediate_size, width),
            heads: config.num_attention_heads,
            key_value_heads: config.num_key_value_heads,
            head_width,
        }
    }

    /// (B, T, E) to the same. With a cache, keys and values go through it; without one, attention is plain causal.
    pub(super) fn forward(&self, hidden_bte: Tensor, angles: &Angles, cache: Option<&mut LayerCache>) -> Tensor {
        let (q_bthe, k_bthe, v_bthe) = self.project(&self.attention_norm.forward(&hidden_bte), angles);
        let attended_bte = match cache {
            None => attention(&q_bthe, &k_bthe, &v_bthe, Sight::Causal),
            Some(cache) => cache.attend(&q_bthe, &k_bthe, &v_bthe),
        };
        let hidden_bte = hidden_bte + self.out.forward(&attended_bte);
        let mlp_bte = self.mlp(&self.mlp_norm.forward(&hidden_bte));
        hidden_bte + mlp_bte
    }

    /// Queries, keys and values, the first two turned to their positions; each (B, T, heads, width per head).
    fn project(&self, normed_bte: &Tensor, angles: &Angles) -> (Tensor, Tensor, Tensor) {
        let heads = self.qkv.forward(normed_bte).unflatten(-1, [-1, self.head_width]);
        let parts = heads.split_with_sizes([self.heads + self.key_value_heads, self.key_value_heads], 2);
        let turned = angles.turn(&parts[0]).split_with_sizes([self.heads, self.key_value_heads], 2);
        (turned[0].shallow_clone(), turned[1].shallow_clone(), parts[1].shallow_clone())
    }

    fn mlp(&self, normed_bte: &Tensor) -> Tensor {
        let halves = self.gate_up.forward(normed_bte).chunk(2, -1);
        self.down.forward(&(halves[0].silu() * &halves[1]))
    }
}
