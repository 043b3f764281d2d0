//! Sizes of the language model.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::error::{ModelError, expect_multiple};
use crate::model::limits::{BLOCKS, POSITIONS, ROWS, WIDTH};

/// The fields of a decoder's config.json that decide numbers, under transformers' names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LanguageModelConfig {
    /// Which family's layout the weights have; Phi-3, the paper's, where absent.
    #[serde(default)]
    pub model_type: Family,
    /// Token width.
    #[schemars(range(min = 1, max = WIDTH))]
    pub hidden_size: i64,
    /// Width inside a block's MLP.
    #[schemars(range(min = 1, max = WIDTH))]
    pub intermediate_size: i64,
    /// Blocks.
    #[schemars(range(min = 0, max = BLOCKS))]
    pub num_hidden_layers: i64,
    /// Query heads.
    #[schemars(range(min = 1, max = WIDTH))]
    pub num_attention_heads: i64,
    /// Key and value heads.
    #[schemars(range(min = 1, max = WIDTH))]
    pub num_key_value_heads: i64,
    /// Width of one head, where it is not the token width divided by the heads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2, max = WIDTH))]
    pub head_dim: Option<i64>,
    /// Rows of the embedding table. Where fresh weights are drawn they may be left out: as many as the dataset's tokenizer has
    /// ids.
    #[serde(default, skip_serializing_if = "is_left_out")]
    #[schemars(range(min = 1, max = ROWS))]
    pub vocab_size: i64,
    /// Of every RMS norm.
    pub rms_norm_eps: f64,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Longest sequence.
    #[schemars(range(min = 1, max = POSITIONS))]
    pub max_position_embeddings: usize,
    /// Keys that a query attends to at most, its own included; all before it where absent.
    #[schemars(range(min = 1, max = POSITIONS))]
    pub sliding_window: Option<usize>,
    /// Layers, from 0, that attend to all before them although there is a window (Qwen2).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub full_attention_layers: Vec<i64>,
    /// Stretched rotary positions; plain ones where absent.
    pub rope_scaling: Option<RopeScaling>,
    /// Longest sequence before positions were stretched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = POSITIONS))]
    pub original_max_position_embeddings: Option<usize>,
    /// One table for input and output embeddings.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tie_word_embeddings: bool,
    /// Ids with a meaning; they decide no number.
    #[serde(default, skip_serializing_if = "SpecialIds::is_empty")]
    pub special_ids: SpecialIds,
}

fn is_left_out(rows: &i64) -> bool {
    *rows == 0
}

/// Ids with a meaning of their own, carried from config.json to config.json.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpecialIds {
    /// Begins a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begin: Option<i64>,
    /// Each ends an answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub end: Vec<i64>,
    /// Fills short rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pad: Option<i64>,
}

impl SpecialIds {
    fn is_empty(&self) -> bool {
        *self == SpecialIds::default()
    }

    /// Every id that is named.
    pub(crate) fn all(&self) -> impl Iterator<Item = i64> {
        self.begin.into_iter().chain(self.end.iter().copied()).chain(self.pad)
    }
}

/// A family of decoders. They compute the same; what differs is how the projections are stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// One matrix for queries, keys and values, one for gate and up.
    #[default]
    Phi3,
    /// A matrix each.
    Llama,
    /// As Llama, with a window.
    Mistral,
    /// A matrix each, those of queries, keys and values with a bias.
    Qwen2,
}

/// How rotary frequencies are stretched for sequences past the original length.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "rope_type", rename_all = "snake_case", deny_unknown_fields)]
pub enum RopeScaling {
    /// Each frequency is divided by a factor of its own (Phi-3 128k).
    Longrope {
        /// Factors for sequences up to the original length.
        short_factor: Vec<f64>,
        /// Factors for longer ones.
        long_factor: Vec<f64>,
        /// On cosine and sine, at every length; from the ratio of the two lengths where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attention_factor: Option<f64>,
    },
    /// Low frequencies are divided by a factor, high ones kept, those between blended (Llama 3.1).
    Llama3 {
        /// Divides low frequencies.
        factor: f64,
        /// Original length over wavelength, below which a frequency is low.
        low_freq_factor: f64,
        /// The same ratio, above which it is high.
        high_freq_factor: f64,
    },
}

impl LanguageModelConfig {
    /// `microsoft/Phi-3-mini-4k-instruct`: 3,821,079,552 parameters.
    pub fn phi3_mini_4k() -> LanguageModelConfig {
        LanguageModelConfig {
            model_type: Family::Phi3,
            hidden_size: 3072,
            intermediate_size: 8192,
            num_hidden_layers: 32,
            num_attention_heads: 32,
            num_key_value_heads: 32,
            head_dim: None,
            vocab_size: 32064,
            rms_norm_eps: 1e-5,
            rope_theta: 10000.0,
            max_position_embeddings: 4096,
            sliding_window: Some(2047),
            full_attention_layers: Vec::new(),
            rope_scaling: None,
            original_max_position_embeddings: Some(4096),
            tie_word_embeddings: false,
            special_ids: SpecialIds { begin: Some(1), end: vec![32000], pad: Some(32000) },
        }
    }

    /// Width of one head.
    pub fn head_width(&self) -> i64 {
        self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads.max(1))
    }

    /// The keys that a query of one layer attends to at most; all before it where there is none.
    pub fn window_of(&self, layer: i64) -> Option<usize> {
        self.sliding_window.filter(|_| !self.full_attention_layers.contains(&layer))
    }

    /// The length past which LongRoPE's long factors hold.
    pub(super) fn rope_switch(&self) -> Option<usize> {
        match self.rope_scaling {
            Some(RopeScaling::Longrope { .. }) => self.original_max_position_embeddings,
            _ => None,
        }
    }

    pub(super) fn check(&self) -> Result<(), ModelError> {
        let fail = |field: &str, expected: &str, found: String| Err(ModelError::config(field, expected, found));
        if self.head_dim.is_none() {
            expect_multiple("llm.hidden_size", self.hidden_size, 2 * self.num_attention_heads)?;
        }
        expect_multiple("llm.head_dim", self.head_width(), 2)?;
        expect_multiple("llm.num_attention_heads", self.num_attention_heads, self.num_key_value_heads)?;
        let sizes = [self.hidden_size, self.intermediate_size, self.vocab_size, self.num_hidden_layers + 1];
        if sizes.iter().any(|size| *size < 1) {
            return fail("llm", "sizes above 0", format!("{sizes:?}"));
        }
        if self.sliding_window == Some(0) {
            return fail("llm.sliding_window", "1 or more", "0".into());
        }
        if let Some(layer) =
            self.full_attention_layers.iter().find(|layer| !(0..self.num_hidden_layers).contains(*layer))
        {
            let expected = format!("layers from 0 to below {}", self.num_hidden_layers);
            return fail("llm.full_attention_layers", &expected, layer.to_string());
        }
        let has_layers = !self.full_attention_layers.is_empty();
        if has_layers && (self.model_type != Family::Qwen2 || self.sliding_window.is_none()) {
            return fail("llm.full_attention_layers", "none but for a qwen2 with a sliding_window", "some".into());
        }
        let Some(scaling) = &self.rope_scaling else {
            return Ok(());
        };
        if self.original_max_position_embeddings.is_none_or(|original| original < 2) {
            return fail(
                "llm.original_max_position_embeddings",
                "the length that positions are stretched from",
                format!("{:?}", self.original_max_position_embeddings),
            );
        }
        let frequencies = (self.head_width() / 2) as usize;
        match scaling {
            RopeScaling::Longrope { short_factor, long_factor, .. } => {
                let found = [short_factor.len(), long_factor.len()];
                if found != [frequencies; 2] {
                    return fail(
                        "llm.rope_scaling",
                        &format!("{frequencies} factors of each kind"),
                        format!("{found:?}"),
                    );
                }
                if !short_factor.iter().chain(long_factor).all(|factor| *factor > 0.0) {
                    return fail("llm.rope_scaling", "factors above 0", "one that is not".into());
                }
            }
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor } => {
                if !(*factor > 0.0 && *low_freq_factor > 0.0 && high_freq_factor > low_freq_factor) {
                    let found = format!("{factor}, {low_freq_factor}, {high_freq_factor}");
                    return fail("llm.rope_scaling", "factors above 0, high above low", found);
                }
            }
        }
        Ok(())
    }
}
