//! What a run begins with: fresh weights, another checkpoint's, or its own last checkpoint.

use std::fs;
use std::path::Path;

use med2e3_feed::FeedCursor;
use med2e3_program::output::{OutputError, is_occupied};
use med2e3_shards::Dataset;
use tch::Device;

use super::data::TrainData;
use super::optimizer::{AdamW, AdamWState};
use crate::TrainerError;
use crate::config::{ModelConfig, Start, TrainConfig};
use crate::files::checkpoint::{self, Checkpoint, Tokenizers, TrainState};
use crate::fit;
use crate::model::{LoraConfig, Med2e3, Med2e3Config};

/// What to do where `out` holds a run already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// An error that names `--resume`.
    Refuse,
    /// Go on from its last checkpoint.
    Resume,
}

/// Where the first weights come from.
pub(super) enum Origin<'a> {
    /// Drawn from the seed.
    Fresh(&'a Med2e3Config),
    /// The checkpoint that the configuration names.
    Checkpoint(Checkpoint),
    /// This run's own last checkpoint.
    Resumed(Checkpoint),
}

impl<'a> Origin<'a> {
    /// `text` is the configuration as `train.toml` holds it.
    pub(super) fn find(
        config: &'a TrainConfig,
        text: &str,
        out: &Path,
        existing: Existing,
    ) -> Result<Origin<'a>, TrainerError> {
        if let Some(checkpoint) = resumable(text, out, existing)? {
            return Ok(Origin::Resumed(checkpoint));
        }
        Ok(match &config.model.start {
            Start::Fresh(sizes) => Origin::Fresh(sizes),
            Start::Checkpoint(path) => Origin::Checkpoint(Checkpoint::open(path)?),
        })
    }

    fn checkpoint(&self) -> Option<&Checkpoint> {
        match self {
            Origin::Fresh(_) => None,
            Origin::Checkpoint(checkpoint) | Origin::Resumed(checkpoint) => Some(checkpoint),
        }
    }

    /// The model, adapters included, with the configured parts trainable.
    pub(super) fn model(&self, config: &ModelConfig, seed: u64, device: Device) -> Result<Med2e3, TrainerError> {
        let mut model = match self {
            Origin::Fresh(sizes) => Med2e3::new(sizes, device, seed)?,
            Origin::Checkpoint(checkpoint) | Origin::Resumed(checkpoint) => checkpoint.model(device)?,
        };
        if let Some(wanted) = &config.lora {
            add_adapters(&mut model, wanted, seed)?;
        }
        model.set_trainable(&config.train);
        Ok(model)
    }

    /// The tokenizers that the run's checkpoints hold, once the model is known to fit the dataset.
    pub(super) fn tokenizers(
        &self,
        config: &ModelConfig,
        model: &Med2e3,
        dataset: &Dataset,
    ) -> Result<Tokenizers, TrainerError> {
        let stored = self.checkpoint().map(Checkpoint::tokenizers).unwrap_or_default();
        fit::check(model, stored.llm.as_deref(), dataset)?;
        Ok(Tokenizers { llm: Some(dataset.tokenizer()), text: config.text_tokenizer.clone().or(stored.text) })
    }

    /// The first state; that of a resumed run, whose moments the optimizer then has.
    pub(super) fn state(&self, data: &TrainData, optimizer: &mut AdamW) -> Result<TrainState, TrainerError> {
        let selection = data.selection_hash();
        let Origin::Resumed(checkpoint) = self else {
            return Ok(TrainState { step: 0, cursor: FeedCursor::default(), selection, validation: Vec::new() });
        };
        let (state, tensors) = checkpoint.state()?;
        if state.selection != selection {
            return Err(TrainerError::Config {
                key: "data".into(),
                expected: "the samples that the run began with".into(),
                found: "others; the dataset or its subset has changed".into(),
            });
        }
        optimizer.load_state(AdamWState { step: state.step, tensors })?;
        Ok(state)
    }
}

/// Adds fresh adapters where the model has none; those of a checkpoint must be the wanted ones.
fn add_adapters(model: &mut Med2e3, wanted: &LoraConfig, seed: u64) -> Result<(), TrainerError> {
    match &model.config().lora {
        None => Ok(model.add_adapters(wanted, seed)?),
        Some(found) if found == wanted => Ok(()),
        Some(found) => Err(TrainerError::Config {
            key: "model.lora".into(),
            expected: format!("{found:?}, as the checkpoint has"),
            found: format!("{wanted:?}"),
        }),
    }
}

/// The checkpoint to go on from, where the folder holds this run already.
fn resumable(text: &str, out: &Path, existing: Existing) -> Result<Option<Checkpoint>, TrainerError> {
    if !is_occupied(out) {
        return Ok(None);
    }
    let is_same = fs::read_to_string(out.join("train.toml")).is_ok_and(|found| found == text);
    let (problem, hint) = match (is_same, existing) {
        (true, Existing::Resume) => return checkpoint::last(out).map(|folder| Checkpoint::open(&folder)).transpose(),
        (true, Existing::Refuse) => ("holds this run already", "--resume goes on from its last checkpoint"),
        (false, _) => ("holds something else than this run", "give another --out, or remove the folder"),
    };
    Err(OutputError::Occupied { path: out.to_owned(), problem: problem.into(), hint: hint.into() }.into())
}
