//! Receipts: beside each shard, what its range became and what its inputs were, so that a finished range is known without
//! opening its inputs or its pages.
//!
//! A receipt is written before its shard appears, under a name that holds the shard's identity: whenever a run is killed,
//! the shard that is there finds its own receipt, and the shard's appearance alone decides what is finished.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use med2e3_feed::shard::commit::write_whole;
use med2e3_feed::shard::{ShardReader, ShardWriter};
use med2e3_schemas::Id;
use med2e3_schemas::outcome::{FOOTER_KEY, RangeOutcome};
use med2e3_schemas::quarantine::QuarantineRecord;
use serde::{Deserialize, Serialize};

use super::Committed;
use super::stamp::{CheckInputs, Stamp};
use crate::PrepareError;
use crate::output::Workplace;
use crate::provenance::Provenance;

/// What is known of a finished range.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Receipt {
    /// What the range became.
    pub committed: Committed,
    /// What each input was when it was read, by volume; empty for texts, which have no inputs besides the manifest.
    pub inputs: BTreeMap<Id, Input>,
    /// The rejects in full; the outcome's own may withhold names.
    pub rejects: Vec<QuarantineRecord>,
}

/// An input as it was when it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// The path, relative to the data root.
    pub path: String,
    /// Sizes and times.
    pub times: Stamp,
    /// A hash of the contents, where the run was told to make one.
    pub contents: Option<Stamp>,
}

impl Input {
    /// The input at `root/path` as it is now; to be called before it is read.
    pub(super) fn now(root: &Path, path: &str, check: CheckInputs) -> Input {
        let place = root.join(path);
        let contents = (check == CheckInputs::Full).then(|| Stamp::full(&place));
        Input { path: path.to_owned(), times: Stamp::quick(&place), contents }
    }

    /// The same with the times of every file in it: for an input that was set aside and may be repaired.
    pub(super) fn deepened(self, root: &Path) -> Input {
        Input { times: Stamp::deep(&root.join(&self.path)), ..self }
    }

    /// Whether the input is unchanged, as far as `check` looks.
    pub(super) fn is_unchanged(&self, root: &Path, check: CheckInputs) -> bool {
        let place = root.join(&self.path);
        match check {
            CheckInputs::Quick => self.times.is_current(&place),
            CheckInputs::Full => self.contents.as_ref().is_some_and(|contents| contents.is_current(&place)),
        }
    }
}

/// The rejects of a finished range in full.
///
/// # Errors
/// A receipt that is gone.
pub fn full_rejects(place: &Workplace, table: &str, done: &Committed) -> Result<Vec<QuarantineRecord>, PrepareError> {
    let path = receipt_path(&place.work.join("receipts").join(table), done.range_id, &done.outcome.rows_hash);
    let text = fs::read(&path).map_err(PrepareError::io(&path, "read"))?;
    let receipt: Receipt = serde_json::from_slice(&text).map_err(|e| PrepareError::Engine(Box::new(e)))?;
    Ok(receipt.rejects)
}

fn receipt_path(folder: &Path, range_id: u32, rows_hash: &str) -> PathBuf {
    folder.join(format!("{range_id:05}-{rows_hash}.json"))
}

/// Where a table's shards and their receipts lie.
pub(super) struct ShardPlace {
    dataset: PathBuf,
    receipts: PathBuf,
    table: &'static str,
    recipe_hash: String,
    provenance: Provenance,
}

impl ShardPlace {
    pub(super) fn new(place: &Workplace, table: &'static str, recipe_hash: &str) -> ShardPlace {
        ShardPlace {
            dataset: place.dataset.clone(),
            receipts: place.work.join("receipts").join(table),
            table,
            recipe_hash: recipe_hash.to_owned(),
            provenance: place.provenance.clone(),
        }
    }

    /// The outcome of a range of which nothing is done yet.
    pub(super) fn outcome(&self, range_hash: String, manifest_rows: usize) -> RangeOutcome {
        let recipe_hash = self.recipe_hash.clone();
        RangeOutcome { recipe_hash, range_hash, manifest_rows: manifest_rows as u64, ..RangeOutcome::default() }
    }

    pub(super) fn table(&self) -> &'static str {
        self.table
    }

    pub(super) fn relative(&self, range_id: u32) -> String {
        format!("{}/{range_id:05}.parquet", self.table)
    }

    pub(super) fn path(&self, range_id: u32) -> PathBuf {
        self.dataset.join(self.relative(range_id))
    }

    /// The shard that an earlier run made for this range under the same recipe, with its receipt.
    pub(super) fn find(&self, range_id: u32) -> Option<(ShardReader, Receipt)> {
        let reader = ShardReader::open(&self.path(range_id)).ok()?;
        let outcome = reader.outcome().filter(|outcome| outcome.recipe_hash == self.recipe_hash)?;
        let text = fs::read(self.receipt(range_id, &outcome.rows_hash)).ok()?;
        let receipt: Receipt = serde_json::from_slice(&text).ok()?;
        let entry = &receipt.committed.shard;
        let same = entry.bytes == reader.bytes() && receipt.committed.outcome == outcome;
        same.then_some((reader, receipt))
    }

    /// Ends the shard, writes its receipt, makes the shard appear, and removes receipts of shards that were there before.
    ///
    /// `rows` is the digest of the shard's rows, which with the outcome makes the shard's identity.
    pub(super) fn commit(
        &self,
        writer: ShardWriter,
        rows: Id,
        mut committed: Committed,
        inputs: BTreeMap<Id, Input>,
    ) -> Result<Committed, PrepareError> {
        let json = |outcome: &RangeOutcome| serde_json::to_string(outcome).expect("an outcome is plain data");
        let range_id = committed.range_id;
        let told = committed.outcome.rejects.iter().map(|record| self.provenance.record(record)).collect();
        let rejects = std::mem::replace(&mut committed.outcome.rejects, told);
        committed.outcome.rows_hash = Id::of_parts([&rows.0[..], json(&committed.outcome).as_bytes()]).to_string();
        let shard = writer.finish(&self.relative(range_id), &[(FOOTER_KEY, json(&committed.outcome))])?;
        committed.shard = shard.entry().clone();
        let path = self.receipt(range_id, &committed.outcome.rows_hash);
        let receipt = Receipt { committed, inputs, rejects };
        write_whole(&path, &serde_json::to_vec(&receipt).expect("a receipt is plain data"))?;
        shard.publish()?;
        self.remove_others(range_id, &path)?;
        Ok(receipt.committed)
    }

    fn receipt(&self, range_id: u32, rows_hash: &str) -> PathBuf {
        receipt_path(&self.receipts, range_id, rows_hash)
    }

    fn remove_others(&self, range_id: u32, keep: &Path) -> Result<(), PrepareError> {
        let lead = format!("{range_id:05}-");
        let entries = fs::read_dir(&self.receipts).map_err(PrepareError::io(&self.receipts, "list"))?;
        for path in entries.flatten().map(|entry| entry.path()) {
            let ours = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&lead));
            if ours && path != keep {
                fs::remove_file(&path).map_err(PrepareError::io(&path, "remove"))?;
            }
        }
        Ok(())
    }
}
