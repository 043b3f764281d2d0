//! Question tokenizer: token ids for a BERT text encoder, with its start and separator tokens.

use std::path::Path;

use super::special_tokens::{Detail, SpecialTokens};
use super::tokenizer::load_inner;
use crate::error::InputError;
use tokenizers::TruncationParams;

/// Maximum number of ids of a question, `[CLS]` and `[SEP]` included: BERT's number of positions, to which M3D-CLIP
/// truncates too.
pub const MAX_IDS: usize = 512;

/// A tokenizer for the text encoder of questions, such as BERT's WordPiece.
#[derive(Clone, Debug)]
pub struct QuestionTokenizer {
    inner: tokenizers::Tokenizer,
    special: SpecialTokens,
}

impl QuestionTokenizer {
    /// Loads a `tokenizer.json`, or the one in a folder. Padding is disabled and texts are truncated to [`MAX_IDS`],
    /// whatever the file states.
    ///
    /// # Errors
    /// [`InputError::TokenizerMissing`] where there is none, [`InputError::Tokenizer`] where it cannot be parsed.
    pub fn load(path: &Path) -> Result<QuestionTokenizer, InputError> {
        let mut inner = load_inner(path)?;
        let truncation = TruncationParams { max_length: MAX_IDS, ..TruncationParams::default() };
        inner.with_truncation(Some(truncation)).map_err(|error| InputError::Tokenizer {
            location: path.display().to_string(),
            expected: "a tokenizer that can be cut at 512 ids",
            found: error.to_string(),
        })?;
        let special = SpecialTokens::of(&inner, &path.display().to_string(), None)?;
        Ok(QuestionTokenizer { special, inner })
    }

    /// Ids of a question, with the special tokens that the tokenizer adds around a text; at most [`MAX_IDS`]. The words of
    /// special tokens in the question are plain text.
    ///
    /// # Errors
    /// [`InputError::Tokenizer`] where the tokenizer refuses the text.
    pub fn encode(&self, question: &str) -> Result<Vec<i32>, InputError> {
        let encoding = self.special.encode(&self.inner, question, &[], Detail::Around)?;
        Ok(encoding.get_ids().iter().map(|id| *id as i32).collect())
    }

    /// The largest id of a token; `None` for an empty vocabulary.
    pub fn largest_id(&self) -> Option<u32> {
        self.inner.get_vocab(true).into_values().max()
    }

    /// Whether a question holds the words of a special token, such as `[SEP]`.
    pub fn holds_special_words(&self, question: &str) -> bool {
        self.special.are_in(question)
    }

    /// The tokenizer as JSON text, which is equal for equal tokenizers.
    ///
    /// # Errors
    /// [`InputError::Tokenizer`] where the tokenizer cannot be serialized.
    pub fn identity(&self) -> Result<String, InputError> {
        self.inner.to_string(false).map_err(|error| InputError::Tokenizer {
            location: "question tokenizer".to_owned(),
            expected: "a tokenizer to write",
            found: error.to_string(),
        })
    }
}
