//! Answers for a batch of prompts of different lengths: greedy, sampled, or by beam search.
//!
//! Prompts are padded on the right and every row continues after its own last token, so a row's positions, and with them
//! its answer, do not depend on its batch.
//!
//! # Layout
//! - [`answerer`]: a checkpoint that is ready to answer, with its tokenizers
//! - `decoding`: how tokens are chosen; `sample`, `beam`: two of the ways
//! - `rows`: the growing rows; `judged`: an answer with its metrics; `letters`: the choice that a model finds the most likely

pub mod answerer;
mod beam;
mod decoding;
pub(crate) mod judged;
pub(crate) mod letters;
mod rows;
mod sample;

use tch::{Tensor, no_grad};

use crate::model::language_model::LanguageModel;
use crate::model::{Med2e3, ModelError, ModelInput};
use rows::Rows;
use sample::Sampler;

pub use decoding::{Decoding, Until};

/// Answers and slice scores of one batch.
pub struct Generated {
    /// New ids of each row, without the stop id that ended it.
    pub ids: Vec<Vec<i64>>,
    /// f32, (M, N): the scores of every volume that the texts show, see [`crate::model::VisualFeatures::scores_mn`].
    pub scores_mn: Tensor,
    /// f32, (B, V): the logits of each row's first new token; None without a row, or where no token is asked for.
    pub first_bv: Option<Tensor>,
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
    generate_aloud(model, input, decoding, until, &mut |_| true)
}

/// What is known before an answer is whole.
pub enum Step<'a> {
    /// f32, (M, N): the scores, before the first token.
    Scores(&'a Tensor),
    /// The new ids of each row so far, after each token; of a beam search once, at its end.
    Rows(&'a [Vec<i64>]),
}

/// As [`generate`]; `hear` is told each step, and ends the generation where it returns false.
///
/// # Errors
/// As [`generate`].
pub fn generate_aloud(
    model: &Med2e3,
    input: &ModelInput,
    decoding: Decoding,
    until: &Until,
    hear: &mut dyn FnMut(Step<'_>) -> bool,
) -> Result<Generated, ModelError> {
    let (embeddings_bte, lengths, scores_mn) = model.prompt(input)?;
    if !hear(Step::Scores(&scores_mn)) {
        return Ok(Generated { ids: vec![Vec::new(); lengths.len()], scores_mn, first_bv: None });
    }
    let keys = sample::row_keys(input);
    let heard = &mut |rows: &[Vec<i64>]| hear(Step::Rows(rows));
    let (ids, first_bv) = continued(model.llm(), &embeddings_bte, &lengths, &keys, decoding, until, heard)?;
    Ok(Generated { ids, scores_mn, first_bv })
}

/// [`generate`] after embeddings (B, T, E) that are right-padded to the longest of `lengths`; `keys`, one a row, distinguish
/// rows where tokens are drawn.
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
    Ok(continued(llm, embeddings_bte, lengths, keys, decoding, until, &mut |_| true)?.0)
}

/// As [`continue_rows`], with the logits (B, V) of the first new tokens; `hear` is told the rows so far.
fn continued(
    llm: &LanguageModel,
    embeddings_bte: &Tensor,
    lengths: &[usize],
    keys: &[u64],
    decoding: Decoding,
    until: &Until,
    hear: &mut dyn FnMut(&[Vec<i64>]) -> bool,
) -> Result<(Vec<Vec<i64>>, Option<Tensor>), ModelError> {
    decoding.check()?;
    if lengths.is_empty() || until.max_new_tokens == 0 {
        return Ok((vec![Vec::new(); lengths.len()], None));
    }
    no_grad(|| {
        let rows = Rows::start(llm, embeddings_bte, lengths, until.max_new_tokens)?;
        let first_bv = rows.logits();
        let ids = match decoding {
            Decoding::Greedy => {
                token_by_token(rows, &first_bv, until, |logits_bv, _| logits_bv.argmax(-1, false), hear)
            }
            Decoding::Sample { temperature, top_p, seed } => {
                let sampler = Sampler { temperature, top_p, seed, keys };
                token_by_token(rows, &first_bv, until, |logits_bv, step| sampler.draw(logits_bv, step), hear)
            }
            Decoding::Beam { beams, length_penalty } => {
                let ids = beam::search(rows, until, beams, length_penalty)?;
                hear(&ids);
                Ok(ids)
            }
        }?;
        Ok((ids, Some(first_bv)))
    })
}

/// One token a row and step, from the logits (B, V) of the first one on: `choose` returns the ids (B) for logits (B, V) and the number of the step.
fn token_by_token(
    mut rows: Rows,
    first_bv: &Tensor,
    until: &Until,
    choose: impl Fn(&Tensor, usize) -> Tensor,
    hear: &mut dyn FnMut(&[Vec<i64>]) -> bool,
) -> Result<Vec<Vec<i64>>, ModelError> {
    let mut answers = vec![Vec::new(); rows.count()];
    let mut open = vec![true; rows.count()];
    for step in 0..until.max_new_tokens {
        let next_b = if step == 0 { choose(first_bv, step) } else { choose(&rows.logits(), step) };
        let ids: Vec<i64> = Vec::try_from(&next_b).expect("a flat i64 tensor");
        for (row, id) in ids.into_iter().enumerate() {
            open[row] &= !until.stop_ids.contains(&id);
            if open[row] {
                answers[row].push(id);
            }
        }
        if !hear(&answers) || step + 1 == until.max_new_tokens || !open.contains(&true) {
            break;
        }
        // Rows that have ended are computed too; their tokens are not used.
        rows.push(&next_b)?;
    }
    Ok(answers)
}
