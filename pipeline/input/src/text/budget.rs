//! Length budget: how many positions a text may take, and what is cut where it takes more.

use serde::{Deserialize, Serialize};

use super::draft::EncodedText;
use super::template::IMAGE3D;
use crate::error::InputError;

/// How long a text may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LengthBudget {
    /// Most positions, images included (768 in the paper).
    pub total: usize,
    /// Positions that one image takes (512 for 256 tokens of 3D and 2D features each).
    pub visual_tokens: usize,
    /// Where an answer is cut, its last token becomes the end token. Off in the released code, which loses the end of
    /// long answers.
    pub keep_end: bool,
}

impl LengthBudget {
    fn positions(&self, id: i32) -> usize {
        if id == IMAGE3D { self.visual_tokens } else { 1 }
    }

    fn positions_of(&self, ids: &[i32]) -> usize {
        ids.iter().map(|id| self.positions(*id)).sum()
    }

    /// How many ids from the start fit; an image fits whole or not at all.
    fn fitting(&self, ids: &[i32]) -> usize {
        let mut positions = 0;
        let beyond = ids.iter().position(|id| {
            positions += self.positions(*id);
            positions > self.total
        });
        beyond.unwrap_or(ids.len())
    }
}

/// A prompt as it is, or an error where it does not fit: cut, it would no longer ask.
pub(super) fn fit_prompt(encoded: EncodedText, budget: &LengthBudget) -> Result<EncodedText, InputError> {
    let found = budget.positions_of(&encoded.ids);
    if found > budget.total {
        return Err(InputError::PromptTooLong { expected: budget.total, found });
    }
    // Earlier turns are context here.
    Ok(EncodedText { target_spans: Vec::new(), ..encoded })
}

/// A text to learn from, cut at the end where it does not fit.
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
        // An end token alone would teach that the answer is empty.
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
