//! Length budget: the maximum number of positions of a conversation, and truncation to it.

use serde::{Deserialize, Serialize};

use super::conversation::EncodedText;
use super::marks::IMAGE3D;
use crate::error::InputError;

/// The maximum length of a conversation, images included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LengthBudget {
    /// Maximum number of positions, images included (768 in the paper).
    pub total: usize,
    /// Positions of each image (512 for 256 tokens each of 3D and 2D features).
    pub visual_tokens: usize,
    /// Whether the last token of a truncated answer is replaced by the end token. False in the released code, whose
    /// truncated answers have no end token.
    pub keep_end: bool,
}

impl LengthBudget {
    fn positions(&self, id: i32) -> usize {
        if id == IMAGE3D { self.visual_tokens } else { 1 }
    }

    fn positions_of(&self, ids: &[i32]) -> usize {
        ids.iter().map(|id| self.positions(*id)).sum()
    }

    /// Number of leading ids that fit; an image fits whole or not at all.
    fn fitting(&self, ids: &[i32]) -> usize {
        let mut positions = 0;
        let beyond = ids.iter().position(|id| {
            positions += self.positions(*id);
            positions > self.total
        });
        beyond.unwrap_or(ids.len())
    }
}

/// A prompt, which is never truncated, since it would then no longer ask for an answer.
///
/// # Errors
/// [`InputError::PromptTooLong`] where it does not fit.
pub(super) fn fit_prompt(encoded: EncodedText, budget: &LengthBudget) -> Result<EncodedText, InputError> {
    let found = budget.positions_of(&encoded.ids);
    if found > budget.total {
        return Err(InputError::PromptTooLong { expected: budget.total, found });
    }
    // Answers of earlier turns are context, not targets.
    Ok(EncodedText { target_spans: Vec::new(), ..encoded })
}

/// A training conversation, truncated at the end where it does not fit.
///
/// # Errors
/// [`InputError::NoTarget`] where no target is left.
pub(super) fn fit_targets(
    mut encoded: EncodedText,
    budget: &LengthBudget,
    end: Option<i32>,
) -> Result<EncodedText, InputError> {
    let before_target = |encoded: &EncodedText| {
        let first = encoded.target_spans.first().map_or(encoded.ids.len(), |span| span.0 as usize);
        budget.positions_of(&encoded.ids[..first])
    };
    let prompt = before_target(&encoded);
    let fitting = budget.fitting(&encoded.ids);
    if fitting < encoded.ids.len() {
        encoded.truncated = true;
        encoded.ids_cut = encoded.ids.len() - fitting;
        encoded.ids.truncate(fitting);
        encoded.images = encoded.ids.iter().filter(|id| **id == IMAGE3D).count();
        let stop = fitting as u32;
        let end = end.filter(|_| budget.keep_end);
        // A target of the end token alone would train empty answers.
        let least = if end.is_some() { 2 } else { 1 };
        encoded.target_spans.retain(|span| span.1 <= stop || span.0 + least <= stop);
        let cut = encoded.target_spans.last_mut().filter(|span| span.1 > stop);
        if let Some(span) = cut {
            span.1 = stop;
            if let (Some(end), Some(last)) = (end, encoded.ids.last_mut()) {
                *last = end;
            }
        }
    }
    if encoded.target_spans.is_empty() {
        return Err(InputError::NoTarget { expected: budget.total, found: prompt });
    }
    Ok(encoded)
}
