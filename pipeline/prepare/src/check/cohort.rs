//! A dataset's samples and volumes, reduced to what tells whether two splits share something.

use std::collections::HashMap;

use med2e3_input::perceptual::Look;
use med2e3_schemas::Id;
use med2e3_schemas::sample::{self, SampleRow, Split, Task};
use med2e3_schemas::volume;
use med2e3_shards::{Dataset, ShardError};
use serde::Serialize;

use crate::PrepareError;

/// One sample: what tells whether two splits share it.
pub(crate) struct Row {
    pub(crate) id: Id,
    pub(crate) split: Split,
    pub(crate) case: String,
    pub(crate) report: Option<String>,
    pub(crate) volumes: Vec<Id>,
}

/// What the rows of a cohort are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RowsAre {
    /// Samples.
    Samples,
    /// Volumes, in a dataset without samples.
    Volumes,
}

impl RowsAre {
    /// The word for a message.
    pub fn as_str(self) -> &'static str {
        match self {
            RowsAre::Samples => "samples",
            RowsAre::Volumes => "volumes",
        }
    }
}

/// A dataset's samples and the fingerprints of its volumes.
pub(crate) struct Cohort {
    pub(crate) rows: Vec<Row>,
    pub(crate) voxels: HashMap<Id, [u8; 32]>,
    /// Only volumes that have enough structure to be like another.
    pub(crate) look: HashMap<Id, Look>,
}

impl Cohort {
    /// As [`read`](Self::read); in a dataset without samples each volume is a row of its own.
    pub(crate) fn of_samples_or_volumes(dataset: &Dataset) -> Result<(Cohort, RowsAre), PrepareError> {
        let mut cohort = Cohort::read(dataset)?;
        if !cohort.rows.is_empty() {
            return Ok((cohort, RowsAre::Samples));
        }
        for shard in dataset.volume_shards() {
            for batch in shard.read(&volume::CASES)? {
                let read = volume::cases_from_batch(&batch).map_err(ShardError::schema(shard.path()))?;
                cohort.rows.extend(read.into_iter().map(|(id, case)| Row::of_volume(id, case)));
            }
        }
        Ok((cohort, RowsAre::Volumes))
    }

    pub(crate) fn read(dataset: &Dataset) -> Result<Cohort, PrepareError> {
        let mut rows = Vec::new();
        for shard in dataset.sample_shards() {
            for batch in shard.read(&[])? {
                let read = sample::from_batch(&batch).map_err(ShardError::schema(shard.path()))?;
                rows.extend(read.into_iter().map(Row::of));
            }
        }
        let (mut voxels, mut look) = (HashMap::new(), HashMap::new());
        for shard in dataset.volume_shards() {
            for batch in shard.read(&volume::FINGERPRINT)? {
                for found in volume::fingerprints_from_batch(&batch).map_err(ShardError::schema(shard.path()))? {
                    voxels.insert(found.volume_id, found.content_hash);
                    let seen = Look::from_bytes(&found.perceptual_hash);
                    if seen.tells() {
                        look.insert(found.volume_id, seen);
                    }
                }
            }
        }
        Ok(Cohort { rows, voxels, look })
    }
}

impl Row {
    /// A volume without texts is in no split yet.
    fn of_volume(id: Id, case: Option<String>) -> Row {
        Row { id, split: Split::Train, case: case.unwrap_or_default(), report: None, volumes: vec![id] }
    }

    fn of(row: SampleRow) -> Row {
        // Short answers are equal by nature; a report is not.
        let report =
            (row.task == Task::Caption).then(|| blake3::hash(row.answer.trim().as_bytes()).to_hex().to_string());
        Row { id: row.sample_id, split: row.split, case: row.case_id, report, volumes: row.volume_ids }
    }
}
