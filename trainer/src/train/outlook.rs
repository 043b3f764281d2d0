//! What of a run is known before its first step: sizes, what learns, samples, steps.

use std::sync::Arc;

use med2e3_shards::Samples;

use super::data::TrainData;
use super::start::Origin;
use crate::TrainerError;
use crate::config::{ModelConfig, TrainConfig};
use crate::fit;
use crate::model::Med2e3Config;
use crate::plan::learning::Learning;
use crate::trained_parts::LlmKind;

/// What is known.
pub(crate) struct Planned {
    /// The model's sizes, adapters included.
    pub(crate) sizes: Med2e3Config,
    /// Which weights learn.
    pub(crate) learning: Learning,
    /// The samples of an epoch.
    pub(crate) samples: Arc<Samples>,
    /// Optimizer steps of the run.
    pub(crate) steps: u64,
}

/// Reads the dataset's index and rows, and the start's configuration; makes no weights and writes nothing.
///
/// # Errors
/// A configuration, dataset or checkpoint that does not fit.
pub(crate) fn planned(config: &TrainConfig) -> Result<Planned, TrainerError> {
    config.check()?;
    let data = TrainData::open(&config.data, false)?;
    let sizes = Origin::of_start(config, &data.dataset)?.sizes()?;
    fit::check(&sizes, &data.dataset)?;
    let (sizes, learning) = learning(&config.model, &sizes)?;
    let steps = data.total_steps(&config.data, config.step.batch)?;
    Ok(Planned { sizes, learning, samples: data.samples, steps })
}

/// The sizes with the adapters that are added, and which weights learn.
///
/// # Errors
/// Keys of `model.train` that contradict each other or the model.
pub(super) fn learning(config: &ModelConfig, sizes: &Med2e3Config) -> Result<(Med2e3Config, Learning), TrainerError> {
    let mut sizes = sizes.clone();
    sizes.lora = config.lora.clone().or(sizes.lora);
    let llm = LlmKind { has_adapters: sizes.lora.is_some(), is_tied: sizes.llm.tie_word_embeddings };
    let learning = Learning::of_tunings(&config.train.tunings(llm)?);
    Ok((sizes, learning))
}
