//! Sizes of the text encoder.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::error::{ModelError, expect_multiple};
use crate::model::limits::{BLOCKS, ROWS, WIDTH};
use crate::words::words;

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
    /// Row of the position table that a text's first token has: 0 in BERT, 2 in RoBERTa, whose padding has row 1. No
    /// configuration states it: the text encoder of M3D-CLIP is a BERT.
    #[serde(skip)]
    pub first_position: i64,
}

words! {
    /// A published architecture of text encoders, by its `model_type`.
    pub enum TextArchitecture {
        /// Positions from row 0 on.
        Bert = "bert",
        /// Positions behind the padding's, texts that begin with a space.
        Roberta = "roberta",
    }
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
            first_position: 0,
        }
    }

    /// The architecture and the sizes that a `config.json` of transformers states.
    ///
    /// # Errors
    /// Another architecture, a size that is missing or no whole number, an activation or positions that are not computed here; each
    /// names its key.
    pub fn of_transformers(config: &Value) -> Result<(TextArchitecture, BertConfig), ModelError> {
        let word = |key: &str, or: &str| {
            config.get(key).map_or(or.to_owned(), |v| v.as_str().map_or(v.to_string(), str::to_owned))
        };
        let architecture = word("model_type", "none").parse::<TextArchitecture>();
        let architecture =
            architecture.map_err(|e| ModelError::config("model_type", e.expected.join(" or "), e.found))?;
        for (key, computed) in [("hidden_act", "gelu"), ("position_embedding_type", "absolute")] {
            let found = word(key, computed);
            if found != computed {
                return Err(ModelError::config(key, computed, found));
            }
        }
        let size = |key: &str| {
            let stated = config.get(key);
            let found = || stated.map_or("none".to_owned(), Value::to_string);
            stated.and_then(Value::as_i64).ok_or_else(|| ModelError::config(key, "a whole number", found()))
        };
        let eps = config.get("layer_norm_eps").unwrap_or(&Value::Null);
        let first_position = match architecture {
            TextArchitecture::Bert => 0,
            TextArchitecture::Roberta if config.get("pad_token_id").is_none() => 2,
            // A number that can't be one more is out of its range too.
            TextArchitecture::Roberta => size("pad_token_id")?.saturating_add(1),
        };
        let sizes = BertConfig {
            vocab_size: size("vocab_size")?,
            hidden_size: size("hidden_size")?,
            num_hidden_layers: size("num_hidden_layers")?,
            num_attention_heads: size("num_attention_heads")?,
            intermediate_size: size("intermediate_size")?,
            max_position_embeddings: size("max_position_embeddings")?,
            type_vocab_size: size("type_vocab_size")?,
            layer_norm_eps: eps.as_f64().ok_or_else(|| ModelError::config("layer_norm_eps", "a number", eps))?,
            first_position,
        };
        Ok((architecture, sizes))
    }

    /// Tokens of a text at most.
    pub fn most_tokens(&self) -> i64 {
        self.max_position_embeddings - self.first_position
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
        if !(0..self.max_position_embeddings).contains(&self.first_position) {
            let expected = format!("0 to below {}, max_position_embeddings", self.max_position_embeddings);
            return Err(ModelError::config("text.first_position", expected, self.first_position));
        }
        expect_multiple("text.hidden_size", self.hidden_size, self.num_attention_heads)
    }
}
