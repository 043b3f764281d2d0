//! Answers for a batch of prompts of different lengths: greedy, sampled, or by beam search.
//!
//! Prompts are padded on the right and every row goes on behind its own last token, so a row's positions, and with them
//! its answer, do not depend on the batch it is in.

mod beam;
mod rows;
mod sample;

use serde::{Deserialize, Serialize};
use tch::{Tensor, no_grad};

use crate::model::language_model::LanguageModel;
use crate::model::{Med2e3, ModelError, ModelInput};
use rows::Rows;
use sample::Sampler;

/// How the next token is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
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
        /// Of the draws. A row's draws depend on it and on the row's own prompt alone.
        seed: u64,
    },
    /// The best of several answers that grow side by side, as transformers' beam search with its defaults.
    Beam {
        /// Answers kept at each step.
        beams: usize,
        /// An answer's score is its log-probability over its length to this power.
        length_penalty: f64,
    },
}

impl Decoding {
    fn check(self) -> Result<(), ModelError> {
        let fail = |field, expected, found: String| Err(ModelError::config(field, expected, found));
        match self {
            Decoding::Greedy => Ok(()),
            Decoding::Sample { temperature, .. } if !(temperature > 0.0 && temperature.is_finite()) => {
                fail("decoding.sample.temperature", "above 0 (greedy needs none)", temperature.to_string())
            }
            Decoding::Sample { top_p, .. } if !(top_p > 0.0 && top_p <= 1.0) => {
                fail("decoding.sample.top_p", "above 0, at most 1", top_p.to_string())
            }
            Decoding::Beam { beams: 0, .. } => fail("decoding.beam.beams", "1 or more", "0".into()),
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

/// Answers and slice scores of one batch.
pub struct Generated {
    /// New ids of each row, without the stop id that ended it.
    pub ids: Vec<Vec<i64>>,
    /// f32, (V, N): the scores of every volume, see [`crate::model::Visual::scores_bn`].
    pub scores_bn: Tensor,
}

/// Answers every row of the batch. Labels of the input are not read.
///
/// # Errors
/// As [`Med2e3::forward`]; prompt and answer together are longer than the language model allows; a decoding whose numbers
/// are out of range.
pub fn generate(
    model: &Med2e3,
    input: &ModelInput,
    decoding: Decoding,
    until: &Until,
) -> Result<Generated, ModelError> {
    let (embeddings_bte, lengths, scores_bn) = model.prompt(input)?;
    let keys = sample::row_keys(input);
    let ids = continue_rows(model.llm(), &embeddings_bte, &lengths, &keys, decoding, until)?;
    Ok(Generated { ids, scores_bn })
}

/// [`generate`] behind embeddings (B, T, E) that are right-padded to the longest of `lengths`; `keys` tell rows apart
/// where tokens are drawn.
///
/// # Errors
/// As [`generate`].
pub fn continue_rows(
    llm: &LanguageModel,
    embeddings_bte: &Tensor,
    lengths: &[usize],
    keys: &[u64],
    decoding: Decoding,
    until: &Until,
) -> Result<Vec<Vec<i64>>, ModelError> {
    decoding.check()?;
    if lengths.is_empty() || until.max_new_tokens == 0 {
        return Ok(vec![Vec::new(); lengths.len()]);
    }
    no_grad(|| {
        let rows = Rows::start(llm, embeddings_bte, lengths, until.max_new_tokens)?;
        match decoding {
            Decoding::Greedy => token_by_token(rows, until, |logits_bv, _| logits_bv.argmax(-1, false)),
            Decoding::Sample { temperature, top_p, seed } => {
                let sampler = Sampler { temperature, top_p, seed, keys };
                token_by_token(rows, until, |logits_bv, step| sampler.draw(logits_bv, step))
            }
            Decoding::Beam { beams, length_penalty } => beam::search(rows, until, beams, length_penalty),
        }
    })
}

/// One token a row and step: `choose` gives the ids (B) for logits (B, V) and the number of the step.
fn token_by_token(
    mut rows: Rows,
    until: &Until,
    choose: impl Fn(&Tensor, usize) -> Tensor,
) -> Result<Vec<Vec<i64>>, ModelError> {
    let mut answers = vec![Vec::new(); rows.count()];
    let mut open = vec![true; rows.count()];
    for step in 0..until.max_new_tokens {
        let next_b = choose(&rows.logits(), step);
        let ids: Vec<i64> = Vec::try_from(&next_b).expect("a flat i64 tensor");
        for (row, id) in ids.into_iter().enumerate() {
            open[row] &= !until.stop_ids.contains(&id);
            if open[row] {
                answers[row].push(id);
            }
        }
        if step + 1 == until.max_new_tokens || !open.contains(&true) {
            break;
        }
        // Rows that have stopped run along; what they bring forth is never looked at.
        rows.push(&next_b)?;
    }
    Ok(answers)
}
