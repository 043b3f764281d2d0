//! The towers of a model, as far as their sizes decide costs.

use crate::model::language_model::Family;
use crate::model::{BertConfig, Med2e3Config};

/// A row of equal transformer blocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tower {
    pub(super) blocks: i64,
    pub(super) block: Block,
}

/// One block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    /// Of a token.
    pub(super) width: f64,
    /// Of all query heads together.
    pub(super) queries: f64,
    /// Of all key heads together; values have the same.
    pub(super) keys: f64,
    pub(super) heads: f64,
    /// Inside the MLP.
    pub(super) inner: f64,
    /// Whether the MLP has a gate beside what it weighs, as decoders have.
    pub(super) is_gated: bool,
    /// Numbers a norm keeps of a token beside its input.
    pub(super) norm_numbers: f64,
    /// Biases of maps, and weights of norms.
    pub(super) small_weights: f64,
}

impl Block {
    /// Weights of the maps: one multiplication and addition each a token.
    pub(super) fn matrix_weights(&self) -> f64 {
        let attention = self.width * (self.queries + 2.0 * self.keys) + self.queries * self.width;
        attention + self.width * self.inner * if self.is_gated { 3.0 } else { 2.0 }
    }

    /// All weights.
    pub(super) fn weights(&self) -> f64 {
        self.matrix_weights() + self.small_weights
    }
}

pub(super) fn llm(config: &Med2e3Config) -> Tower {
    let llm = &config.llm;
    let head = llm.head_width() as f64;
    let (queries, keys) = (llm.num_attention_heads as f64 * head, llm.num_key_value_heads as f64 * head);
    let width = llm.hidden_size as f64;
    let biases = if llm.model_type == Family::Qwen2 { queries + 2.0 * keys } else { 0.0 };
    Tower {
        blocks: llm.num_hidden_layers,
        block: Block {
            width,
            queries,
            keys,
            heads: llm.num_attention_heads as f64,
            inner: llm.intermediate_size as f64,
            is_gated: true,
            norm_numbers: 1.0,
            small_weights: 2.0 * width + biases,
        },
    }
}

/// A block of an encoder; `map_biases` of queries, keys and values together.
fn encoder(blocks: i64, width: i64, heads: i64, inner: i64, map_biases: i64) -> Tower {
    let small_weights = 4 * width + map_biases + width + inner + width;
    let (width, inner) = (width as f64, inner as f64);
    Tower {
        blocks,
        block: Block {
            width,
            queries: width,
            keys: width,
            heads: heads as f64,
            inner,
            is_gated: false,
            norm_numbers: 2.0,
            small_weights: small_weights as f64,
        },
    }
}

pub(super) fn vision2d(config: &Med2e3Config) -> Tower {
    let own = &config.vision2d;
    encoder(own.num_hidden_layers, own.hidden_size, own.num_attention_heads, own.intermediate_size, 3 * own.hidden_size)
}

pub(super) fn vision3d(config: &Med2e3Config) -> Tower {
    let own = &config.vision3d;
    encoder(own.num_layers, own.hidden_size, own.num_heads, own.mlp_dim, 0)
}

pub(super) fn text(config: &BertConfig) -> Tower {
    encoder(
        config.num_hidden_layers,
        config.hidden_size,
        config.num_attention_heads,
        config.intermediate_size,
        3 * config.hidden_size,
    )
}

/// Tokens of one volume that go through the 2D encoder.
pub(super) fn tokens2d(config: &Med2e3Config) -> f64 {
    (config.slice_count() * config.vision2d.token_count()) as f64
}

/// Tokens of one volume that go through the 3D encoder, the class token included.
pub(super) fn tokens3d(config: &Med2e3Config) -> f64 {
    (config.vision3d.token_count() + 1) as f64
}
