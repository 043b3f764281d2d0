//! One block of the 3D encoder.

use tch::Tensor;

use super::config::{LAYER_NORM_EPS, M3dClipVisionConfig};
use crate::model::layers::{AttentionMask, Gelu, Init, LayerNorm, Linear, Mlp, attention};

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

    pub(super) fn forward(&self, hidden_bpe: Tensor) -> Tensor {
        let (batch, tokens, width) = hidden_bpe.size3().expect("tokens have three axes");
        let qkv = self.qkv.forward(&self.attention_norm.forward(&hidden_bpe)).view([
            batch,
            tokens,
            3,
            self.heads,
            width / self.heads,
        ]);
        let parts = qkv.unbind(2);
        let attended_bpe = attention(&parts[0], &parts[1], &parts[2], AttentionMask::None);
        let hidden_bpe = self.out.add_to(&hidden_bpe, &attended_bpe);
        self.mlp.add_to(&hidden_bpe, &self.mlp_norm.forward(&hidden_bpe))
    }
}
