//! A dataset's samples and volumes, reduced to what tells whether two splits share something.

use std::collections::{BTreeSet, HashMap};

use med2e3_schemas::Id;
use med2e3_schemas::look::Look;
use med2e3_schemas::sample::{self, SampleRow, Split, Task};
use med2e3_schemas::volume;

use crate::{Dataset, ShardError};

/// One sample: what tells whether two splits share it.
pub struct Row {
    /// Its key.
    pub id: Id,
    /// Its part of the study.
    pub split: Split,
    /// Its case; empty where it has none, and so shares none.
    pub case: String,
    /// Hash of its text, where that is a report. Short answers are equal by nature.
    pub report: Option<String>,
    /// Its volumes.
    pub volumes: Vec<Id>,
}

/// What two samples may share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The case.
    Case,
    /// The report.
    Report,
    /// Voxels, value by value.
    Voxels,
    /// How their volumes look.
    Look,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 4] = [Kind::Case, Kind::Report, Kind::Voxels, Kind::Look];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Case => "case",
            Kind::Report => "report",
            Kind::Voxels => "voxels",
            Kind::Look => "look",
        }
    }
}

/// A dataset's samples and the fingerprints of its volumes.
pub struct Cohort {
    /// The samples, or the volumes of a dataset without samples.
    pub rows: Vec<Row>,
    /// The hash of each volume's values.
    pub voxels: HashMap<Id, [u8; 32]>,
    /// Only volumes that have enough structure to be like another.
    pub look: HashMap<Id, Look>,
}

impl Cohort {
    /// Each volume as a row of its own, for a dataset without samples.
    ///
    /// # Errors
    /// As [`Cohort::read`].
    pub fn of_volumes(dataset: &Dataset) -> Result<Cohort, ShardError> {
        let mut rows = Vec::new();
        for shard in dataset.volume_shards() {
            let shard = shard?;
            for batch in shard.read(&volume::CASES)? {
                let read = volume::cases_from_batch(&batch).map_err(ShardError::schema(shard.path()))?;
                rows.extend(read.into_iter().map(|(id, case)| Row::of_volume(id, case)));
            }
        }
        Cohort::with_fingerprints(dataset, rows)
    }

    /// Every sample.
    ///
    /// # Errors
    /// A shard that can't be read.
    pub fn read(dataset: &Dataset) -> Result<Cohort, ShardError> {
        let mut rows = Vec::new();
        for shard in dataset.sample_shards() {
            let shard = shard?;
            for batch in shard.read(&[])? {
                let read = sample::from_batch(&batch).map_err(ShardError::schema(shard.path()))?;
                rows.extend(read.into_iter().map(Row::of));
            }
        }
        Cohort::with_fingerprints(dataset, rows)
    }

    fn with_fingerprints(dataset: &Dataset, rows: Vec<Row>) -> Result<Cohort, ShardError> {
        let (mut voxels, mut look) = (HashMap::new(), HashMap::new());
        for shard in dataset.volume_shards() {
            let shard = shard?;
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

impl Cohort {
    /// What a row has of a kind, to be compared with what others have: nothing of looks, which are no equal things.
    pub fn keys(&self, kind: Kind, row: &Row) -> Vec<String> {
        let hex = |hash: &[u8; 32]| blake3::Hash::from_bytes(*hash).to_hex().to_string();
        match kind {
            Kind::Case if row.case.is_empty() => Vec::new(),
            Kind::Case => vec![row.case.clone()],
            Kind::Report => row.report.iter().cloned().collect(),
            Kind::Voxels => row.volumes.iter().filter_map(|id| self.voxels.get(id)).map(hex).collect(),
            Kind::Look => Vec::new(),
        }
    }

    /// The distinct volumes of rows that have enough structure to be like another, by id.
    pub fn looks<'a>(&self, rows: impl Iterator<Item = &'a Row>) -> Vec<(Id, Look)> {
        let ids: BTreeSet<Id> = rows.flat_map(|row| row.volumes.iter().copied()).collect();
        ids.into_iter().filter_map(|id| Some((id, *self.look.get(&id)?))).collect()
    }
}

impl Row {
    /// A volume without texts is in no split yet.
    fn of_volume(id: Id, case: Option<String>) -> Row {
        Row { id, split: Split::Train, case: case.unwrap_or_default(), report: None, volumes: vec![id] }
    }

    fn of(row: SampleRow) -> Row {
        let report =
            (row.task == Task::Caption).then(|| blake3::hash(row.answer.trim().as_bytes()).to_hex().to_string());
        Row { id: row.sample_id, split: row.split, case: row.case_id, report, volumes: row.volume_ids }
    }
}
