//! A dataset's samples and volumes, reduced to what tells whether two splits share something.

use std::collections::HashMap;

use med2e3_input::perceptual::Look;
use med2e3_schemas::Id;
use med2e3_schemas::sample::{self, SampleRow, Split, Task};
use med2e3_schemas::volume;
use med2e3_shards::{Dataset, ShardError};

use crate::PrepareError;

/// One sample: what tells whether two splits share it.
pub(crate) struct Row {
    pub(crate) id: Id,
    pub(crate) split: Split,
    pub(crate) case: String,
    pub(crate) report: Option<String>,
    pub(crate) volumes: Vec<Id>,
}

/// A dataset's samples and the fingerprints of its volumes.
pub(crate) struct Cohort {
    pub(crate) rows: Vec<Row>,
    pub(crate) voxels: HashMap<Id, [u8; 32]>,
    /// Only volumes that have enough structure to be like another.
    pub(crate) look: HashMap<Id, Look>,
}

impl Cohort {
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
    fn of(row: SampleRow) -> Row {
        // Short answers are equal by nature; a report is not.
        let report =
            (row.task == Task::Caption).then(|| blake3::hash(row.answer.trim().as_bytes()).to_hex().to_string());
        Row { id: row.sample_id, split: row.split, case: row.case_id, report, volumes: row.volume_ids }
    }
}
