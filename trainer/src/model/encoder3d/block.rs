//! One block of the 3D encoder.

use tch::Tensor;

use super::config::{LAYER_NORM_EPS, M3dClipVisionConfig};
use crate::model::layers::{AttentionMask, Gelu, Init, LayerNorm, Linear, Mlp, Tape};

/// Pre-norm attention and MLP, each added to its input.
pub(crate) struct Block {
    pub(crate) attention_norm: LayerNorm,
    pub(crate) qkv: Linear,
    pub(crate) out: Linear,
    pub(crate) mlp_norm: LayerNorm,
    pub(crate) mlp: Mlp,
    heads: i64,
}

impl Block {
    pub(super) fn new(config: &M3dClipVisionConfig, init: &Init) -> Block {
        let width = config.hidden_size;
        Block {
            attention_norm: LayerNorm::new(init, width, LAYER_NORM_EPS),
            qkv: Linear::without_bias(init, width, 3 * width),
            out: Linear::new(init, width, width),
            mlp_norm: LayerNorm::new(init, width, LAYER_NORM_EPS),
            mlp: Mlp::new(init, width, config.mlp_dim, width, Gelu::Exact),
            heads: config.num_heads,
        }
    }

    /// (B, P, E) to the same.
    pub(super) fn forward(&self, hidden_bpe: &Tensor, tape: &mut Tape) -> Tensor {
        let (batch, tokens, width) = hidden_bpe.size3().expect("tokens have three axes");
        let qkv_bpe = self.qkv.map(&self.attention_norm.forward(hidden_bpe), None, tape);
        let parts = qkv_bpe.view([batch, tokens, 3, self.heads, width / self.heads]).unbind(2);
        let attended_bpe = tape.attention(&parts[0], &parts[1], &parts[2], AttentionMask::None);
        let hidden_bpe = self.out.map(&attended_bpe, Some(hidden_bpe), tape);
        self.mlp.add_to(&hidden_bpe, &self.mlp_norm.forward(&hidden_bpe), tape)
    }

    /// Whether a backward pass stores a gradient of its weights.
    pub(super) fn is_trained(&self) -> bool {
        [&self.qkv, &self.out].into_iter().any(Linear::is_trained)
            || self.mlp.is_trained()
            || self.attention_norm.is_trained()
            || self.mlp_norm.is_trained()
    }

    /// Another handle of the same weights.
    pub(super) fn shallow_clone(&self) -> Block {
        Block {
            attention_norm: self.attention_norm.shallow_clone(),
            qkv: self.qkv.shallow_clone(),
            out: self.out.shallow_clone(),
            mlp_norm: self.mlp_norm.shallow_clone(),
            mlp: self.mlp.shallow_clone(),
            heads: self.heads,
        }
    }
}
