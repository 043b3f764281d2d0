//! Receipts: for each shard, what its range became and what its inputs were, so that a finished range is known without
//! opening its inputs or its pages.
//!
//! A receipt is written before its shard appears, under a name that holds the shard's identity: whenever a run is killed,
//! the shard on the disk has its own receipt, and the shard's appearance alone decides what is finished.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use med2e3_schemas::Id;
use med2e3_schemas::outcome::{FOOTER_KEY, RangeOutcome};
use med2e3_schemas::quarantine::{QuarantineRecord, Table};
use med2e3_shards::{ShardReader, ShardWriter};
use med2e3_store::{LocalFolder, Store, get_whole};
use serde::{Deserialize, Serialize};

use super::{Committed, WorkSpec};
use crate::PrepareError;
use crate::config::CheckInputs;
use crate::manifest::Stamp;
use crate::provenance::Provenance;
use crate::sealed;

/// What is known of a finished range.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Receipt {
    /// What the range became.
    pub(super) committed: Committed,
    /// What each input was when it was read, by volume; empty for texts, which have no inputs besides the manifest.
    pub(super) inputs: BTreeMap<Id, Input>,
    /// The rejects in full; the outcome's own may withhold names.
    pub(super) rejects: Vec<QuarantineRecord>,
}

/// An input as it was when it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Input {
    /// The path, relative to the data root.
    pub(super) path: String,
    /// Sizes and times.
    times: Stamp,
    /// A hash of the contents, where the run was asked for one.
    contents: Option<Stamp>,
}

impl Input {
    /// The input at `root/path` as it is now; to be called before it is read.
    pub(super) fn now(root: &Path, path: &str, check: CheckInputs) -> Input {
        let absolute = root.join(path);
        let contents = (check == CheckInputs::Full).then(|| Stamp::full(&absolute));
        Input { path: path.to_owned(), times: Stamp::quick(&absolute), contents }
    }

    /// The same with the times of every file in it: for an input that was set aside and may be repaired.
    pub(super) fn deepened(self, root: &Path) -> Input {
        Input { times: Stamp::deep(&root.join(&self.path)), ..self }
    }

    /// Whether the input is unchanged, as far as `check` looks.
    pub(super) fn is_unchanged(&self, root: &Path, check: CheckInputs) -> bool {
        let path = root.join(&self.path);
        match check {
            CheckInputs::Quick => self.times.is_current(&path),
            CheckInputs::Full => self.contents.as_ref().is_some_and(|contents| contents.is_current(&path)),
        }
    }
}

/// The rejects of a finished range in full.
///
/// # Errors
/// A receipt that is missing or damaged.
pub fn full_rejects(receipts: &LocalFolder, done: &Committed) -> Result<Vec<QuarantineRecord>, PrepareError> {
    let name = receipt_name(done.range_id, &done.outcome.rows_hash);
    let text = get_whole(receipts, &name)?;
    let path = receipts.root().join(name);
    let receipt: Option<Receipt> = sealed::open(&text);
    let damaged = || PrepareError::WorkingFile { path, expected: "the receipt of a range" };
    Ok(receipt.ok_or_else(damaged)?.rejects)
}

fn receipt_name(range_id: u32, rows_hash: &str) -> String {
    format!("{range_id:05}-{rows_hash}.json")
}

/// A table's shards and their receipts.
pub(super) struct ShardFiles {
    dataset: PathBuf,
    receipts: Arc<dyn Store>,
    table: Table,
    recipe_hash: String,
    provenance: Provenance,
}

impl ShardFiles {
    pub(super) fn new(spec: &WorkSpec, provenance: Provenance) -> ShardFiles {
        ShardFiles {
            dataset: spec.dataset.clone(),
            receipts: Arc::new(LocalFolder::new(&spec.work.join("receipts").join(spec.table.shard_folder()))),
            table: spec.table,
            recipe_hash: spec.recipe_hash.clone(),
            provenance,
        }
    }

    /// The outcome of a range of which nothing is done yet.
    pub(super) fn outcome(&self, range_hash: String, manifest_rows: usize) -> RangeOutcome {
        let recipe_hash = self.recipe_hash.clone();
        RangeOutcome { recipe_hash, range_hash, manifest_rows: manifest_rows as u64, ..RangeOutcome::default() }
    }

    pub(super) fn table(&self) -> Table {
        self.table
    }

    pub(super) fn relative(&self, range_id: u32) -> String {
        format!("{}/{range_id:05}.parquet", self.table.shard_folder())
    }

    pub(super) fn path(&self, range_id: u32) -> PathBuf {
        self.dataset.join(self.relative(range_id))
    }

    /// The shard that an earlier run made for this range under the same recipe, with its receipt.
    pub(super) fn find(&self, range_id: u32) -> Option<(ShardReader, Receipt)> {
        let reader = ShardReader::open(&self.path(range_id)).ok()?;
        let outcome = reader.outcome().filter(|outcome| outcome.recipe_hash == self.recipe_hash)?;
        let text = get_whole(self.receipts.as_ref(), &receipt_name(range_id, &outcome.rows_hash)).ok()?;
        let receipt: Receipt = sealed::open(&text)?;
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
        let public = committed.outcome.rejects.iter().map(|record| self.provenance.record(record)).collect();
        let rejects = std::mem::replace(&mut committed.outcome.rejects, public);
        committed.outcome.rows_hash = Id::of_parts([&rows.0[..], json(&committed.outcome).as_bytes()]).to_string();
        let shard = writer.finish(&self.relative(range_id), &[(FOOTER_KEY, json(&committed.outcome))])?;
        committed.shard = shard.entry().clone();
        let name = receipt_name(range_id, &committed.outcome.rows_hash);
        let receipt = Receipt { committed, inputs, rejects };
        self.receipts.put_whole(&name, &sealed::seal(&receipt))?;
        shard.publish()?;
        self.remove_others(range_id, &name)?;
        Ok(receipt.committed)
    }

    fn remove_others(&self, range_id: u32, keep: &str) -> Result<(), PrepareError> {
        let start = format!("{range_id:05}-");
        for entry in self.receipts.list("")? {
            if entry.path.starts_with(&start) && entry.path != keep {
                self.receipts.remove(&entry.path)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use med2e3_schemas::quarantine::Reason;
    use med2e3_shards::PageLayout;
    use med2e3_store::Memory;

    fn commit(files: &ShardFiles, number: i64) -> Committed {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![number]));
        let batch = RecordBatch::try_from_iter([("number", column)]).unwrap();
        let mut writer = ShardWriter::create(&files.path(3), batch.schema(), PageLayout::Table).unwrap();
        writer.write(&batch).unwrap();
        let mut outcome = files.outcome("range".into(), 2);
        outcome.rows = 1;
        outcome.rejects.push(QuarantineRecord {
            table: Table::Volumes,
            ordinal: 1,
            path: "Doe".into(),
            row: "Doe".into(),
            reason: Reason::NotFound,
            detail: "Doe".into(),
            byte_offset: None,
        });
        let committed = Committed { range_id: 3, outcome, ..Committed::default() };
        files.commit(writer, Id::of_volume(&number.to_string()), committed, BTreeMap::new()).unwrap()
    }

    #[test]
    fn a_shard_finds_its_own_receipt_wherever_receipts_are() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("volumes")).unwrap();
        let files = ShardFiles {
            dataset: folder.path().to_owned(),
            receipts: Arc::new(Memory::default()),
            table: Table::Volumes,
            recipe_hash: "recipe".into(),
            provenance: Provenance::open(crate::provenance::Paths::Hash, folder.path()).unwrap(),
        };
        assert!(files.find(3).is_none());
        let first = commit(&files, 1);
        // What is public withholds the name, the receipt has it.
        assert!(!serde_json::to_string(&first).unwrap().contains("Doe"));
        let (_, receipt) = files.find(3).unwrap();
        assert_eq!((receipt.rejects[0].path.as_str(), receipt.committed), ("Doe", first.clone()));
        // Another shard of the range replaces it, and the earlier receipt is removed.
        let second = commit(&files, 2);
        assert_ne!(first.outcome.rows_hash, second.outcome.rows_hash);
        assert_eq!(files.find(3).unwrap().1.committed, second);
        assert_eq!(files.receipts.list("").unwrap().len(), 1);
    }
}
