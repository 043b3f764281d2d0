//! Special tokens: the tokens by which a template and a model speak to each other. Texts are data: where one holds the words of
//! a special token, such as `<|endoftext|>` in an answer, the words are tokenized as plain text, and only what a template puts
//! there itself becomes the token's id.
//!
//! Special are the added tokens that the tokenizer's file flags so, and those that published files don't flag: the
//! templates' own, `<|...|>`, `<s>` and `</s>`. The file's other added tokens are words of its vocabulary.
//!
//! A text without such words is encoded by the tokenizer as it is. For any other one there is a second tokenizer, made when it is
//! first needed: the same but for the names of its special tokens, which no text holds. So white space around them, normalizers
//! and models that find the words in their own vocabulary (Unigram, WordLevel) act as on every other text.

use std::collections::HashSet;
use std::ops::Range;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use med2e3_schemas::guarded::guarded;
use serde_json::Value;
use tokenizers::models::ModelWrapper;
use tokenizers::{Encoding, Model, NormalizedString, Normalizer, Tokenizer};

use super::template::MARKS;
use super::tokenizer::guarded_at;
use crate::error::InputError;

/// What opens each name of a special token in the second tokenizer; Unicode reserves it, so that no text has it.
const OPEN: char = '\u{fdd0}';

/// The special tokens of one tokenizer.
#[derive(Clone, Debug)]
pub(super) struct SpecialTokens {
    /// Their words, those of the templates first.
    words: Vec<String>,
    /// The characters that the words begin with.
    starts: Vec<char>,
    /// Their ids, without the one that stands for what the vocabulary lacks: a plain text may have that.
    ids: HashSet<u32>,
    renamed: Arc<OnceLock<Result<Tokenizer, String>>>,
}

/// What is asked of the library besides the ids.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// Ids alone.
    Ids,
    /// Ids and the byte range of each token.
    Bytes,
    /// Ids, with the tokens that the tokenizer puts around a text.
    Around,
}

impl SpecialTokens {
    /// Those of a tokenizer, its end token among them; `location` is its file.
    ///
    /// # Errors
    /// [`InputError::Tokenizer`] where the model does not even take one character.
    pub(super) fn of(tokenizer: &Tokenizer, location: &str, end: Option<&str>) -> Result<SpecialTokens, InputError> {
        let mut added: Vec<_> = tokenizer.get_added_tokens_decoder().into_iter().collect();
        let own = |word: &str| MARKS.iter().position(|mark| *mark == word).unwrap_or(MARKS.len());
        added.sort_by_key(|(id, token)| (own(&token.content), *id));
        let unflagged = |word: &str| {
            own(word) < MARKS.len()
                || Some(word) == end
                || ["<s>", "</s>"].contains(&word)
                || (word.starts_with("<|") && word.ends_with("|>"))
        };
        added.retain(|(_, token)| token.special || unflagged(&token.content));
        let unknown = guarded_at(location, "a model that takes a character", || Ok(unknown_id(tokenizer.get_model())))?;
        let ids = added.iter().map(|(id, _)| *id).filter(|id| Some(*id) != unknown).collect();
        let words: Vec<String> = added.into_iter().map(|(_, token)| token.content).collect();
        let mut starts: Vec<char> = words.iter().filter_map(|word| word.chars().next()).collect();
        starts.sort_unstable();
        starts.dedup();
        Ok(SpecialTokens { words, starts, ids, renamed: Arc::default() })
    }

    /// Whether a text holds the words of one.
    pub(super) fn are_in(&self, text: &str) -> bool {
        // Most texts hold none of the characters that the words begin with.
        text.contains(self.starts.as_slice()) && self.words.iter().any(|word| text.contains(word.as_str()))
    }

    /// Encodes a text in which the byte ranges `marks`, and nothing else, are special tokens.
    ///
    /// # Errors
    /// [`InputError::Tokenizer`] where the tokenizer refuses the text.
    pub(super) fn encode(
        &self,
        tokenizer: &Tokenizer,
        text: &str,
        marks: &[Range<usize>],
        detail: Detail,
    ) -> Result<Encoding, InputError> {
        let error =
            |found: String| InputError::Tokenizer { location: "text".into(), expected: "a text that encodes", found };
        let run = |tokenizer: &Tokenizer, text: &str| {
            guarded_at("text", "a text that encodes", || match detail {
                Detail::Ids => tokenizer.encode_fast(text, false),
                Detail::Bytes => tokenizer.encode(text, false),
                Detail::Around => tokenizer.encode_fast(text, true),
            })
        };
        expect_short(tokenizer, text)?;
        let own: Vec<_> =
            marks.iter().filter(|mark| self.words.iter().any(|word| *word == text[(*mark).clone()])).collect();
        if !self.are_between(text, &own) {
            let encoding = run(tokenizer, text)?;
            // More of them than marks: the normalizer or the model made them of other words.
            if self.count(&encoding) <= own.len() {
                return Ok(encoding);
            }
        }
        if text.contains(OPEN) {
            return Err(error("the character U+FDD0, which no text has".into()));
        }
        let renamed = self.renamed.get_or_init(|| self.rename(tokenizer)).as_ref().map_err(|e| error(e.clone()))?;
        let mut written = String::with_capacity(text.len());
        let mut end = 0;
        for mark in own {
            let number = self.words.iter().position(|word| *word == text[mark.clone()]).unwrap_or_default();
            written.push_str(&text[end..mark.start]);
            written.push_str(&name(number, &self.words[number]));
            end = mark.end;
        }
        written.push_str(&text[end..]);
        run(renamed, &written)
    }

    /// Whether the text besides its marks holds the words of one.
    fn are_between(&self, text: &str, marks: &[&Range<usize>]) -> bool {
        let starts = std::iter::once(0).chain(marks.iter().map(|mark| mark.end));
        let ends = marks.iter().map(|mark| mark.start).chain([text.len()]);
        starts.zip(ends).any(|(start, end)| self.are_in(&text[start..end]))
    }

    /// Special tokens that the text itself became, not those that were put around it.
    fn count(&self, encoding: &Encoding) -> usize {
        let tokens = encoding.get_ids().iter().zip(encoding.get_special_tokens_mask());
        tokens.filter(|(id, around)| **around == 0 && self.ids.contains(id)).count()
    }

    /// The tokenizer with other names for its special tokens, and the same ids.
    fn rename(&self, tokenizer: &Tokenizer) -> Result<Tokenizer, String> {
        let text = tokenizer.to_string(false).map_err(|e| e.to_string())?;
        let mut file: Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
        let new_name = |old: &str| self.words.iter().position(|word| word == old).map(|number| name(number, old));
        let rename = |value: &mut Value| {
            let new = value.as_str().and_then(new_name);
            new.inspect(|new| *value = new.as_str().into()).is_some()
        };
        for token in file["added_tokens"].as_array_mut().into_iter().flatten() {
            if rename(&mut token["content"]) {
                // The name is found in the text as it was written, wherever it stands.
                token["normalized"] = false.into();
                token["single_word"] = false.into();
            }
        }
        rename(&mut file["model"]["unk_token"]);
        match &mut file["model"]["vocab"] {
            Value::Object(entries) => {
                for word in &self.words {
                    if let (Some(id), Some(new)) = (entries.remove(word), new_name(word)) {
                        entries.insert(new, id);
                    }
                }
            }
            Value::Array(pieces) => pieces.iter_mut().for_each(|piece| {
                rename(&mut piece[0]);
            }),
            _ => {}
        }
        let renamed = guarded(|| Tokenizer::from_str(&file.to_string()))?.map_err(|e| e.to_string())?;
        let same =
            |(number, word): (usize, &String)| renamed.token_to_id(&name(number, word)) == tokenizer.token_to_id(word);
        let all = self.words.iter().enumerate().all(same);
        if all { Ok(renamed) } else { Err("special tokens whose ids are not those that the file states".into()) }
    }
}

/// Longest text in bytes after normalization: it is held with 16 bytes of places for each of its own, and one token for each.
const NORMALIZED_BYTES: usize = 4 << 20;
/// Texts up to this length in bytes become no longer than that, whatever a normalizer that is accepted makes of them.
const ANY_TEXT: usize = 1 << 14;

/// Whether a normalizer leaves a text short enough: one character may become 18.
pub(super) fn expect_short(tokenizer: &Tokenizer, text: &str) -> Result<(), InputError> {
    let Some(normalizer) = tokenizer.get_normalizer().filter(|_| text.len() > ANY_TEXT) else {
        return if text.len() > NORMALIZED_BYTES { Err(too_long(text.len())) } else { Ok(()) };
    };
    // Piece by piece, so that a text that becomes too long is never there as a whole.
    let (mut rest, mut length) = (text, 0);
    while !rest.is_empty() {
        let end = (0..=rest.len().min(ANY_TEXT)).rev().find(|end| rest.is_char_boundary(*end)).unwrap_or(rest.len());
        let (piece, later) = rest.split_at(end);
        length += guarded_at("text", "a text that encodes", || {
            let mut piece = NormalizedString::from(piece);
            normalizer.normalize(&mut piece)?;
            Ok(piece.len())
        })?;
        if length > NORMALIZED_BYTES {
            return Err(too_long(length));
        }
        rest = later;
    }
    Ok(())
}

fn too_long(found: usize) -> InputError {
    InputError::TextTooLong {
        what: "a text after normalization",
        expected: NORMALIZED_BYTES as u64,
        found: found as u64,
    }
}

/// The name of a special token in the second tokenizer: as many bytes as its words where these are 5 or more, or 4 (`</s>`) and
/// one of the first, as every template's are, so that byte ranges stay.
fn name(number: usize, word: &str) -> String {
    if let Some(letter) = (b'a'..=b'z').nth(number).filter(|_| word.len() == OPEN.len_utf8() + 1) {
        return format!("{OPEN}{}", char::from(letter));
    }
    format!("{OPEN}{number:0>width$}.", width = word.len().saturating_sub(OPEN.len_utf8() + 1))
}

/// The id that a model gives to what its vocabulary lacks.
fn unknown_id(model: &ModelWrapper) -> Option<u32> {
    let token = match model {
        ModelWrapper::BPE(model) => model.unk_token.as_deref(),
        ModelWrapper::WordPiece(model) => Some(model.unk_token.as_str()),
        ModelWrapper::WordLevel(model) => Some(model.unk_token.as_str()),
        ModelWrapper::Unigram(model) => {
            // Its number is private; it is what an unknown character becomes.
            return model.tokenize("\u{fdd1}").ok()?.first().map(|token| token.id);
        }
    };
    token.and_then(|token| model.token_to_id(token))
}
