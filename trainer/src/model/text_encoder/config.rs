//! Sizes of the text encoder.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::error::{ModelError, expect_multiple};
use crate::model::limits::{BLOCKS, ROWS, WIDTH};

/// BERT's config.json, as far as it decides numbers, as transformers' BertConfig names it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BertConfig {
    /// Rows of the embedding table.
    #[schemars(range(min = 1, max = ROWS))]
    pub vocab_size: i64,
    /// Token width.
    #[schemars(range(min = 1, max = WIDTH))]
    pub hidden_size: i64,
    /// Blocks.
    #[schemars(range(min = 0, max = BLOCKS))]
    pub num_hidden_layers: i64,
    /// Attention heads.
    #[schemars(range(min = 1, max = WIDTH))]
    pub num_attention_heads: i64,
    /// Width inside a block's MLP.
    #[schemars(range(min = 1, max = WIDTH))]
    pub intermediate_size: i64,
    /// Longest sequence.
    #[schemars(range(min = 1, max = ROWS))]
    pub max_position_embeddings: i64,
    /// Rows of the token type table; only the first one acts here.
    #[schemars(range(min = 1, max = ROWS))]
    pub type_vocab_size: i64,
    /// Of every layer norm.
    pub layer_norm_eps: f64,
}

impl BertConfig {
    /// `bert-base-uncased`, M3D-CLIP's text half: 109,482,240 parameters.
    pub fn base_uncased() -> BertConfig {
        BertConfig {
            vocab_size: 30522,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            max_position_embeddings: 512,
            type_vocab_size: 2,
            layer_norm_eps: 1e-12,
        }
    }

    pub(super) fn check(&self) -> Result<(), ModelError> {
        for (field, size) in [
            ("text.vocab_size", self.vocab_size),
            ("text.intermediate_size", self.intermediate_size),
            ("text.max_position_embeddings", self.max_position_embeddings),
            ("text.type_vocab_size", self.type_vocab_size),
        ] {
            expect_multiple(field, size, 1)?;
        }
        expect_multiple("text.hidden_size", self.hidden_size, self.num_attention_heads)
    }
}
