//! The samples that a run trains on and is validated on.

use std::sync::Arc;

use med2e3_feed::feed::batches_per_epoch;
use med2e3_schemas::sample::{SampleRow, Split, Task};
use med2e3_shards::{Dataset, Samples, Selection};

use crate::TrainerError;
use crate::config::{DataConfig, StepConfig};
use crate::machine::check_memory;

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
        let DataConfig { split: own, subset, tasks, .. } = config;
        let of = |split: Split| selection(&dataset, *own, subset.as_deref(), tasks, split);
        let select = |split: Split| dataset.select(&of(split)).map(Arc::new);
        let samples = select(config.split)?;
        let validation = is_validated.then(|| select(Split::Validation)).transpose()?;
        Ok(TrainData { dataset, samples, validation })
    }

    /// Steps of the whole run.
    ///
    /// # Errors
    /// More than can be counted.
    pub(super) fn total_steps(&self, config: &DataConfig, batch: usize) -> Result<u64, TrainerError> {
        total_steps(self.samples.rows.len(), batch, config.epochs, config.max_steps)
    }

    /// Whether the batches that wait on the host fit the machine's memory.
    ///
    /// # Errors
    /// They do not.
    pub(super) fn check_memory(&self, config: &DataConfig, step: &StepConfig) -> Result<(), TrainerError> {
        let rows = &self.samples.rows;
        let most = |of: fn(&SampleRow) -> usize| rows.iter().map(of).max().unwrap_or(0) as u128;
        let texts = step.batch.min(rows.len()) as u128;
        let volumes = (texts * most(|row| row.volume_ids.len()))
            .min(step.micro_batch.stated().map_or(usize::MAX, |budget| budget.volumes) as u128);
        // Ids and labels, 8 bytes each.
        let ids = texts * 16 * most(|row| row.ids.len());
        let batch = volumes.saturating_mul(self.dataset.voxels().cell_bytes() as u128) + ids;
        let batches = config.readers as u128 * (config.depth as u128 + 2);
        let what = format!("{batches} batches in {} readers", config.readers);
        check_memory("data.depth", batches.saturating_mul(batch), &what)
    }

    /// Identity of the selected samples, as hex.
    pub(super) fn selection_hash(&self) -> String {
        selection_hash(&self.samples)
    }
}

/// Steps of a run over so many samples.
///
/// # Errors
/// More than can be counted.
pub(super) fn total_steps(
    samples: usize,
    batch: usize,
    epochs: u64,
    max_steps: Option<u64>,
) -> Result<u64, TrainerError> {
    let per_epoch = batches_per_epoch(samples, batch);
    let all = epochs.checked_mul(per_epoch).ok_or_else(|| TrainerError::Config {
        key: "data.epochs".into(),
        expected: format!("at most {} of {per_epoch} steps each", u64::MAX / per_epoch),
        found: epochs.to_string(),
    })?;
    Ok(max_steps.map_or(all, |most| all.min(most)))
}

/// What is selected of a split by a run on the split `own`.
pub(super) fn selection(
    dataset: &Dataset,
    own: Split,
    subset: Option<&str>,
    tasks: &[Task],
    split: Split,
) -> Selection {
    // A subset is drawn from the training split, and the validation split is used as it is; a new split has both.
    let subset = subset.filter(|name| split == own || dataset.is_resplit(name)).map(str::to_owned);
    Selection { split, tasks: tasks.to_vec(), subset }
}

/// Identity of selected samples, as hex.
pub(super) fn selection_hash(samples: &Samples) -> String {
    samples.hash.iter().map(|byte| format!("{byte:02x}")).collect()
}
