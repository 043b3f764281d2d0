//! Encoder tokenizer: the ids that transformers gives to a text for BERT, RoBERTa and their like, which compare texts.

use std::path::Path;

use serde_json::{Value, json};

use super::special_tokens::expect_short;
use super::tokenizer::{guarded_at, inner_of, read_text};
use crate::error::InputError;

/// The whole tokenizer in one file.
const WHOLE: &str = "tokenizer.json";
/// A byte-level BPE in two.
const VOCABULARY: &str = "vocab.json";
const MERGES: &str = "merges.txt";

/// A tokenizer that puts one token before a text and one after it.
#[derive(Clone, Debug)]
pub struct EncoderTokenizer {
    inner: tokenizers::Tokenizer,
    around: [i32; 2],
}

impl EncoderTokenizer {
    /// Loads the `tokenizer.json` of a folder, or RoBERTa's byte-level BPE from its `vocab.json` and `merges.txt`. Truncation and
    /// padding are disabled, whatever a file states.
    ///
    /// # Errors
    /// [`InputError::TokenizerFile`] where there is neither, where a value is out of its range, and where not one token is put on
    /// either side of a text; otherwise as [`Tokenizer::load`](super::Tokenizer::load).
    pub fn load(folder: &Path) -> Result<EncoderTokenizer, InputError> {
        let [whole, vocabulary, merges] = [WHOLE, VOCABULARY, MERGES].map(|name| folder.join(name));
        let (location, text) = if whole.is_file() {
            (whole.display().to_string(), read_text(&whole)?)
        } else if vocabulary.is_file() {
            let location = vocabulary.display().to_string();
            let text = roberta(&location, &read_text(&vocabulary)?, &read_text(&merges)?)?;
            (location, text)
        } else {
            return Err(InputError::TokenizerFile {
                location: folder.display().to_string(),
                expected: "tokenizer.json, or vocab.json and merges.txt",
                found: "none of them".into(),
            });
        };
        let inner = inner_of(&location, &text)?;
        let around = guarded_at(&location, "a tokenizer that encodes", || inner.encode("", true))?;
        let [start, end] = around.get_ids() else {
            return Err(InputError::TokenizerFile {
                location,
                expected: "a tokenizer that puts one token before a text and one after it",
                found: format!("{} around an empty text", around.get_ids().len()),
            });
        };
        Ok(EncoderTokenizer { around: [*start as i32, *end as i32], inner })
    }

    /// The ids that are put before a text and after it.
    pub fn around(&self) -> [i32; 2] {
        self.around
    }

    /// Ids of a text, without those around it. As in transformers, the words of a special token in the text are that token.
    ///
    /// # Errors
    /// [`InputError::Tokenizer`] where the tokenizer refuses the text, [`InputError::TextTooLong`] for more than 4 MiB.
    pub fn encode(&self, text: &str) -> Result<Vec<i32>, InputError> {
        expect_short(&self.inner, text)?;
        let encoding = guarded_at("text", "a text that encodes", || self.inner.encode_fast(text, false))?;
        Ok(encoding.get_ids().iter().map(|id| *id as i32).collect())
    }

    /// The largest id of a token, added tokens included; `None` for an empty vocabulary.
    pub fn largest_id(&self) -> Option<u32> {
        self.inner.get_vocab(true).into_values().max()
    }

    /// The tokenizer as JSON text, which is equal for equal tokenizers.
    ///
    /// # Errors
    /// [`InputError::Tokenizer`] where the tokenizer cannot be serialized.
    pub fn identity(&self) -> Result<String, InputError> {
        guarded_at("tokenizer", "a tokenizer to write", || self.inner.to_string(false))
    }
}

/// RoBERTa's tokenizer as the text of a `tokenizer.json`. `location` is its vocabulary's.
fn roberta(location: &str, vocabulary: &str, merges: &str) -> Result<String, InputError> {
    let refused =
        |expected, found: String| InputError::TokenizerFile { location: location.to_owned(), expected, found };
    let entries: Value = serde_json::from_str(vocabulary).map_err(|e| refused("JSON", e.to_string()))?;
    let special = |word: &str| entries.get(word).and_then(Value::as_u64);
    let needed =
        |word: &str| special(word).ok_or_else(|| refused("the ids of <s> and </s>", format!("none of {word}")));
    let (start, end) = (needed("<s>")?, needed("</s>")?);
    let added = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"].into_iter().filter_map(|word| {
        // The space before a mask is a part of it.
        let lstrip = word == "<mask>";
        let id = special(word)?;
        Some(json!({ "id": id, "content": word, "single_word": false, "lstrip": lstrip, "rstrip": false,
            "normalized": false, "special": true }))
    });
    let is_merge = |line: &&str| !line.is_empty() && !line.starts_with("#version");
    let merges: Vec<&str> = merges.lines().filter(is_merge).collect();
    let bytes = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
    let around = json!({ "type": "RobertaProcessing", "sep": ["</s>", end], "cls": ["<s>", start],
        "trim_offsets": true, "add_prefix_space": false });
    let model = json!({ "type": "BPE", "dropout": null, "unk_token": special("<unk>").map(|_| "<unk>"),
        "continuing_subword_prefix": "", "end_of_word_suffix": "", "fuse_unk": false, "byte_fallback": false,
        "vocab": entries, "merges": merges });
    let file = json!({ "version": "1.0", "truncation": null, "padding": null, "added_tokens": added.collect::<Vec<_>>(),
        "normalizer": null, "pre_tokenizer": bytes, "post_processor": around, "decoder": bytes, "model": model });
    Ok(file.to_string())
}
