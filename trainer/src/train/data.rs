//! The samples that a run trains on and is validated on.

use std::sync::Arc;

use med2e3_feed::feed::HELD;
use med2e3_feed::{FeedError, Steps, Tail};
use med2e3_program::note;
use med2e3_schemas::sample::{Split, Task};
use med2e3_shards::{Dataset, Samples, Selection, places, texts};

use crate::TrainerError;
use crate::config::DataConfig;
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
        for file in [places::FILE, texts::FILE] {
            if !config.dataset.join(file).exists() {
                let shards = config.dataset.display();
                note(format_args!("note: {shards} has no {file}: its shards are read once to make it"));
            }
        }
        let DataConfig { split: own, subset, tasks, .. } = config;
        let of = |split: Split| selection(&dataset, *own, subset.as_deref(), tasks, split);
        let select = |split: Split| dataset.select(&of(split)).map(Arc::new);
        let samples = select(config.split)?;
        let validation = is_validated.then(|| select(Split::Validation)).transpose()?;
        Ok(TrainData { dataset, samples, validation })
    }

    /// Steps of the whole run, of which `done` led to a position, in samples since the run began.
    ///
    /// # Errors
    /// As [`total_steps`].
    pub(super) fn total_steps(
        &self,
        config: &DataConfig,
        batch: usize,
        done: u64,
        position: u64,
    ) -> Result<u64, TrainerError> {
        let steps = Steps::new(self.samples.len() as u64, config.epochs, batch as u64, config.tail, position);
        total_steps(steps, done, config.max_steps)
    }

    /// What becomes of the samples that are too few for a step, where there are some.
    pub(super) fn tail_in_words(&self, config: &DataConfig, batch: usize, position: u64) -> Option<String> {
        let samples = self.samples.len() as u64;
        let rest = Steps::new(samples, config.epochs, batch as u64, config.tail, position).ok()?.rest();
        (rest > 0).then(|| match config.tail {
            Tail::Keep => format!("the last step of an epoch has {rest} of {batch} samples"),
            Tail::Drop => {
                format!("an epoch leaves out its last {rest} of {samples} samples, too few for a step of {batch}")
            }
            Tail::Straddle => format!("the last step of the last epoch has {rest} of {batch} samples"),
        })
    }

    /// Whether the micro-batches that wait on the host fit the machine's memory, of so many texts a step and so many volumes at
    /// once. While the validation loss is measured its own wait beside those of training.
    ///
    /// # Errors
    /// They do not.
    pub(super) fn check_memory(&self, config: &DataConfig, batch: usize, volumes: usize) -> Result<(), TrainerError> {
        let (batches, bytes) = self.waiting(config, batch, volumes);
        let what = format!("{batches} micro-batches that are made ahead");
        check_memory("data.depth", bytes, &what)
    }

    /// Micro-batches that wait at most, and their bytes.
    fn waiting(&self, config: &DataConfig, batch: usize, volumes: usize) -> (u128, u128) {
        let of_feed = config.depth as u128 + HELD as u128;
        let cell = self.dataset.voxels().cell_bytes() as u128;
        let feeds = std::iter::once(&self.samples).chain(&self.validation);
        let batches = feeds.clone().count() as u128 * of_feed;
        let bytes_of = |samples: &Arc<Samples>| {
            let most = |of: fn(&Samples, usize) -> usize| {
                (0..samples.len()).map(|position| of(samples, position)).max().unwrap_or(0) as u128
            };
            let texts = batch.min(samples.len()) as u128;
            let volumes = (texts * most(Samples::volume_count)).min(volumes as u128);
            // Ids and labels, 8 bytes each.
            volumes.saturating_mul(cell) + texts * 16 * most(Samples::ids_len)
        };
        (batches, feeds.map(bytes_of).fold(0, |sum: u128, bytes| sum.saturating_add(of_feed.saturating_mul(bytes))))
    }

    /// Identity of the selected samples, as hex.
    pub(super) fn selection_hash(&self) -> String {
        selection_hash(&self.samples)
    }
}

/// Steps of a run: those that are done, and those that are left, up to the most that are asked for.
///
/// # Errors
/// Steps that do not fit the samples, or more than can be counted.
pub(super) fn total_steps(
    left: Result<Steps, FeedError>,
    done: u64,
    max_steps: Option<u64>,
) -> Result<u64, TrainerError> {
    let all = done.saturating_add(left.map_err(of_keys)?.count());
    Ok(max_steps.map_or(all, |most| all.min(most)))
}

/// An order or steps that do not fit, by the configuration's key.
pub(super) fn of_keys(problem: FeedError) -> TrainerError {
    let FeedError::Plan { what, expected, found } = problem else { return problem.into() };
    let key = match what.as_str() {
        "epochs" | "the cursor's position" => "data.epochs",
        "the batch" => "step.batch",
        "the seed" => "seed",
        "the tail" => "data.tail",
        "the order" | "the mix" => "data.order",
        _ => "data",
    };
    TrainerError::Config { key: key.into(), expected, found }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TrainConfig;
    use crate::train::wild::{BASE, write_dataset};
    use med2e3_schemas::config::parse;

    #[test]
    fn what_waits_are_micro_batches_of_both_feeds() {
        let folder = tempfile::tempdir().unwrap();
        write_dataset(folder.path());
        let text = BASE.replace("DATASET", folder.path().to_str().unwrap());
        let set = ["data.readers=3", "data.depth=2"].map(String::from);
        let config: TrainConfig = parse("run.toml", &text, &set).unwrap();
        let waiting = |is_validated: bool, volumes: usize| {
            TrainData::open(&config.data, is_validated).unwrap().waiting(&config.data, 4, volumes)
        };
        // Cells of 128 bytes, six ids and labels a text.
        let batch = |volumes: u128| volumes * 128 + 4 * 16 * 6;
        assert_eq!(waiting(false, 1), (4, 4 * batch(1)));
        assert_eq!(waiting(false, usize::MAX), (4, 4 * batch(4)));
        assert_eq!(waiting(true, 2), (8, 8 * batch(2)));
    }

    #[test]
    fn the_samples_of_a_tail_are_counted_beforehand() {
        let folder = tempfile::tempdir().unwrap();
        write_dataset(folder.path());
        let text = BASE.replace("DATASET", folder.path().to_str().unwrap());
        let mut config: TrainConfig = parse("run.toml", &text, &["data.epochs=3".to_owned()]).unwrap();
        let data = TrainData::open(&config.data, false).unwrap();
        let samples = data.samples.len();
        let batch = samples - 1;
        let mut said = |tail, batch: usize, position| {
            config.data.tail = tail;
            data.tail_in_words(&config.data, batch, position)
        };
        assert_eq!(said(Tail::Keep, batch, 0), Some(format!("the last step of an epoch has 1 of {batch} samples")));
        let left_out = format!("an epoch leaves out its last 1 of {samples} samples, too few for a step of {batch}");
        assert_eq!(said(Tail::Drop, batch, 0), Some(left_out));
        let last = format!("the last step of the last epoch has 3 of {batch} samples");
        assert_eq!(said(Tail::Straddle, batch, 0), Some(last));
        for tail in [Tail::Keep, Tail::Drop, Tail::Straddle] {
            assert_eq!(said(tail, samples, 0), None);
        }
    }
}
