//! Greedy generation for a batch of prompts of different lengths.
//!
//! Prompts are padded on the right and every row goes on behind its own last token, so a row's positions, and with them
//! its answer, do not depend on the batch it is in.

use tch::{Kind, Tensor, no_grad};

use crate::model::language_model::{KvCache, Phi3};
use crate::model::{Med2e3, ModelError, ModelInput};

/// Answers and slice scores of one batch.
pub struct Generated {
    /// New ids of each row, without the stop id that ended it.
    pub ids: Vec<Vec<i64>>,
    /// f32, (V, N): the scores of every volume, see [`crate::model::Visual::scores_bn`].
    pub scores_bn: Tensor,
}

/// The most likely next token again and again, until a stop id or `max_new_tokens`. Labels of the input are not read.
///
/// # Errors
/// As [`Med2e3::forward`]; prompt and answer together are longer than the language model allows.
pub fn greedy(
    model: &Med2e3,
    input: &ModelInput,
    max_new_tokens: usize,
    stop_ids: &[i64],
) -> Result<Generated, ModelError> {
    let (embeddings_bte, lengths, scores_bn) = model.prompt(input)?;
    let ids = greedy_after(model.llm(), &embeddings_bte, &lengths, max_new_tokens, stop_ids)?;
    Ok(Generated { ids, scores_bn })
}

/// [`greedy`] behind embeddings (B, T, E) that are right-padded to the longest of `lengths`.
///
/// # Errors
/// Prompt and answer together are longer than the language model allows.
pub fn greedy_after(
    llm: &Phi3,
    embeddings_bte: &Tensor,
    lengths: &[usize],
    max_new_tokens: usize,
    stop_ids: &[i64],
) -> Result<Vec<Vec<i64>>, ModelError> {
    let longest = lengths.iter().max().copied().unwrap_or(0) + max_new_tokens;
    let expected = llm.config().longest_sequence();
    if longest > expected {
        return Err(ModelError::TooLong { what: "prompt and answer", expected, found: longest });
    }
    no_grad(|| {
        let (batch, device) = (lengths.len() as i64, embeddings_bte.device());
        let mut cache = KvCache::new(llm.config(), batch, longest as i64, embeddings_bte.kind(), device);
        let hidden_bte = llm.prefill(embeddings_bte, &mut cache)?;
        let last_b: Vec<i64> = lengths.iter().map(|length| *length as i64 - 1).collect();
        let rows_b = Tensor::arange(batch, (Kind::Int64, device));
        let last_b = Tensor::from_slice(&last_b).to_device(device);
        let mut hidden_be = hidden_bte.index(&[Some(&rows_b), Some(&last_b)]);

        let mut places_b: Vec<i64> = lengths.iter().map(|length| *length as i64).collect();
        let mut answers = vec![Vec::new(); lengths.len()];
        let mut open = vec![true; lengths.len()];
        for new in 1..=max_new_tokens {
            let next_b = llm.logits(&hidden_be).argmax(-1, false);
            let ids: Vec<i64> = Vec::try_from(&next_b).expect("a flat i64 tensor");
            for (row, id) in ids.into_iter().enumerate() {
                open[row] &= !stop_ids.contains(&id);
                if open[row] {
                    answers[row].push(id);
                }
            }
            if new == max_new_tokens || !open.contains(&true) {
                break;
            }
            // Rows that have stopped run along; what they bring forth is never looked at.
            let hidden_b1e = llm.step(&llm.embed(&next_b.unsqueeze(1)), &places_b, &mut cache)?;
            hidden_be = hidden_b1e.squeeze_dim(1);
            places_b.iter_mut().for_each(|place| *place += 1);
        }
        Ok(answers)
    })
}
