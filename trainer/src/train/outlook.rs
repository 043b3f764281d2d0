//! What of a run is known before its first step: sizes, what learns, samples, steps.

use std::sync::Arc;

use med2e3_shards::Samples;

use super::data::TrainData;
use super::start::Origin;
use crate::TrainerError;
use crate::config::TrainConfig;
use crate::fit;
use crate::model::Med2e3Config;
use crate::plan::learning::Learning;

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
    let mut sizes = Origin::of_start(config, &data.dataset)?.sizes()?;
    fit::check(&sizes, &data.dataset)?;
    sizes.lora = config.model.lora.clone().or(sizes.lora);
    let learning = Learning::of_parts(&config.model.train, sizes.lora.is_some());
    let steps = data.total_steps(&config.data, config.step.batch)?;
    Ok(Planned { sizes, learning, samples: data.samples, steps })
}
