//! One block of the text encoder.

use tch::Tensor;

use super::config::BertConfig;
use crate::model::layers::{AttentionMask, Gelu, Init, LayerNorm, Linear, Mlp, Tape, attention};

/// Post-norm attention and MLP: each is added to its input, and the sum is normed.
pub(crate) struct Block {
    pub(crate) query: Linear,
    pub(crate) key: Linear,
    pub(crate) value: Linear,
    pub(crate) out: Linear,
    pub(crate) attention_norm: LayerNorm,
    pub(crate) mlp: Mlp,
    pub(crate) mlp_norm: LayerNorm,
    heads: i64,
}

impl Block {
    pub(super) fn new(config: &BertConfig, init: &Init) -> Block {
        let width = config.hidden_size;
        Block {
            query: Linear::new(init, width, width),
            key: Linear::new(init, width, width),
            value: Linear::new(init, width, width),
            out: Linear::new(init, width, width),
            attention_norm: LayerNorm::new(init, width, config.layer_norm_eps),
            mlp: Mlp::new(init, width, config.intermediate_size, width, Gelu::Exact),
            mlp_norm: LayerNorm::new(init, width, config.layer_norm_eps),
            heads: config.num_attention_heads,
        }
    }

    pub(super) fn forward(&self, hidden_bte: &Tensor, mask: AttentionMask) -> Tensor {
        let (batch, tokens, width) = hidden_bte.size3().expect("hidden states have three axes");
        let heads = |linear: &Linear| linear.forward(hidden_bte).view([batch, tokens, self.heads, width / self.heads]);
        let attended_bte = attention(&heads(&self.query), &heads(&self.key), &heads(&self.value), mask);
        let hidden_bte =
            self.attention_norm.forward(&self.out.map(&attended_bte, Some(hidden_bte), &mut Tape::Computed));
        self.mlp_norm.forward(&self.mlp.add_to(&hidden_bte, &hidden_bte, &mut Tape::Computed))
    }
}
