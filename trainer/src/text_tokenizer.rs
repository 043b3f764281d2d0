//! Whole reports as the ids of a text encoder of BERT's kind, cut to its number of positions.

use std::path::Path;

use med2e3_input::text::{QuestionTokenizer, Tokenizer};
use tch::Tensor;

use crate::TrainerError;

/// A tokenizer of BERT's kind that reports which texts it cut.
pub(crate) struct TextTokenizer {
    tokenizer: Tokenizer,
    start: i64,
    end: i64,
    max_tokens: usize,
}

impl TextTokenizer {
    /// Loads a `tokenizer.json`, or the one in a folder. `max_tokens` counts the start and the end token.
    pub(crate) fn load(path: &Path, max_tokens: usize) -> Result<TextTokenizer, TrainerError> {
        let around = QuestionTokenizer::load(path)?.encode("")?;
        let [start, end] = around[..] else {
            return Err(TrainerError::File {
                path: path.to_owned(),
                expected: "a tokenizer that puts one token before a text and one after it, as BERT's does".into(),
                found: format!("{} around an empty text", around.len()),
            });
        };
        if max_tokens < 3 {
            return Err(TrainerError::Config {
                key: "max_text_tokens".into(),
                expected: "3 or more".into(),
                found: max_tokens.to_string(),
            });
        }
        Ok(TextTokenizer { tokenizer: Tokenizer::load(path)?, start: start.into(), end: end.into(), max_tokens })
    }

    /// Tokens of a text at most, the start and the end one included.
    pub(crate) fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// Tokens of a whole text, the start and the end one included.
    pub(crate) fn count(&self, text: &str) -> Result<usize, TrainerError> {
        Ok(self.tokenizer.encode(text)?.len() + 2)
    }

    /// Number of tokens, added ones included.
    pub(crate) fn vocab_size(&self) -> usize {
        self.tokenizer.vocab_size()
    }

    /// A text's ids, and whether it was cut; a long text loses its end, but not its end token.
    pub(crate) fn encode(&self, text: &str) -> Result<(Vec<i64>, bool), TrainerError> {
        let ids = self.tokenizer.encode(text)?;
        let kept = ids.len().min(self.max_tokens - 2);
        let inner = ids[..kept].iter().map(|&id| i64::from(id));
        Ok(([self.start].into_iter().chain(inner).chain([self.end]).collect(), kept < ids.len()))
    }
}

/// Ids, i64, and mask, bool, of a batch of texts, both (B, T), padded to the right.
pub(crate) fn padded(rows: &[Vec<i64>]) -> (Tensor, Tensor) {
    let width = rows.iter().map(Vec::len).max().unwrap_or(0);
    let matrix = |of: &dyn Fn(&[i64], usize) -> i64| {
        let cells: Vec<i64> = rows.iter().flat_map(|row| (0..width).map(|position| of(row, position))).collect();
        Tensor::from_slice(&cells).view([rows.len() as i64, width as i64])
    };
    // Padding is masked; 0 is an id of every vocabulary.
    let ids_bt = matrix(&|row, position| row.get(position).copied().unwrap_or(0));
    (ids_bt, matrix(&|row, position| i64::from(position < row.len())).ne(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokenizer(max_tokens: usize) -> Result<TextTokenizer, TrainerError> {
        // Its words: [PAD] [UNK] [CLS] [SEP] a disc of size the liver spleen is large small . 0 to 9.
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/m3d_clip_tiny");
        TextTokenizer::load(&folder, max_tokens)
    }

    #[test]
    fn short_rows_are_padded_and_long_ones_cut_before_their_end_token() {
        let tokenizer = tokenizer(5).unwrap();
        let texts = ["The liver.", "a disc of size 3", "", "SPLEEN"].map(|text| tokenizer.encode(text).unwrap());
        assert_eq!(texts.each_ref().map(|(_, cut)| *cut), [false, true, false, false]);
        let (ids_bt, mask_bt) = padded(&texts.map(|(ids, _)| ids));
        let rows: Vec<Vec<i64>> = Vec::try_from(ids_bt).unwrap();
        assert_eq!(rows, [[2, 8, 9, 14, 3], [2, 4, 5, 6, 3], [2, 3, 0, 0, 0], [2, 10, 3, 0, 0]]);
        let rows: Vec<Vec<bool>> = Vec::try_from(mask_bt).unwrap();
        let lengths: Vec<usize> = rows.iter().map(|row| row.iter().filter(|token| **token).count()).collect();
        assert_eq!(lengths, [5, 5, 2, 3]);
    }

    #[test]
    fn a_limit_that_leaves_no_token_for_text_is_refused() {
        assert!(matches!(tokenizer(2), Err(TrainerError::Config { .. })));
    }
}
