//! One block of the text encoder.

use tch::{Kind, Tensor};

use super::config::BertConfig;
use super::dropout::{Dropout, Place};
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

    /// Without dropout.
    pub(super) fn forward(&self, hidden_bte: &Tensor, mask: AttentionMask) -> Tensor {
        let (batch, tokens, width) = hidden_bte.size3().expect("hidden states have three axes");
        let heads = |linear: &Linear| linear.forward(hidden_bte).view([batch, tokens, self.heads, width / self.heads]);
        let attended_bte = attention(&heads(&self.query), &heads(&self.key), &heads(&self.value), mask);
        let hidden_bte =
            self.attention_norm.forward(&self.out.map(&attended_bte, Some(hidden_bte), &mut Tape::Computed));
        self.mlp_norm.forward(&self.mlp.add_to(&hidden_bte, &hidden_bte, &mut Tape::Computed))
    }

    /// The same with dropout at the block's three places; `mask_b11k` is true at keys that count.
    pub(super) fn forward_dropped(
        &self,
        hidden_bte: &Tensor,
        mask_b11k: Option<&Tensor>,
        dropout: &Dropout,
        places: [Place; 3],
    ) -> Tensor {
        let (batch, tokens, width) = hidden_bte.size3().expect("hidden states have three axes");
        let of_head = width / self.heads;
        let heads =
            |linear: &Linear| linear.forward(hidden_bte).view([batch, tokens, self.heads, of_head]).transpose(1, 2);
        // A fused attention drops by numbers of its own, so the probabilities are written out.
        let scaled = heads(&self.query) * (of_head as f64).powf(-0.5);
        let logits_batk = scaled.matmul(&heads(&self.key).transpose(2, 3));
        let logits_batk = match mask_b11k {
            Some(mask_b11k) => logits_batk.masked_fill(&mask_b11k.logical_not(), f64::NEG_INFINITY),
            None => logits_batk,
        };
        let probabilities_batk = logits_batk.softmax(-1, Kind::Float).to_kind(hidden_bte.kind());
        let attended_bate = dropout.of_attention(places[0], &probabilities_batk).matmul(&heads(&self.value));
        let attended_bte = self.out.forward(&attended_bate.transpose(1, 2).flatten(2, 3));
        let hidden_bte = hidden_bte + dropout.of_hidden(places[1], &attended_bte);
        let hidden_bte = self.attention_norm.forward(&hidden_bte);
        let expanded_bte = self.mlp.down.forward(&self.mlp.up.forward(&hidden_bte).gelu("none"));
        self.mlp_norm.forward(&(&hidden_bte + dropout.of_hidden(places[2], &expanded_bte)))
    }
}
