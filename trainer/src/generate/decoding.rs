//! How an answer's tokens are chosen, and when it ends.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::ModelError;

/// How the next token is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Decoding {
    /// The most likely one, as the paper's evaluation does.
    #[default]
    Greedy,
    /// Drawn from the most likely ones (M3D's quick start).
    Sample {
        /// Divides the logits; small values come close to greedy.
        temperature: f64,
        /// Only the fewest tokens that hold this share of the probability are drawn from; 1 draws from all.
        top_p: f64,
        /// Seed of the draws, which depend on it and on the row's own prompt alone.
        seed: u64,
    },
    /// The best of several answers that grow in parallel, as transformers' beam search with its defaults.
    Beam {
        /// Answers kept at each step.
        beams: usize,
        /// An answer's score is its log-probability over its length to this power.
        length_penalty: f64,
    },
}

/// Answers side by side at most.
const MOST_BEAMS: usize = 1000;

impl Decoding {
    /// # Errors
    /// A number out of range.
    pub(crate) fn check(self) -> Result<(), ModelError> {
        let fail = |field, expected, found: String| Err(ModelError::config(field, expected, found));
        match self {
            Decoding::Greedy => Ok(()),
            Decoding::Sample { temperature, .. } if !(temperature > 0.0 && temperature.is_finite()) => {
                fail("decoding.sample.temperature", "above 0 (greedy needs none)", temperature.to_string())
            }
            Decoding::Sample { top_p, .. } if !(top_p > 0.0 && top_p <= 1.0) => {
                fail("decoding.sample.top_p", "above 0, at most 1", top_p.to_string())
            }
            Decoding::Beam { beams, .. } if !(1..=MOST_BEAMS).contains(&beams) => {
                fail("decoding.beam.beams", "1 to 1000", beams.to_string())
            }
            Decoding::Beam { length_penalty, .. } if !length_penalty.is_finite() => {
                fail("decoding.beam.length_penalty", "a number", length_penalty.to_string())
            }
            Decoding::Sample { .. } | Decoding::Beam { .. } => Ok(()),
        }
    }
}

/// When an answer ends.
#[derive(Clone, Debug)]
pub struct Until {
    /// Tokens of an answer at most.
    pub max_new_tokens: usize,
    /// Ids that end an answer; they are not part of it.
    pub stop_ids: Vec<i64>,
}
