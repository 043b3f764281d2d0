//! One table: the work over those of its ranges that no earlier run has finished.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use med2e3_program::WorkPart;
use med2e3_schemas::index::ShardEntry;
use rayon::ThreadPool;
use rayon::prelude::*;

use crate::PrepareError;
use crate::engine;
use crate::progress::{RowProgress, StepSeconds};
use crate::run::{Ranges, RunFolder};
use crate::work::{Committed, WorkSpec};

/// What one table's ranges became, in their order.
#[derive(Default)]
pub(super) struct DoneTable {
    pub(super) ranges: Vec<Committed>,
    /// Numbers of the ranges that this run made.
    fresh: HashSet<u32>,
    pub(super) seconds: StepSeconds,
}

/// Runs the work of `part` that is not done yet.
pub(super) async fn run(
    folder: &RunFolder,
    spec: &WorkSpec,
    ranges: &Ranges,
    threads: &Arc<ThreadPool>,
    part: WorkPart,
) -> Result<DoneTable, PrepareError> {
    if ranges.hashes.is_empty() {
        return Ok(DoneTable::default());
    }
    let progress = Arc::new(RowProgress::new(ranges.rows, spec.table.as_str()));
    let work = spec.open(threads.clone(), progress.clone())?;
    let wanted: Vec<u32> = (0..ranges.hashes.len() as u32).filter(|range| part.holds(*range)).collect();
    let finished = |range: &u32| work.finished(*range, &ranges.hashes[*range as usize]);
    let mut done: Vec<Committed> = threads.install(|| wanted.par_iter().filter_map(finished).collect());
    let known: HashSet<u32> = done.iter().map(|range| range.range_id).collect();
    let fresh: Vec<u32> = wanted.into_iter().filter(|range| !known.contains(range)).collect();
    if !fresh.is_empty() {
        folder.remove_index()?;
        let manifest = folder.work.join(spec.table.as_str());
        let made = engine::run(&manifest, &fresh, work.clone(), threads.current_num_threads()).await?;
        // A shard of other rows than the manifest's is made again by the next run, which sees that it is another range's.
        let differs = |made: &&Committed| made.outcome.range_hash != ranges.hashes[made.range_id as usize];
        if made.iter().find(differs).is_some() || made.len() != fresh.len() {
            let expected = "the ranges of the manifest's tables";
            return Err(PrepareError::WorkingFile { path: manifest, expected });
        }
        done.extend(made);
        done.sort_by_key(|range| range.range_id);
    }
    progress.finish();
    Ok(DoneTable { ranges: done, fresh: fresh.into_iter().collect(), seconds: work.clock().seconds() })
}

impl DoneTable {
    /// The ranges that this run made.
    pub(super) fn fresh(&self) -> impl Iterator<Item = &Committed> {
        self.ranges.iter().filter(|range| self.fresh.contains(&range.range_id))
    }

    /// The shards, for the index.
    pub(super) fn shards(&self) -> Vec<ShardEntry> {
        self.ranges.iter().map(|range| range.shard.clone()).collect()
    }

    /// Samples by split, then by task and topic.
    pub(super) fn counts(&self) -> BTreeMap<String, BTreeMap<String, u64>> {
        let mut all = BTreeMap::new();
        for (split, counts) in self.ranges.iter().flat_map(|range| &range.counts) {
            let total: &mut BTreeMap<String, u64> = all.entry(split.clone()).or_default();
            counts.iter().for_each(|(key, count)| *total.entry(key.clone()).or_default() += count);
        }
        all
    }
}
