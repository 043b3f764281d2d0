//! The samples that a run trains on and is validated on.

use std::sync::Arc;

use med2e3_feed::feed::batches_per_epoch;
use med2e3_schemas::sample::Split;
use med2e3_shards::{Dataset, Samples, Selection};

use crate::TrainerError;
use crate::config::DataConfig;

/// An open dataset and what is selected from it.
pub(super) struct TrainData {
    pub(super) dataset: Arc<Dataset>,
    pub(super) samples: Arc<Samples>,
    /// Where the validation loss is measured.
    pub(super) validation: Option<Arc<Samples>>,
}

impl TrainData {
    pub(super) fn open(config: &DataConfig, is_validated: bool) -> Result<TrainData, TrainerError> {
        let dataset = Arc::new(Dataset::open(&config.dataset)?);
        let select = |split: Split| dataset.select(&selection(&dataset, config, split)).map(Arc::new);
        let samples = select(config.split)?;
        let validation = is_validated.then(|| select(Split::Validation)).transpose()?;
        Ok(TrainData { dataset, samples, validation })
    }

    /// Steps of the whole run.
    ///
    /// # Errors
    /// There are none.
    pub(super) fn total_steps(&self, config: &DataConfig) -> Result<u64, TrainerError> {
        let all = config.epochs * batches_per_epoch(self.samples.rows.len(), config.batch_size);
        let total = config.max_steps.map_or(all, |most| all.min(most));
        if total > 0 {
            return Ok(total);
        }
        Err(TrainerError::Config {
            key: "data.epochs".into(),
            expected: "one step or more".into(),
            found: "none".into(),
        })
    }

    /// Identity of the selected samples, as hex.
    pub(super) fn selection_hash(&self) -> String {
        self.samples.hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn selection(dataset: &Dataset, config: &DataConfig, split: Split) -> Selection {
    // A subset is drawn from the training split, and the validation split is used as it is; a new split has both.
    let subset = config.subset.clone().filter(|name| split == config.split || dataset.is_resplit(name));
    Selection { split, tasks: config.tasks.clone(), subset }
}
