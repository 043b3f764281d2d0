//! What a `tokenizer.json` may hold, checked before the library builds anything of it. The library takes every number, pattern
//! and rule as it stands: an id of 2^32 fills the memory, a rule that doubles a text 28 times too, a pattern may run for hours.
//!
//! The limits are above what published tokenizers have: Gemma's file has 33 MB, 262,144 entries and 514,906 merges.

mod json;
mod pattern;

use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::error::InputError;
use crate::reading::{self, File};
use json::{Merges, Section, Vocabulary};

/// Largest file in bytes.
const FILE_BYTES: u64 = 64 << 20;
/// Most entries of a vocabulary, and most merges.
const ENTRIES: usize = 1 << 20;
/// Largest gap in the ids of a small vocabulary; in a larger one as many ids may be unused as are used.
const GAP: u64 = 1024;
/// Longest entry and longest word of any setting, in bytes.
const WORD_BYTES: usize = 1024;
/// Most words of special tokens that are added to a vocabulary.
const ADDED: usize = 1 << 16;
/// Longest word of WordPiece in characters: it takes the square of it in steps. BERT has 100.
const WORD_CHARACTERS: u64 = 1000;
/// Most members of a list of rules, or of a template.
const MEMBERS: usize = 256;
/// How many times longer a normalizer's rules may make a text, one after the other; Llama's make it 3 times longer.
const GROWTH: usize = 32;
/// The same for the rules of the other sections.
const OTHER_GROWTH: usize = 8;
/// Longest replacement in a table of SentencePiece, in bytes.
const REPLACEMENT: usize = 64;

/// The text of a file that is at most so long.
///
/// # Errors
/// [`InputError::NotFound`], [`InputError::Unreadable`], [`InputError::TokenizerFile`] for a longer file.
pub(super) fn read(path: &Path) -> Result<String, InputError> {
    // Opening a pipe would wait for its other end.
    if reading::metadata(path).is_ok_and(|file| !file.is_file() && !file.is_dir()) {
        let location = path.display().to_string();
        return Err(InputError::TokenizerFile { location, expected: "a file", found: "a pipe or a device".into() });
    }
    let mut text = String::new();
    let file = File::open(path).map_err(|e| InputError::io(path, e))?;
    file.take(FILE_BYTES + 1).read_to_string(&mut text).map_err(|e| InputError::io(path, e))?;
    if text.len() as u64 > FILE_BYTES {
        let found = format!("more than {FILE_BYTES} bytes");
        return Err(InputError::TokenizerFile {
            location: path.display().to_string(),
            expected: "a JSON of at most 64 MiB",
            found,
        });
    }
    Ok(text)
}

/// What is wrong with a file: the key, what it should be and what it is.
#[derive(Debug)]
struct Fault {
    key: String,
    expected: &'static str,
    found: String,
}

fn fault<T>(key: impl Into<String>, expected: &'static str, found: impl ToString) -> Result<T, Fault> {
    let found: String = found.to_string().chars().take(200).collect();
    Err(Fault { key: key.into(), expected, found })
}

/// Checks the text of a `tokenizer.json`.
///
/// # Errors
/// [`InputError::TokenizerFile`] with the file, the key, what is expected and what is found.
pub(super) fn check(location: &str, text: &str) -> Result<(), InputError> {
    let file: TokenizerFile = serde_json::from_str(text).map_err(|error| InputError::TokenizerFile {
        location: location.to_owned(),
        expected: "a tokenizer.json",
        found: error.to_string(),
    })?;
    file.check().map_err(|Fault { key, expected, found }| InputError::TokenizerFile {
        location: format!("{location}: {key}"),
        expected,
        found,
    })
}

#[derive(Deserialize)]
struct TokenizerFile {
    #[serde(default)]
    added_tokens: Vec<Added>,
    #[serde(default)]
    normalizer: Section,
    #[serde(default)]
    pre_tokenizer: Section,
    #[serde(default)]
    post_processor: Section,
    #[serde(default)]
    decoder: Section,
    model: Model,
}

#[derive(Deserialize)]
struct Added {
    content: String,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
}

#[derive(Deserialize)]
struct Model {
    #[serde(default)]
    dropout: Option<f64>,
    #[serde(default)]
    max_input_chars_per_word: Option<u64>,
    #[serde(default)]
    unk_token: Option<String>,
    #[serde(default)]
    continuing_subword_prefix: Option<String>,
    #[serde(default)]
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    vocab: Vocabulary,
    #[serde(default)]
    merges: Merges,
}

impl TokenizerFile {
    fn check(&self) -> Result<(), Fault> {
        let largest = self.ids()?;
        self.model.check()?;
        let sections = [
            ("normalizer", &self.normalizer, GROWTH, "rules that make a text at most 32 times longer"),
            ("pre_tokenizer", &self.pre_tokenizer, OTHER_GROWTH, "rules that make a text at most 8 times longer"),
            ("post_processor", &self.post_processor, OTHER_GROWTH, "rules that make a text at most 8 times longer"),
            ("decoder", &self.decoder, OTHER_GROWTH, "rules that make a text at most 8 times longer"),
        ];
        for (name, Section(section), most, expected) in sections {
            rules(name, section, largest)?;
            let growth = growth(section);
            if growth > most {
                return fault(name, expected, format!("rules that make it {growth} times longer"));
            }
        }
        Ok(())
    }

    /// Checks the vocabulary and gives the largest id.
    fn ids(&self) -> Result<u64, Fault> {
        let (vocabulary, added) = (&self.model.vocab, &self.added_tokens);
        if vocabulary.entries > ENTRIES {
            return fault("model.vocab", "at most 1048576 entries", vocabulary.entries);
        }
        if added.len() > ADDED {
            return fault("added_tokens", "at most 65536 tokens", added.len());
        }
        if let Some(other) = &vocabulary.no_id {
            return fault("model.vocab", "a whole number from 0 for each entry", other);
        }
        if vocabulary.longest > WORD_BYTES {
            return fault("model.vocab", "entries of at most 1024 bytes", format!("{} bytes", vocabulary.longest));
        }
        let count = vocabulary.entries as u64;
        if vocabulary.largest >= 2 * count + GAP {
            let found = format!("the id {} among {count} entries", vocabulary.largest);
            return fault("model.vocab", "ids of which at least a half is used", found);
        }
        for (number, token) in added.iter().enumerate() {
            let key = || format!("added_tokens[{number}].content");
            let bytes = token.content.len();
            if !(1..=WORD_BYTES).contains(&bytes) {
                return fault(key(), "1 to 1024 bytes", format!("{bytes} bytes"));
            }
            // Each of them would look through all white space around it.
            if token.content.trim().is_empty() && (token.lstrip || token.rstrip) {
                return fault(key(), "no lstrip or rstrip for a token of white space", "one");
            }
        }
        Ok(vocabulary.largest.max(count) + added.len() as u64)
    }
}

impl Model {
    fn check(&self) -> Result<(), Fault> {
        if let Some(share) = self.dropout.filter(|share| *share != 0.0) {
            return fault("model.dropout", "none: equal texts have equal ids", share);
        }
        if let Some(characters) = self.max_input_chars_per_word.filter(|most| *most > WORD_CHARACTERS) {
            return fault("model.max_input_chars_per_word", "at most 1000", characters);
        }
        for (key, word) in [
            ("model.unk_token", &self.unk_token),
            ("model.continuing_subword_prefix", &self.continuing_subword_prefix),
            ("model.end_of_word_suffix", &self.end_of_word_suffix),
        ] {
            if let Some(word) = word.as_ref().filter(|word| word.len() > WORD_BYTES) {
                return fault(key, "at most 1024 bytes", format!("{} bytes", word.len()));
            }
        }
        if self.merges.0 > ENTRIES {
            return fault("model.merges", "at most 1048576 merges", self.merges.0);
        }
        Ok(())
    }
}

/// Checks the numbers, words, lists and patterns of a section.
fn rules(key: &str, value: &Value, largest: u64) -> Result<(), Fault> {
    match value {
        Value::Null | Value::Bool(_) => Ok(()),
        Value::Number(number) => match number.as_u64() {
            Some(number) if number <= largest => Ok(()),
            _ => fault(key, "a whole number from 0 to the largest id", number),
        },
        Value::String(text) if key.ends_with(".precompiled_charsmap") => charsmap(key, text),
        Value::String(text) if text.len() > pattern::BYTES => {
            fault(key, "at most 2048 bytes", format!("{} bytes", text.len()))
        }
        Value::String(_) => Ok(()),
        Value::Array(members) if members.len() > MEMBERS => fault(key, "at most 256 members", members.len()),
        Value::Array(members) => {
            members.iter().enumerate().try_for_each(|(n, member)| rules(&format!("{key}[{n}]"), member, largest))
        }
        Value::Object(fields) => {
            if let Some(pattern) =
                fields.get("pattern").and_then(|pattern| pattern.get("Regex")).and_then(Value::as_str)
            {
                let expected =
                    "a pattern that takes linear time: nothing after a repetition without bound that may fail";
                pattern::check(pattern).or_else(|found| fault(format!("{key}.pattern"), expected, found))?;
            }
            if fields.get("pattern").and_then(|pattern| pattern.get("String")).is_some_and(|text| text == "") {
                return fault(format!("{key}.pattern"), "a text", "an empty one");
            }
            if fields.get("type").is_some_and(|kind| kind == "FixedLength") && fields.get("length") == Some(&0.into()) {
                return fault(format!("{key}.length"), "1 or more", 0);
            }
            fields.iter().try_for_each(|(name, value)| rules(&format!("{key}.{name}"), value, largest))
        }
    }
}

/// How many times longer a section's rules make a text at most, one after the other. Forms of Unicode are left out: whatever
/// their number, they make it at most 11 times longer, and only of rare characters.
fn growth(section: &Value) -> usize {
    match section {
        Value::Array(members) => members.iter().map(growth).fold(1, usize::saturating_mul),
        Value::Object(fields) => {
            let bytes = |key: &str| fields.get(key).and_then(Value::as_str).map(str::len);
            let own = match fields.get("type").and_then(Value::as_str) {
                Some("Replace") => {
                    // A pattern of regular expressions may match one byte, or none.
                    let pattern = fields.get("pattern").and_then(|pattern| pattern.get("String"));
                    let matched = pattern.and_then(Value::as_str).map_or(1, str::len).max(1);
                    let added = usize::from(pattern.is_none());
                    bytes("content").unwrap_or(0).div_ceil(matched).max(1) + added
                }
                // Each byte becomes a character.
                Some("ByteLevel") => 2,
                // In place of each space.
                Some("Metaspace") => bytes("replacement").unwrap_or(3).max(1),
                // A second table could replace what the first one wrote.
                Some("Precompiled") => GROWTH / 2 + 1,
                _ => 1,
            };
            fields
                .values()
                .filter(|value| value.is_array() || value.is_object())
                .map(growth)
                .fold(own, usize::saturating_mul)
        }
        _ => 1,
    }
}

/// Checks a table of SentencePiece's replacements: its size as it states it, and the longest replacement.
fn charsmap(key: &str, text: &str) -> Result<(), Fault> {
    let Some(bytes) = from_base64(text) else { return fault(key, "base64", "something else") };
    let size = bytes.first_chunk().map_or(usize::MAX, |size| u32::from_le_bytes(*size) as usize);
    let Some(words) = bytes.get(4..).and_then(|rest| rest.get(size..)) else {
        return fault(key, "a table as long as it states", format!("{} bytes that state {size}", bytes.len()));
    };
    let longest = words.split(|byte| *byte == 0).map(<[u8]>::len).max().unwrap_or(0);
    if longest > REPLACEMENT {
        return fault(key, "replacements of at most 64 bytes", format!("{longest} bytes"));
    }
    Ok(())
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        bits = bits << 6 | u32::from(digit(byte)?);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests;
