//! What is done to one range of a manifest: its rows read, mapped and committed as one shard.

mod texts;
mod volumes;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use med2e3_feed::shard::commit::write_whole;
use med2e3_feed::shard::{ShardReader, ShardWriter};
use med2e3_schemas::index::ShardEntry;
use med2e3_schemas::manifest::keys_of;
use med2e3_schemas::outcome::{FOOTER_KEY, RangeOutcome};
use med2e3_schemas::{Id, SchemaError};

use serde::{Deserialize, Serialize};

pub use texts::Texts;
pub use volumes::Volumes;

use crate::PrepareError;
use crate::progress::StepClock;

/// Work on the ranges of one manifest table. A range's shard depends on its rows and the recipe alone.
pub trait RangeWork: Send + Sync {
    /// The table's word: the folder of its shards.
    fn table(&self) -> &'static str;

    /// Turns the range's rows into a shard, or finds it there from an earlier run. Blocks; safe to call from several
    /// threads for different ranges.
    ///
    /// # Errors
    /// A manifest that breaks its schema, a shard that can't be written. A bad input is no error but a reject.
    fn commit(&self, range_id: u32, rows: &[RecordBatch]) -> Result<Committed, PrepareError>;

    /// Thread time by step, over all ranges so far.
    fn clock(&self) -> &StepClock;
}

/// One committed range: small enough to travel between operators and machines.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Committed {
    /// The range.
    pub range_id: u32,
    /// Its shard.
    pub shard: ShardEntry,
    /// What became of its rows.
    pub outcome: RangeOutcome,
    /// Bytes of source files read.
    pub bytes_read: u64,
    /// Whether an earlier run had committed it.
    pub reused: bool,
    /// Sample rows by split and `task.topic`; empty for volumes.
    pub counts: BTreeMap<String, BTreeMap<String, u64>>,
}

/// A range's rows, each with its place in the manifest's table.
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

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Where a table's shards lie and which recipe they follow.
struct ShardPlace {
    dataset: PathBuf,
    table: &'static str,
    recipe_hash: String,
}

impl ShardPlace {
    fn new(dataset: &Path, table: &'static str, recipe_hash: &str) -> ShardPlace {
        ShardPlace { dataset: dataset.to_owned(), table, recipe_hash: recipe_hash.to_owned() }
    }

    fn relative(&self, range_id: u32) -> String {
        format!("{}/{range_id:05}.parquet", self.table)
    }

    fn path(&self, range_id: u32) -> PathBuf {
        self.dataset.join(self.relative(range_id))
    }

    /// A range's identity: its manifest rows, as text that names every field.
    fn range_hash(rows: &[impl std::fmt::Debug]) -> String {
        let id = Id::of_parts(
            rows.iter().map(|row| format!("{row:?}").into_bytes()).collect::<Vec<_>>().iter().map(Vec::as_slice),
        );
        id.to_string()
    }

    /// The shard of an earlier run, if it stands for the same rows under the same recipe.
    fn finished(&self, range_id: u32, range_hash: &str) -> Option<(ShardReader, RangeOutcome)> {
        let reader = ShardReader::open(&self.path(range_id)).ok()?;
        let outcome = reader.outcome()?;
        let same = outcome.range_hash == range_hash && outcome.recipe_hash == self.recipe_hash;
        same.then_some((reader, outcome))
    }

    /// What the inputs of a range were when its shard was made. It stands beside the dataset's shards, not in them: a
    /// shard's bytes depend on manifest and recipe alone.
    fn stamp(&self, range_id: u32) -> Option<String> {
        fs::read_to_string(self.stamp_path(range_id)).ok()
    }

    fn write_stamp(&self, range_id: u32, stamp: &str) -> Result<(), PrepareError> {
        Ok(write_whole(&self.stamp_path(range_id), stamp.as_bytes())?)
    }

    fn stamp_path(&self, range_id: u32) -> PathBuf {
        self.dataset.join(format!("manifest/inputs/{range_id:05}"))
    }

    fn commit(&self, writer: ShardWriter, range_id: u32, outcome: &RangeOutcome) -> Result<ShardEntry, PrepareError> {
        let text = serde_json::to_string(outcome).expect("an outcome is plain data");
        Ok(writer.commit(&self.relative(range_id), &[(FOOTER_KEY, text)])?)
    }
}
