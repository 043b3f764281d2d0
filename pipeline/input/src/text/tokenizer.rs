//! Tokenizer: from text to token ids and back, with Hugging Face's `tokenizer.json`.

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::str::FromStr;

use med2e3_schemas::index::xxh3_hex;
use tokenizers::AddedToken;
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

use super::special_tokens::{Detail, SpecialTokens};
use crate::error::InputError;

/// A tokenizer for one language model. Shared between threads by reference.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    special: SpecialTokens,
    bos: Option<i32>,
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
    /// # Errors
    /// [`InputError::TokenizerMissing`] where there is none, [`InputError::Unreadable`] where it cannot be read,
    /// [`InputError::Tokenizer`] where it cannot be parsed.
    pub fn load(path: &Path) -> Result<Tokenizer, InputError> {
        Tokenizer::new(load_inner(path)?, &path.display().to_string())
    }

    /// Trains a byte-level BPE (as GPT-2's) of at most `vocab_size` tokens, including 256 bytes and the special tokens.
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
        inner.train(&mut trainer, texts).map_err(|e| tokenizer_error("text", "texts to train on", e))?;
        Tokenizer::new(inner, "text")
    }

    fn new(inner: tokenizers::Tokenizer, location: &str) -> Result<Tokenizer, InputError> {
        let ids = |special| inner.encode("a", special).map(|encoding| encoding.get_ids().to_vec());
        let plain = ids(false).map_err(|e| tokenizer_error(location, "a tokenizer that encodes", e))?;
        let marked = ids(true).map_err(|e| tokenizer_error(location, "a tokenizer that encodes", e))?;
        // A token added before the text is the language model's start token, unless one is added after it too.
        let bos = (marked.len() == plain.len() + 1 && marked[1..] == plain[..]).then(|| marked[0] as i32);
        Ok(Tokenizer { special: SpecialTokens::of(&inner), inner, bos })
    }

    /// The text of a `tokenizer.json`.
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
        self.inner.decode(&ids, true).map_err(|e| tokenizer_error("token ids", "ids that decode", e))
    }

    /// Identity of the tokenizer: xxh3 (64 bit) of its JSON without white space, as hex. Files that are written in another way
    /// but make the same tokens have the same.
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

    /// The id of the token with exactly this text.
    pub fn token_to_id(&self, token: &str) -> Option<i32> {
        self.inner.token_to_id(token).map(|id| id as i32)
    }

    /// Number of tokens, including added tokens.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The id of the start token that this tokenizer adds before a text, if it adds one; Phi-3's does not.
    pub fn bos(&self) -> Option<i32> {
        self.bos
    }
}

/// The library's tokenizer in a `tokenizer.json` or a folder with one, without truncation and padding.
pub(super) fn load_inner(path: &Path) -> Result<tokenizers::Tokenizer, InputError> {
    let path = if path.is_dir() { path.join("tokenizer.json") } else { path.to_owned() };
    let text = fs::read_to_string(&path).map_err(|e| match InputError::io(&path, e) {
        InputError::NotFound { path } => InputError::TokenizerMissing { path },
        other => other,
    })?;
    let location = path.display().to_string();
    let mut inner =
        tokenizers::Tokenizer::from_str(&text).map_err(|e| tokenizer_error(&location, "a tokenizer.json", e))?;
    inner.with_truncation(None).map_err(|e| tokenizer_error(&location, "a tokenizer.json", e))?.with_padding(None);
    Ok(inner)
}

fn tokenizer_error(location: &str, expected: &'static str, error: tokenizers::Error) -> InputError {
    InputError::Tokenizer { location: location.to_owned(), expected, found: error.to_string() }
}
