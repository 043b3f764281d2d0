//! The run's tokenizer: read from a file, or trained on the training split's texts; either way it lies in the dataset.

use std::fs;
use std::path::Path;

use med2e3_input::text::template::END_TOKEN;
use med2e3_input::text::{Template, Tokenizer};
use med2e3_schemas::sample::Split;

use crate::PrepareError;
use crate::config::TokenizerConfig;
use crate::manifest::Manifest;

/// Provides the tokenizer.
///
/// # Errors
/// A file that is missing or no tokenizer; texts that none can be trained on.
pub fn provide(config: &TokenizerConfig, manifest: &Manifest) -> Result<Tokenizer, PrepareError> {
    match config {
        TokenizerConfig::Path(path) => Ok(Tokenizer::load(path)?),
        TokenizerConfig::Train(entries) => {
            // Never a validation or test text: their words are not known when a model is trained.
            let seen = manifest.texts.iter().filter(|text| text.split == Split::Train && text.refusal.is_none());
            let texts = seen.flat_map(|text| [text.question.clone(), text.answer.clone()]);
            let template = std::iter::once(Template::Phi.words());
            Ok(Tokenizer::train_bpe(template.chain(texts), *entries, &[END_TOKEN])?)
        }
    }
}

/// Writes the tokenizer to `out/tokenizer.json` and gives the file's bytes.
///
/// # Errors
/// The system refuses to write.
pub fn store(tokenizer: &Tokenizer, out: &Path) -> Result<Vec<u8>, PrepareError> {
    let path = out.join("tokenizer.json");
    tokenizer.save(&path)?;
    fs::read(&path).map_err(PrepareError::io(&path, "read"))
}

/// The id that ends an answer.
///
/// # Errors
/// A tokenizer without an end token.
pub fn end_token(tokenizer: &Tokenizer) -> Result<i32, PrepareError> {
    tokenizer.token_to_id(END_TOKEN).ok_or_else(|| PrepareError::Request {
        what: "tokenizer".into(),
        problem: format!("expected the token {END_TOKEN}, found none"),
    })
}
