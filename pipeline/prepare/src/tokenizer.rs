//! The run's tokenizer: read from a file, or trained on the training split's texts; either way it lies in the dataset.

use std::fs;
use std::path::Path;

use med2e3_feed::shard::commit::{sibling, write_whole};
use med2e3_input::text::template::END_TOKEN;
use med2e3_input::text::{Template, Tokenizer};
use med2e3_schemas::sample::Split;

use crate::PrepareError;
use crate::config::TokenizerConfig;
use crate::manifest::Manifest;
use crate::tables::Tables;

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

/// Where the tokenizer lies in a dataset.
pub const FILE: &str = "tokenizer.json";

/// Writes the tokenizer to the dataset.
///
/// # Errors
/// The system refuses to write.
pub fn store(tokenizer: &Tokenizer, dataset: &Path) -> Result<(), PrepareError> {
    let path = dataset.join(FILE);
    let part = sibling(&path);
    tokenizer.save(&part)?;
    let bytes = fs::read(&part).map_err(PrepareError::io(&part, "read"))?;
    Ok(write_whole(&path, &bytes)?)
}

/// The tokenizer in the dataset; `None` where there are no texts.
///
/// # Errors
/// A file that is missing or no tokenizer.
pub fn stored(dataset: &Path, tables: &Tables) -> Result<Option<Tokenizer>, PrepareError> {
    match tables.texts.rows {
        0 => Ok(None),
        _ => Ok(Some(Tokenizer::load(&dataset.join(FILE))?)),
    }
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
