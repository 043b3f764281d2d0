//! Sizes of the language model.

use serde::{Deserialize, Serialize};

use crate::model::error::{ModelError, expect_multiple};

/// Phi-3's config.json, as far as it decides numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phi3Config {
    /// Token width.
    pub hidden_size: i64,
    /// Width inside a block's MLP.
    pub intermediate_size: i64,
    /// Blocks.
    pub num_hidden_layers: i64,
    /// Query heads.
    pub num_attention_heads: i64,
    /// Key and value heads.
    pub num_key_value_heads: i64,
    /// Rows of the embedding table.
    pub vocab_size: i64,
    /// Of every RMS norm.
    pub rms_norm_eps: f64,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Longest sequence.
    pub max_position_embeddings: usize,
    /// Keys that a query sees at most; sequences here must stay within it.
    pub sliding_window: Option<usize>,
    /// LongRoPE (the 128k model); plain rotary embedding where absent.
    pub rope_scaling: Option<RopeScaling>,
    /// Length up to which LongRoPE's short factors hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original_max_position_embeddings: Option<usize>,
}

/// LongRoPE's factors, one a frequency. Only the short ones act: sequences stay within the original length.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RopeScaling {
    /// `longrope`, or `su` in the first revision.
    #[serde(rename = "type")]
    pub kind: String,
    /// Factors up to the original length.
    pub short_factor: Vec<f64>,
    /// Factors past it.
    pub long_factor: Vec<f64>,
}

impl Phi3Config {
    /// `microsoft/Phi-3-mini-4k-instruct`: 3,821,079,552 parameters.
    pub fn mini_4k() -> Phi3Config {
        Phi3Config {
            hidden_size: 3072,
            intermediate_size: 8192,
            num_hidden_layers: 32,
            num_attention_heads: 32,
            num_key_value_heads: 32,
            vocab_size: 32064,
            rms_norm_eps: 1e-5,
            rope_theta: 10000.0,
            max_position_embeddings: 4096,
            sliding_window: Some(2047),
            rope_scaling: None,
            original_max_position_embeddings: Some(4096),
        }
    }

    /// Width of one head.
    pub fn head_width(&self) -> i64 {
        self.hidden_size / self.num_attention_heads
    }

    /// The longest sequence that this implementation computes as published: full causal attention, short rotary factors.
    pub fn longest_sequence(&self) -> usize {
        let original = self.rope_scaling.as_ref().and(self.original_max_position_embeddings);
        [Some(self.max_position_embeddings), self.sliding_window, original].into_iter().flatten().min().unwrap_or(0)
    }

    pub(super) fn check(&self) -> Result<(), ModelError> {
        expect_multiple("llm.hidden_size", self.hidden_size, 2 * self.num_attention_heads)?;
        expect_multiple("llm.num_attention_heads", self.num_attention_heads, self.num_key_value_heads)?;
        let Some(scaling) = &self.rope_scaling else {
            return Ok(());
        };
        let fail = |field, expected: String, found: String| Err(ModelError::Config { field, expected, found });
        if !matches!(scaling.kind.as_str(), "longrope" | "su") {
            return fail("llm.rope_scaling.type", "longrope or su".into(), scaling.kind.clone());
        }
        let frequencies = (self.head_width() / 2) as usize;
        if scaling.short_factor.len() != frequencies {
            let found = scaling.short_factor.len().to_string();
            return fail("llm.rope_scaling.short_factor", format!("{frequencies} factors"), found);
        }
        if self.original_max_position_embeddings.is_none() {
            return fail("llm.original_max_position_embeddings", "a length, as LongRoPE needs".into(), "none".into());
        }
        Ok(())
    }
}
