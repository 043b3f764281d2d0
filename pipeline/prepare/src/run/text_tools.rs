//! The run's text tools: the tokenizer, read from a file or trained on the training split's texts and then stored in the
//! dataset; and the tokenizer of a text encoder, if the run has one.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use med2e3_input::text::template::{END_TOKEN, instruction};
use med2e3_input::text::tokenizer::EndTokenSource;
use med2e3_input::text::{QuestionTokenizer, Template, Tokenizer};
use med2e3_schemas::index::xxh3_hex;
use med2e3_schemas::inputs::TextInputs;
use med2e3_schemas::sample::Split;
pub use med2e3_shards::index::TOKENIZER as FILE;
use med2e3_shards::index::TOKENIZER_CONFIG;
use med2e3_store::put_whole;
use serde_json::Value;

use crate::PrepareError;
use crate::config::{TextConfig, TokenizerConfig};
use crate::manifest::Manifest;

/// What texts are tokenized with.
#[derive(Clone, Debug)]
pub struct TextTools {
    /// The language model's.
    pub tokenizer: Tokenizer,
    /// The text of its file: as it came, or as a trained one is written.
    file: String,
    /// The text encoder's, for questions.
    pub question_tokenizer: Option<QuestionTokenizer>,
}

impl TextTools {
    /// Provides the tools and checks that they serve the template.
    ///
    /// # Errors
    /// A file that is missing or no tokenizer; texts that none can be trained on; a tokenizer without the template's
    /// tokens.
    pub fn provide(config: &TextConfig, manifest: &Manifest) -> Result<TextTools, PrepareError> {
        let question_tokenizer = config.question_tokenizer.as_deref().map(QuestionTokenizer::load).transpose()?;
        let (tokenizer, file) = match &config.tokenizer {
            TokenizerConfig::Path(path) => Tokenizer::load_with_text(path)?,
            TokenizerConfig::Train(entries) => {
                let trained = train(config.template, *entries, manifest)?;
                let file = trained.to_json()?;
                (trained, file)
            }
        };
        config.template.check(&tokenizer)?;
        Ok(TextTools { tokenizer, file, question_tokenizer })
    }

    /// The tools of a dataset that has its tokenizer.
    ///
    /// # Errors
    /// A file that is missing or no tokenizer.
    pub fn stored(config: &TextConfig, dataset: &Path) -> Result<TextTools, PrepareError> {
        let question_tokenizer = config.question_tokenizer.as_deref().map(QuestionTokenizer::load).transpose()?;
        let (tokenizer, file) = Tokenizer::load_with_text(&dataset.join(FILE))?;
        Ok(TextTools { tokenizer, file, question_tokenizer })
    }

    /// Entries of the tokenizer where it was trained: fewer than were asked for where the texts are few.
    pub fn trained_entries(&self, config: &TextConfig) -> Option<usize> {
        matches!(config.tokenizer, TokenizerConfig::Train(_)).then(|| self.tokenizer.vocab_size())
    }

    /// How texts are made.
    ///
    /// # Errors
    /// A tokenizer that can't be written; a file of prompts that can't be read.
    pub fn inputs(&self, config: &TextConfig) -> Result<TextInputs, PrepareError> {
        let questions = self.question_tokenizer.as_ref().map(QuestionTokenizer::identity).transpose()?;
        Ok(TextInputs {
            template: config.template.as_str().into(),
            tokenizer: self.tokenizer.identity()?,
            question_tokenizer: questions.map(|json| xxh3_hex(json.as_bytes())),
            start_token: self.tokenizer.bos(),
            end_token: end_token(&self.tokenizer),
            caption_prompts: distinct(config.prompts()?.as_slice()),
        })
    }

    /// Writes the tokenizer to the dataset, byte for byte as its file was.
    ///
    /// # Errors
    /// The system refuses to write.
    pub fn store(&self, dataset: &Path) -> Result<(), PrepareError> {
        put_whole(&dataset.join(FILE), self.file.as_bytes())?;
        // The tokenizer alone does not say what its model's files name.
        let named = self.tokenizer.end_token().filter(|end| end.from == EndTokenSource::ModelFiles);
        if let Some(end) = named.filter(|end| end.text != END_TOKEN) {
            let config = format!("{{\n  \"eos_token\": {}\n}}\n", Value::from(end.text.as_str()));
            return Ok(put_whole(&dataset.join(TOKENIZER_CONFIG), config.as_bytes())?);
        }
        // An earlier run's would be read as this one's.
        match fs::remove_file(dataset.join(TOKENIZER_CONFIG)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(PrepareError::file(&dataset.join(TOKENIZER_CONFIG), "remove")(error))
            }
            _ => Ok(()),
        }
    }
}

fn train(template: Template, entries: usize, manifest: &Manifest) -> Result<Tokenizer, PrepareError> {
    // Never a validation or test text: their words are not known when a model is trained.
    let seen = manifest.texts.iter().filter(|text| text.split == Split::Train && text.refusal.is_none());
    let texts = seen.flat_map(|text| match &text.turns {
        None => vec![text.question.clone(), text.answer.clone()],
        Some(turns) => turns.iter().flat_map(|turn| [instruction(&turn.question), turn.answer.clone()]).collect(),
    });
    let words = std::iter::once(template.words());
    // The end token is the dataset's, whether the template has one or not.
    let marks = template.special_tokens().iter().copied().filter(|mark| *mark != END_TOKEN);
    let special: Vec<&str> = std::iter::once(END_TOKEN).chain(marks).collect();
    Ok(Tokenizer::train_bpe(words.chain(texts), entries, &special)?)
}

fn distinct(prompts: &[String]) -> Vec<String> {
    prompts.iter().collect::<BTreeSet<_>>().into_iter().cloned().collect()
}

/// The id that ends an answer, where the tokenizer has one: every template but `pretrain_vision3d` needs it.
pub fn end_token(tokenizer: &Tokenizer) -> Option<i32> {
    tokenizer.end_token().map(|end| end.id)
}
