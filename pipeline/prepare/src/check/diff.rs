//! `diff`: what a rerun of a dataset's preparation would do, before it does it.
//!
//! The decisions are those of the run itself: whether its tables are the same still, which ranges are finished, which rows an
//! earlier shard has. Only the manifest, stamps of inputs and ids of shards are looked at, and nothing is written.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use med2e3_schemas::Id;
use med2e3_schemas::manifest::{keys_of, texts_from_batch, volumes_from_batch};
use med2e3_schemas::quarantine::Table;
use med2e3_shards::{ShardError, ShardReader, index};
use rayon::prelude::*;
use serde::Serialize;

use crate::PrepareError;
use crate::config::PrepareConfig;
use crate::run::{
    Cut, Difference, Ranges, RecipeHashes, RunFolder, Tables, TextTools, check_threads, configuration_of, differences,
    thread_pool,
};
use crate::work::{Outlook, RangeWork};

/// What a rerun would do.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Diff {
    /// Whether a rerun would change the dataset, or would be refused.
    pub would_change: bool,
    /// Values of the configuration that differ and change rows. Where there are some, a run into this folder is refused, and
    /// nothing else is looked at.
    pub configuration: Vec<Difference>,
    /// Whether the run that made the dataset did not end: the index is missing.
    pub is_unfinished: bool,
    /// Whether the manifest's files changed, so that the manifest is read again.
    pub reads_manifest: bool,
    /// The table of volumes.
    pub volumes: TableDiff,
    /// The table of texts.
    pub texts: TableDiff,
}

/// What a rerun would do with one table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TableDiff {
    /// Rows of the manifest after the rerun.
    pub rows: u64,
    /// Rows whose id the manifest did not have.
    pub new: u64,
    /// Rows that it had, and whose input changed.
    pub changed: u64,
    /// Rows that it had and has no more.
    pub gone: u64,
    /// Rows that stay as they are: in shards that are kept, or copied from them.
    pub kept: u64,
    /// Rows that are made, or set aside, anew: those that are new or changed, and rows that move from shard to shard.
    pub made: u64,
    /// Of these, volumes whose input is read.
    pub inputs_read: u64,
    /// Shards that are kept.
    pub shards_kept: u64,
    /// Shards that are made, some rows of which may be copied.
    pub shards_made: u64,
    /// Shards that are removed, because the manifest has become shorter.
    pub shards_removed: u64,
    /// The first names of each kind, where names may be said: `new`, `changed`, `gone`.
    pub examples: BTreeMap<&'static str, Vec<String>>,
}

/// Names of each kind that are given.
const EXAMPLES: usize = 5;

/// Says what a rerun would do with the run's own configuration, or with `config`. `names` gives names where the dataset withholds
/// them.
///
/// # Errors
/// A folder that no run made; a manifest that can't be read, as in the run itself.
pub fn diff(out: &Path, config: Option<PrepareConfig>, names: bool) -> Result<Diff, PrepareError> {
    let own = configuration_of(out)?;
    let configuration = config.as_ref().map(|config| differences(&own, config)).unwrap_or_default();
    if !configuration.is_empty() {
        return Ok(Diff { would_change: true, configuration, ..Diff::default() });
    }
    let config = config.unwrap_or(own);
    config.check()?;
    check_threads(config.engine.threads)?;
    let temporary = std::env::temp_dir().join(format!("med2e3-diff-{}", std::process::id()));
    let looked = look(out, &config, names, &temporary);
    let _ = fs::remove_dir_all(&temporary);
    looked
}

fn look(out: &Path, config: &PrepareConfig, names: bool, temporary: &Path) -> Result<Diff, PrepareError> {
    let folder = RunFolder::look(out, config)?;
    let names = names || !folder.provenance.withholds_names();
    let known = Tables::unchanged(&folder)?;
    let reads_manifest = known.is_none();
    let (after, dataset, tools) = match known {
        Some(tables) => {
            let has_texts = tables.texts.rows > 0;
            let tools = has_texts.then(|| TextTools::stored(&config.text, out)).transpose()?;
            (After::Same(tables), folder.with_dataset(out), tools)
        }
        None => {
            let cut = Cut::read(config, &folder)?;
            fs::create_dir_all(temporary).map_err(PrepareError::file(temporary, "create"))?;
            let has_texts = !cut.manifest.texts.is_empty();
            // Trained or read again, as the run does it, since the texts' shards depend on it.
            let tools = has_texts.then(|| TextTools::provide(&config.text, &cut.manifest)).transpose()?;
            tools.as_ref().map_or(Ok(()), |tools| tools.store(temporary))?;
            let tools = has_texts.then(|| TextTools::stored(&config.text, temporary)).transpose()?;
            (After::Read(cut), folder.with_dataset(temporary), tools)
        }
    };
    let hashes = RecipeHashes::of(config, &dataset, tools.as_ref())?;
    let threads = Arc::new(thread_pool(config.engine.threads)?);
    let table = |table: Table| -> Result<TableDiff, PrepareError> {
        let spec = folder.work_spec(table, config, hashes.of_table(table));
        let ranges = after.ranges(table);
        let before = shards_of(out, table);
        let mut diff = TableDiff { rows: ranges.rows, ..TableDiff::default() };
        diff.shards_removed = (before as u64).saturating_sub(ranges.hashes.len() as u64);
        // A table without rows has no work, and before had none or all.
        let work = match (table, &tools) {
            (Table::Texts, None) => None,
            _ => Some(spec.look(tools.as_ref(), threads.clone())?),
        };
        let changed = work.as_ref().map(|work| changed_inputs(work.as_ref(), before)).unwrap_or_default();
        if let Some(work) = &work {
            unfinished(work.as_ref(), ranges, &after, &folder, &mut diff)?;
        }
        compare(table, &folder, &after, &changed, names, &mut diff)?;
        Ok(diff)
    };
    let (volumes, texts) = (table(Table::Volumes)?, table(Table::Texts)?);
    let is_unfinished = !out.join(index::FILE).exists();
    let changes = |table: &TableDiff| table.shards_made + table.shards_removed > 0;
    let would_change = is_unfinished || changes(&volumes) || changes(&texts);
    Ok(Diff { would_change, configuration: Vec::new(), is_unfinished, reads_manifest, volumes, texts })
}

/// The tables that a rerun would start from.
enum After {
    /// Those on the disk.
    Same(Tables),
    /// Those of the manifest as it is now.
    Read(Cut),
}

impl After {
    fn ranges(&self, table: Table) -> &Ranges {
        match (self, table) {
            (After::Same(tables), Table::Volumes) => &tables.volumes,
            (After::Same(tables), Table::Texts) => &tables.texts,
            (After::Read(cut), Table::Volumes) => &cut.volumes.0,
            (After::Read(cut), Table::Texts) => &cut.texts.0,
        }
    }

    /// The rows of some ranges, by their numbers.
    fn rows(
        &self,
        table: Table,
        wanted: &HashSet<u32>,
        folder: &RunFolder,
    ) -> Result<BTreeMap<u32, Vec<RecordBatch>>, PrepareError> {
        let mut found: BTreeMap<u32, Vec<RecordBatch>> = BTreeMap::new();
        let mut add = |batch: &RecordBatch| -> Result<(), PrepareError> {
            let ranges: Vec<u32> = keys_of(batch)?.into_iter().map(|(range, _)| range).collect();
            let mut start = 0;
            for run in ranges.chunk_by(|a, b| a == b) {
                if wanted.contains(&run[0]) {
                    found.entry(run[0]).or_default().push(batch.slice(start, run.len()));
                }
                start += run.len();
            }
            Ok(())
        };
        match self {
            After::Same(_) => each_batch(folder, table, |batch| add(&batch))?,
            After::Read(cut) => {
                let batches = if table == Table::Volumes { &cut.volumes.1 } else { &cut.texts.1 };
                batches.iter().filter(|batch| batch.num_rows() > 0).try_for_each(&mut add)?;
            }
        }
        Ok(found)
    }
}

/// The shards of a table that are there.
fn shards_of(out: &Path, table: Table) -> usize {
    let entries = fs::read_dir(out.join(table.shard_folder())).into_iter().flatten().flatten();
    entries.filter(|entry| entry.path().extension().is_some_and(|ending| ending == "parquet")).count()
}

/// The inputs of the shards that are there, and whether each changed.
fn changed_inputs(work: &dyn RangeWork, shards: usize) -> HashMap<Id, bool> {
    (0..shards as u32).flat_map(|range| work.earlier_inputs(range)).map(|(id, is_same)| (id, !is_same)).collect()
}

/// What becomes of the ranges, each asked as the run asks it.
fn unfinished(
    work: &dyn RangeWork,
    ranges: &Ranges,
    after: &After,
    folder: &RunFolder,
    diff: &mut TableDiff,
) -> Result<(), PrepareError> {
    let numbers: Vec<u32> = (0..ranges.hashes.len() as u32).collect();
    let asked = numbers.par_iter().map(|range| (*range, work.finished(*range, &ranges.hashes[*range as usize])));
    let asked: Vec<_> = asked.collect();
    let open: HashSet<u32> = asked.iter().filter(|(_, done)| done.is_none()).map(|(range, _)| *range).collect();
    diff.shards_kept = (ranges.hashes.len() - open.len()) as u64;
    diff.shards_made = open.len() as u64;
    let mut sum = Outlook::default();
    if !open.is_empty() {
        for (range, rows) in after.rows(work.table(), &open, folder)? {
            sum.add(work.outlook(range, &rows)?);
        }
    }
    let finished = asked.iter().filter_map(|(_, done)| done.as_ref());
    diff.kept = sum.kept + finished.map(|done| done.outcome.manifest_rows).sum::<u64>();
    (diff.made, diff.inputs_read) = (sum.made, sum.inputs_read);
    Ok(())
}

/// Counts new, changed and gone rows by their ids.
fn compare(
    table: Table,
    folder: &RunFolder,
    after: &After,
    changed: &HashMap<Id, bool>,
    names: bool,
    diff: &mut TableDiff,
) -> Result<(), PrepareError> {
    let mut examples: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
    let mut example = |kind: &'static str, name: &dyn Fn() -> String| {
        let shown = examples.entry(kind).or_default();
        if names && shown.len() < EXAMPLES {
            shown.push(name());
        }
    };
    let mut now: HashSet<Id> = HashSet::new();
    if let After::Read(cut) = after {
        match table {
            Table::Volumes => now.extend(cut.manifest.volumes.iter().map(|volume| volume.volume_id)),
            Table::Texts => now.extend(cut.manifest.texts.iter().map(|text| text.sample_id)),
        }
    }
    let is_same = matches!(after, After::Same(_));
    let mut before: HashSet<Id> = HashSet::new();
    let mut gone = |id: Id, name: &dyn Fn() -> String| {
        if !before.insert(id) {
            return;
        }
        if !is_same && !now.contains(&id) {
            diff.gone += 1;
            example("gone", name);
        } else if changed.get(&id) == Some(&true) {
            diff.changed += 1;
            example("changed", name);
        }
    };
    match table {
        Table::Volumes => each_batch(folder, table, |batch| {
            volumes_from_batch(&batch)?.iter().for_each(|volume| gone(volume.volume_id, &|| volume.image.clone()));
            Ok(())
        })?,
        Table::Texts => each_batch(folder, table, |batch| {
            texts_from_batch(&batch)?.iter().for_each(|text| gone(text.sample_id, &|| text.row.clone()));
            Ok(())
        })?,
    }
    if let After::Read(cut) = after {
        let mut new = |id: Id, name: &dyn Fn() -> String| {
            // A row that comes twice is new once.
            if before.insert(id) {
                diff.new += 1;
                example("new", name);
            }
        };
        match table {
            Table::Volumes => {
                cut.manifest.volumes.iter().for_each(|volume| new(volume.volume_id, &|| volume.image.clone()));
            }
            Table::Texts => cut.manifest.texts.iter().for_each(|text| new(text.sample_id, &|| text.row.clone())),
        }
    }
    examples.retain(|_, names| !names.is_empty());
    diff.examples = examples;
    Ok(())
}

/// Gives every batch of a table on the disk; none where an earlier run wrote none.
fn each_batch(
    folder: &RunFolder,
    table: Table,
    mut add: impl FnMut(RecordBatch) -> Result<(), PrepareError>,
) -> Result<(), PrepareError> {
    let place = folder.work.join(table.as_str());
    let entries = fs::read_dir(&place).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|ending| ending == "parquet")).collect();
    files.sort();
    for path in files {
        // A file that was damaged is read again by the run too, from the manifest.
        let Ok(reader) = ShardReader::open(&path) else { continue };
        for group in 0..reader.groups() {
            for batch in reader.read_group(group, &[], BATCH_ROWS)? {
                match batch {
                    Ok(batch) => add(batch)?,
                    Err(ShardError::File(error)) => return Err(error.into()),
                    Err(_) => break,
                }
            }
        }
    }
    Ok(())
}

/// Rows of a batch.
const BATCH_ROWS: usize = 4096;
