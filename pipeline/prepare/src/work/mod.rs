//! What is done to one range of a manifest: its rows read, mapped and committed as one shard.

mod receipt;
mod spec;
mod texts;
mod volumes;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use med2e3_schemas::index::ShardEntry;
use med2e3_schemas::manifest::keys_of;
use med2e3_schemas::outcome::RangeOutcome;
use med2e3_schemas::quarantine::Table;
use med2e3_schemas::sample::{Task, Topic};
use med2e3_schemas::{Id, SchemaError};
use serde::{Deserialize, Serialize};

pub use receipt::full_rejects;
pub use spec::WorkSpec;
use texts::Texts;
use volumes::Volumes;

use crate::PrepareError;
use crate::progress::StepClock;

/// Work on the ranges of one manifest table. A range's shard depends on its rows and the recipe alone.
pub trait RangeWork: Send + Sync {
    /// The table.
    fn table(&self) -> Table;

    /// What the range became in an earlier run, if its manifest rows, its recipe and its inputs are the same still.
    fn finished(&self, range_id: u32, range_hash: &str) -> Option<Committed>;

    /// What [`commit`](Self::commit) would do with the range's rows. Looks at stamps of inputs, and at the ids of an earlier
    /// shard: a row whose voxels the disk has damaged is not told from a sound one.
    ///
    /// # Errors
    /// A manifest that breaks its schema; inputs that the machine fails to look at.
    fn outlook(&self, range_id: u32, rows: &[RecordBatch]) -> Result<Outlook, PrepareError>;

    /// The volumes of which the range's shard of an earlier run was made, and whether the input of each is the same still; none
    /// for texts.
    fn earlier_inputs(&self, range_id: u32) -> Vec<(Id, bool)>;

    /// Turns the range's rows into a shard; rows of an earlier shard whose inputs are unchanged are copied from it. Blocks;
    /// safe to call from several threads for different ranges.
    ///
    /// # Errors
    /// A manifest that breaks its schema, a shard that can't be written. A bad input is no error but a reject.
    fn commit(&self, range_id: u32, rows: &[RecordBatch]) -> Result<Committed, PrepareError>;

    /// Thread time by step, over all ranges so far.
    fn clock(&self) -> &Arc<StepClock>;
}

/// What becomes of a range's rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outlook {
    /// Rows that an earlier shard has and that are copied from it, or set aside as before.
    pub kept: u64,
    /// Rows that are made, or set aside, anew.
    pub made: u64,
    /// Of these, volumes whose input is read.
    pub inputs_read: u64,
}

impl Outlook {
    /// Adds another range's.
    pub fn add(&mut self, other: Outlook) {
        self.kept += other.kept;
        self.made += other.made;
        self.inputs_read += other.inputs_read;
    }
}

/// One committed range: small enough to travel between operators and machines.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Committed {
    /// The range.
    pub range_id: u32,
    /// Its shard.
    pub shard: ShardEntry,
    /// What became of its rows.
    pub outcome: RangeOutcome,
    /// Bytes of source files read.
    pub bytes_read: u64,
    /// Inputs that were read; the other rows were copied from an earlier shard.
    pub inputs_read: u64,
    /// Sample rows by split and `task.topic`; empty for volumes.
    pub counts: BTreeMap<String, BTreeMap<String, u64>>,
}

/// A range's rows, each with its ordinal in the manifest's table.
fn entries_of<T>(
    rows: &[RecordBatch],
    read: impl Fn(&RecordBatch) -> Result<Vec<T>, SchemaError>,
) -> Result<Vec<(u64, T)>, PrepareError> {
    let mut entries = Vec::new();
    for batch in rows {
        let ordinals = keys_of(batch)?.into_iter().map(|(_, ordinal)| ordinal);
        entries.extend(ordinals.zip(read(batch)?));
    }
    Ok(entries)
}

/// What a sample counts as in the index, such as `closed_vqa.plane`.
pub(crate) fn count_key(task: Task, topic: Option<Topic>) -> String {
    topic.map_or(task.to_string(), |topic| format!("{task}.{topic}"))
}
