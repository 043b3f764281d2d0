//! Tokenizer: from text to token ids and back, with Hugging Face's `tokenizer.json`.

use std::ffi::OsStr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use med2e3_schemas::guarded::guarded;
use med2e3_schemas::index::xxh3_hex;
use serde_json::Value;
use tokenizers::AddedToken;
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

use super::special_tokens::{Detail, SpecialTokens};
use super::template::END_TOKEN;
use super::tokenizer_file;
use crate::error::InputError;
use crate::reading;

/// A tokenizer for one language model. Shared between threads by reference.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    special: SpecialTokens,
    bos: Option<i32>,
    end: Option<EndToken>,
    /// Whether it adds tokens after a text too.
    ends_texts: bool,
}

/// The token that ends an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndToken {
    /// Its words.
    pub text: String,
    /// Its id.
    pub id: i32,
    /// Where it is known from.
    pub from: EndTokenSource,
}

/// Where an end token is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndTokenSource {
    /// `tokenizer_config.json` or `special_tokens_map.json` next to the tokenizer.
    ModelFiles,
    /// The tokenizer alone.
    Tokenizer,
}

/// End tokens of families of models, for tokenizers whose files don't name theirs; the first that a tokenizer has counts.
const USUAL_ENDS: [&str; 5] = ["<|end_of_text|>", "<|eot_id|>", "<|im_end|>", "</s>", "<eos>"];

/// Where a model's files name its special tokens.
const NAMES_OF_SPECIAL: [&str; 2] = ["tokenizer_config.json", "special_tokens_map.json"];

/// What git-lfs puts where a file was not downloaded.
const POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";

/// Whether the bytes of a file are a pointer of git-lfs, which stands for a file that was not downloaded.
pub fn is_git_lfs_pointer(bytes: &[u8]) -> bool {
    bytes.starts_with(POINTER)
}

/// What such a file is, for messages.
pub const GIT_LFS_POINTER: &str = "a pointer of git-lfs: the file itself was not downloaded (git lfs pull brings it)";

/// Longest run in bytes of letters, digits, white space or other characters that a tokenizer is trained on; no word of a
/// language comes near.
const TRAINED_RUN: usize = 2048;

/// A text without the runs that are too long to be trained on.
fn without_long_runs(text: String) -> String {
    if text.len() <= TRAINED_RUN {
        return text;
    }
    let kind = |character: char| {
        let kinds = [char::is_alphabetic, char::is_numeric, char::is_whitespace];
        kinds.iter().position(|is_kind| is_kind(character))
    };
    let (mut kept, mut start, mut earlier) = (String::with_capacity(text.len()), 0, None);
    for (at, found) in
        text.char_indices().map(|(at, character)| (at, Some(kind(character)))).chain([(text.len(), None)])
    {
        if found != earlier {
            if at - start <= TRAINED_RUN {
                kept.push_str(&text[start..at]);
            }
            (start, earlier) = (at, found);
        }
    }
    kept
}

/// One token and its bytes in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The token's id.
    pub id: i32,
    /// Byte range in the encoded text.
    pub bytes: Range<usize>,
}

impl Tokenizer {
    /// Loads a `tokenizer.json`, or the one in a folder. Truncation and padding are disabled, whatever the file states.
    ///
    /// The end token is the one that the model's own files name: `eos_token` in the `tokenizer_config.json` or
    /// `special_tokens_map.json` next to the `tokenizer.json`. Without them it is `<|endoftext|>`, else what the tokenizer
    /// itself adds after a text, else the usual one of a family (`<|end_of_text|>`, `<|eot_id|>`, `<|im_end|>`, `</s>`,
    /// `<eos>`).
    ///
    /// # Errors
    /// [`InputError::TokenizerMissing`] where there is none, [`InputError::Unreadable`] where it cannot be read,
    /// [`InputError::TokenizerFile`] where a value in it is out of its range or a pattern may take more than linear time,
    /// [`InputError::Tokenizer`] where the library refuses it, or where the files next to it name an end token that it lacks.
    pub fn load(path: &Path) -> Result<Tokenizer, InputError> {
        Tokenizer::load_with_text(path).map(|(tokenizer, _)| tokenizer)
    }

    /// As [`Tokenizer::load`], with the text of its file, byte for byte.
    ///
    /// # Errors
    /// As [`Tokenizer::load`].
    pub fn load_with_text(path: &Path) -> Result<(Tokenizer, String), InputError> {
        let file = file_of(path);
        let text = read_text(&file)?;
        let location = file.display().to_string();
        let tokenizer = Tokenizer::new(inner_of(&location, &text)?, &location, named_end(&file)?)?;
        Ok((tokenizer, text))
    }

    /// Trains a byte-level BPE (as GPT-2's) of at most `vocab_size` tokens, including 256 bytes and the special tokens.
    /// A run of more than 2,048 bytes of one kind, such as letters, takes no part: training takes the square of its length in
    /// steps.
    ///
    /// Special tokens get the first ids, in order. The result depends only on the arguments and the order of the texts.
    ///
    /// # Errors
    /// [`InputError::Tokenizer`] where training fails.
    pub fn train_bpe(
        texts: impl Iterator<Item = String> + Send,
        vocab_size: usize,
        special: &[&str],
    ) -> Result<Tokenizer, InputError> {
        let mut inner = tokenizers::Tokenizer::new(BPE::default());
        inner.with_pre_tokenizer(Some(ByteLevel::new(false, true, true))).with_decoder(Some(ByteLevel::default()));
        let trainer = BpeTrainer::builder()
            .show_progress(false)
            .vocab_size(vocab_size)
            .min_frequency(2)
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .special_tokens(special.iter().map(|token| AddedToken::from(*token, true)).collect())
            .build();
        let mut trainer = TrainerWrapper::from(trainer);
        let texts = texts.map(without_long_runs);
        inner.train(&mut trainer, texts).map_err(|e| tokenizer_error("text", "texts to train on", e))?;
        Tokenizer::new(inner, "text", None)
    }

    fn new(
        inner: tokenizers::Tokenizer,
        location: &str,
        named_end: Option<(PathBuf, String)>,
    ) -> Result<Tokenizer, InputError> {
        let ids = |special| -> Result<Vec<u32>, InputError> {
            let encoding = guarded_at(location, "a tokenizer that encodes", || inner.encode("a", special))?;
            Ok(encoding.get_ids().to_vec())
        };
        let (plain, marked) = (ids(false)?, ids(true)?);
        // What is added before a text is the language model's start token; what is added after it, its end token.
        let before = marked.windows(plain.len().max(1)).position(|window| window == plain).unwrap_or(0);
        let bos = marked[..before].first().map(|id| *id as i32);
        let after = marked.get(before + plain.len()..).and_then(<[u32]>::last).copied();

        let added = inner.get_added_tokens_decoder();
        let id_of = |word: &str| added.iter().find(|(_, token)| token.content == word).map(|(id, _)| *id as i32);
        let end = |text: &str, from| id_of(text).map(|id| EndToken { text: text.to_owned(), id, from });
        let end = match &named_end {
            Some((file, text)) => {
                let named = end(text, EndTokenSource::ModelFiles);
                Some(named.ok_or_else(|| InputError::Tokenizer {
                    location: file.display().to_string(),
                    expected: "an eos_token that tokenizer.json has among its added tokens",
                    found: text.clone(),
                })?)
            }
            None => {
                let from = EndTokenSource::Tokenizer;
                let own =
                    inner.token_to_id(END_TOKEN).map(|id| EndToken { text: END_TOKEN.into(), id: id as i32, from });
                let put_after = || end(&added.get(&after?)?.content, from);
                own.or_else(put_after).or_else(|| USUAL_ENDS.iter().find_map(|word| end(word, from)))
            }
        };
        let special = SpecialTokens::of(&inner, location, end.as_ref().map(|end| end.text.as_str()))?;
        Ok(Tokenizer { special, inner, bos, end, ends_texts: after.is_some() })
    }

    /// The text of a `tokenizer.json` that makes the same tokens; a loaded file's own may be written in another way.
    ///
    /// # Errors
    /// [`InputError::Tokenizer`] where the tokenizer cannot be serialized.
    pub fn to_json(&self) -> Result<String, InputError> {
        self.inner.to_string(true).map_err(|e| tokenizer_error("tokenizer", "a tokenizer to write", e))
    }

    /// Token ids of a text, without start or end tokens. The words of special tokens in it are plain text.
    ///
    /// # Errors
    /// [`InputError::Tokenizer`] where the tokenizer refuses the text.
    pub fn encode(&self, text: &str) -> Result<Vec<i32>, InputError> {
        let encoding = self.special.encode(&self.inner, text, &[], Detail::Ids)?;
        Ok(encoding.get_ids().iter().map(|id| *id as i32).collect())
    }

    /// The tokens of a text with their byte ranges, without start or end tokens. The byte ranges `marks` of the text, in
    /// order, are special tokens; the words of any other are plain text.
    ///
    /// # Errors
    /// [`InputError::Tokenizer`] where the tokenizer refuses the text.
    pub fn encode_with_bytes(&self, text: &str, marks: &[Range<usize>]) -> Result<Vec<Token>, InputError> {
        let encoding = self.special.encode(&self.inner, text, marks, Detail::Bytes)?;
        let tokens = encoding.get_ids().iter().zip(encoding.get_offsets());
        Ok(tokens.map(|(id, (start, end))| Token { id: *id as i32, bytes: *start..*end }).collect())
    }

    /// Whether a text holds the words of a special token, such as `<|endoftext|>`.
    pub fn holds_special_words(&self, text: &str) -> bool {
        self.special.are_in(text)
    }

    /// The text of token ids. Special tokens and negative ids (images) are skipped.
    ///
    /// # Errors
    /// [`InputError::Tokenizer`] where the decoder fails.
    pub fn decode(&self, ids: &[i32]) -> Result<String, InputError> {
        let ids = ids.iter().filter_map(|id| u32::try_from(*id).ok()).collect::<Vec<_>>();
        guarded_at("token ids", "ids that decode", || self.inner.decode(&ids, true))
    }

    /// Identity of the tokenizer: xxh3 (64 bit) of its JSON as the library writes it, without white space, as hex. Files that
    /// differ in white space or in the order of their entries have the same; others that make the same tokens may not, see
    /// [`tokenizer_difference`](super::tokenizer_difference).
    ///
    /// # Errors
    /// [`InputError::Tokenizer`] where the tokenizer cannot be serialized.
    pub fn identity(&self) -> Result<String, InputError> {
        let json = self.inner.to_string(false).map_err(|e| tokenizer_error("tokenizer", "a tokenizer to write", e))?;
        Ok(xxh3_hex(json.as_bytes()))
    }

    /// The largest id of a token, added tokens included; `None` for an empty vocabulary. There may be fewer tokens than ids.
    pub fn largest_id(&self) -> Option<u32> {
        self.inner.get_vocab(true).into_values().max()
    }

    /// The text of a token.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The id of the token with exactly this text.
    pub fn token_to_id(&self, token: &str) -> Option<i32> {
        self.inner.token_to_id(token).map(|id| id as i32)
    }

    /// Number of tokens, including added tokens.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The added tokens by id.
    pub(super) fn added(&self) -> Vec<(u32, AddedToken)> {
        self.inner.get_added_tokens_decoder().into_iter().collect()
    }

    /// The token that ends an answer, where there is one.
    pub fn end_token(&self) -> Option<&EndToken> {
        self.end.as_ref()
    }

    /// Whether this tokenizer adds tokens after a text.
    pub fn ends_texts(&self) -> bool {
        self.ends_texts
    }

    /// The id of the start token that this tokenizer adds before a text, if it adds one; Phi-3's does not.
    pub fn bos(&self) -> Option<i32> {
        self.bos
    }
}

/// The library's tokenizer in a `tokenizer.json` or a folder with one, without truncation and padding.
pub(super) fn load_inner(path: &Path) -> Result<tokenizers::Tokenizer, InputError> {
    let path = file_of(path);
    inner_of(&path.display().to_string(), &read_text(&path)?)
}

pub(super) fn read_text(file: &Path) -> Result<String, InputError> {
    tokenizer_file::read(file).map_err(|error| match error {
        InputError::NotFound { path } => InputError::TokenizerMissing { path },
        other => other,
    })
}

/// The library's tokenizer of a file's text, which is checked before.
pub(super) fn inner_of(location: &str, text: &str) -> Result<tokenizers::Tokenizer, InputError> {
    if is_git_lfs_pointer(text.as_bytes()) {
        let (location, found) = (location.to_owned(), GIT_LFS_POINTER.to_owned());
        return Err(InputError::Tokenizer { location, expected: "a tokenizer.json", found });
    }
    tokenizer_file::check(location, text)?;
    guarded_at(location, "a tokenizer.json", || {
        let mut inner = tokenizers::Tokenizer::from_str(text)?;
        inner.with_truncation(None)?.with_padding(None);
        Ok(inner)
    })
}

/// What a call into the library gives.
///
/// # Errors
/// [`InputError::Tokenizer`] where the library refuses, or panics.
pub(super) fn guarded_at<T>(
    location: &str,
    expected: &'static str,
    call: impl FnOnce() -> tokenizers::Result<T>,
) -> Result<T, InputError> {
    let panics = |words| format!("the tokenizer library panics: {words}");
    let result = guarded(call).map_err(panics).and_then(|result| result.map_err(|error| error.to_string()));
    result.map_err(|found| InputError::Tokenizer { location: location.to_owned(), expected, found })
}

fn file_of(path: &Path) -> PathBuf {
    if path.is_dir() { path.join("tokenizer.json") } else { path.to_owned() }
}

/// The end token that the files next to a `tokenizer.json` name, and the file that does.
fn named_end(tokenizer: &Path) -> Result<Option<(PathBuf, String)>, InputError> {
    if tokenizer.file_name() != Some(OsStr::new("tokenizer.json")) {
        return Ok(None);
    }
    for file in NAMES_OF_SPECIAL.map(|name| tokenizer.with_file_name(name)) {
        match reading::metadata(&file) {
            Ok(metadata) if metadata.is_file() => {}
            // A name that was not read is not one that is not there.
            Err(error) if reading::is_of_the_machine(&error) => return Err(InputError::io(&file, error)),
            _ => continue,
        }
        let text = tokenizer_file::read(&file)?;
        let fields: Value = serde_json::from_str(&text).map_err(|e| InputError::Tokenizer {
            location: file.display().to_string(),
            expected: "JSON",
            found: if is_git_lfs_pointer(text.as_bytes()) { GIT_LFS_POINTER.to_owned() } else { e.to_string() },
        })?;
        // A word, or an object around it.
        let end = &fields["eos_token"];
        if let Some(word) = end.as_str().or(end["content"].as_str()) {
            return Ok(Some((file, word.to_owned())));
        }
    }
    Ok(None)
}

fn tokenizer_error(location: &str, expected: &'static str, error: tokenizers::Error) -> InputError {
    InputError::Tokenizer { location: location.to_owned(), expected, found: error.to_string() }
}
