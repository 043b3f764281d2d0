//! `verify`: proof that a dataset is whole: every byte is what the index says, every row obeys the schema, every manifest
//! row is accounted for.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use arrow::array::AsArray;

use med2e3_program::with_causes;
use med2e3_schemas::Id;
use med2e3_schemas::index::{DatasetIndex, ShardEntry};
use med2e3_schemas::report::TableCounts;
use med2e3_schemas::sample::{self, SampleRow};
use med2e3_schemas::volume::{self, VolumeRow};
use med2e3_shards::index::{file_entry, index_text};
use med2e3_shards::{Members, Places, ShardError, ShardReader, Texts, places, texts};
use rayon::prelude::*;
use serde::Serialize;

use crate::PrepareError;
use crate::work::count_key;

/// What was looked at and what is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// How many things of each kind were looked at.
    pub checked: BTreeMap<&'static str, u64>,
    /// The table of volumes, summed over its shards.
    pub volumes: TableCounts,
    /// The table of texts, summed over its shards.
    pub texts: TableCounts,
    /// Samples that no training sees, because a volume of theirs is in quarantine.
    pub samples_without_volume: u64,
    /// Everything that is not as it should be: the file, the location in it, and what was expected and found.
    pub problems: Vec<String>,
}

impl Verification {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }

    fn count(&mut self, what: &'static str, count: u64) {
        *self.checked.entry(what).or_default() += count;
    }

    fn expect(&mut self, holds: bool, problem: impl FnOnce() -> String) {
        if !holds {
            self.problems.push(problem());
        }
    }
}

/// Reads every byte of the dataset and checks it.
///
/// # Errors
/// A folder without a `dataset.json`, or one of another version; what is wrong within is no error but a problem.
pub fn verify(root: &Path) -> Result<Verification, PrepareError> {
    let mut found = Verification::default();
    let unreadable =
        |problem: String| Verification { problems: vec![format!("dataset.json: {problem}")], ..Default::default() };
    let text = match index_text(root) {
        Ok(text) => text,
        Err(ShardError::Schema { source, .. }) => return Ok(unreadable(source.to_string())),
        Err(error) => return Err(error.into()),
    };
    let index = match DatasetIndex::parse(&text) {
        Ok(index) => index,
        Err(error @ med2e3_schemas::SchemaError::Version { .. }) => return Err(error.into()),
        Err(error) => return Ok(unreadable(error.to_string())),
    };
    let members = Members::of(root)?;
    found.count("index", 1);
    found.expect(index.to_text() == text, || "dataset.json: the text differs from its own hash".into());
    files(&members, root, &index, &mut found);

    let shards = |entries: &[ShardEntry], check: &(dyn Fn(&ShardReader) -> Result<Rows, String> + Sync)| {
        let checked = entries.par_iter().map(|entry| shard(&members, root, entry, check));
        checked.collect::<Vec<Result<(Rows, TableCounts), Vec<String>>>>()
    };
    let volumes = shards(&index.volumes, &|reader| volume_rows(reader, &index));
    let samples = shards(&index.samples, &sample_rows);
    let mut rejects = 0;
    let mut volume_ids = HashSet::new();
    for (result, entry) in volumes.into_iter().zip(&index.volumes) {
        found.count("volume shards", 1);
        match result {
            Ok((rows, counts)) => {
                found.count("volumes", rows.ids.len() as u64);
                rejects += counts.quarantined_rows();
                found.volumes.add(&counts);
                for id in rows.ids {
                    found.expect(volume_ids.insert(id), || format!("{}: volume {id} is there twice", entry.path));
                }
            }
            Err(problems) => found.problems.extend(problems),
        }
    }
    let mut sample_ids = HashSet::new();
    let mut counts: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for (result, entry) in samples.into_iter().zip(&index.samples) {
        found.count("sample shards", 1);
        match result {
            Ok((rows, shard_counts)) => {
                found.count("samples", rows.ids.len() as u64);
                rejects += shard_counts.quarantined_rows();
                found.texts.add(&shard_counts);
                for id in rows.ids {
                    found.expect(sample_ids.insert(id), || format!("{}: sample {id} is there twice", entry.path));
                }
                found.samples_without_volume +=
                    rows.refers.iter().filter(|ids| ids.iter().any(|id| !volume_ids.contains(id))).count() as u64;
                for ((split, key), count) in rows.counts {
                    *counts.entry(split).or_default().entry(key).or_default() += count;
                }
            }
            Err(problems) => found.problems.extend(problems),
        }
    }
    if found.is_sound() {
        places_of(root, &index, &mut found);
        texts_of(root, &index, &mut found);
        sums(root, &index, rejects, &counts, &mut found);
    }
    Ok(found)
}

/// What the rows of a sound shard say.
#[derive(Default)]
struct Rows {
    ids: Vec<Id>,
    // The volumes of each sample.
    refers: Vec<Vec<Id>>,
    counts: HashMap<(String, String), u64>,
}

/// Files that are no shards: those that the index names are as it says, and there are no others.
fn files(members: &Members, root: &Path, index: &DatasetIndex, found: &mut Verification) {
    if let Some(tokenizer) = index.tokenizer.as_ref().filter(|name| !index.files.contains_key(*name)) {
        found.problems.push(format!("dataset.json: the tokenizer {tokenizer} is none of its files"));
    }
    for (name, entry) in &index.files {
        found.count("files", 1);
        match members.path(name).and_then(|path| file_entry(&path)) {
            Ok(now) => found.expect(now == *entry, || {
                let (expected, got) = ((entry.bytes, &entry.xxh3), (now.bytes, &now.xxh3));
                format!(
                    "{name}: expected {} bytes with xxh3 {}, found {} with {}",
                    expected.0, expected.1, got.0, got.1
                )
            }),
            Err(error) => found.problems.push(relative_chain(root, &error)),
        }
    }
    let named: BTreeSet<&str> = index.volumes.iter().chain(&index.samples).map(|shard| shard.path.as_str()).collect();
    let mut open = vec![PathBuf::new()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(root.join(&folder)).into_iter().flatten().flatten() {
            let path = folder.join(entry.file_name());
            let name = path.to_string_lossy().into_owned();
            // The run's working files, its report and the index itself.
            let own = ["manifest", "report.json", "dataset.json"].contains(&name.as_str());
            // One that the index does not name was made when the dataset was first read.
            let own = own || name == places::FILE || name == texts::FILE;
            if own || named.contains(name.as_str()) || index.files.contains_key(&name) {
                continue;
            }
            if entry.path().is_dir() && ["volumes", "samples", "subsets", "feed"].contains(&name.as_str()) {
                open.push(path);
            } else {
                found.problems.push(format!("{name}: a stray file, which the index does not name"));
            }
        }
    }
}

/// One shard: its bytes against the index, then its rows.
fn shard(
    members: &Members,
    root: &Path,
    entry: &ShardEntry,
    check: &(dyn Fn(&ShardReader) -> Result<Rows, String> + Sync),
) -> Result<(Rows, TableCounts), Vec<String>> {
    let one = |error: &dyn std::error::Error| vec![relative_chain(root, error)];
    let path = members.path(&entry.path).map_err(|error| one(&error))?;
    let reader = ShardReader::open(&path).map_err(|error| one(&error))?;
    let now = reader.entry(&entry.path).map_err(|error| one(&error))?;
    let mut problems = Vec::new();
    if (now.bytes, now.rows, now.row_groups_xxh3.len()) != (entry.bytes, entry.rows, entry.row_groups_xxh3.len()) {
        let size = |e: &ShardEntry| format!("{} rows in {} groups, {} bytes", e.rows, e.row_groups_xxh3.len(), e.bytes);
        problems.push(format!("{}: expected {}, found {}", entry.path, size(entry), size(&now)));
    }
    for (group, (expected, found)) in entry.row_groups_xxh3.iter().zip(&now.row_groups_xxh3).enumerate() {
        if expected != found {
            let bytes = reader.bytes_of_group(group);
            let location = format!("{}: row group {group}, bytes {} to {}", entry.path, bytes.start, bytes.end);
            problems
                .push(format!("{location}: expected xxh3 {expected}, found {found}{}", damaged_rows(&reader, group)));
        }
    }
    if now.rest_xxh3 != entry.rest_xxh3 {
        let what = "the bytes outside its row groups (page indexes and footer)";
        problems.push(format!("{}: {what}: expected xxh3 {}, found {}", entry.path, entry.rest_xxh3, now.rest_xxh3));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let rows = check(&reader).map_err(|problem| vec![format!("{}: {problem}", entry.path)])?;
    let outcome = reader.outcome().ok_or_else(|| vec![format!("{}: no outcome in the footer", entry.path)])?;
    Ok((rows, outcome.counts()))
}

/// Damaged rows of a row group that are named.
const DAMAGED_SHOWN: usize = 64;

/// Which volumes of a damaged row group differ from their own hash, where that can still be seen.
fn damaged_rows(reader: &ShardReader, group: usize) -> String {
    let damaged = |row: usize| {
        let batch = reader.read_row(row, &["volume_id", "voxels", "content_hash"]);
        let Ok(batch) = batch.as_ref() else { return Some(format!("row {row} (does not decode)")) };
        let cell = |name: &str| Some(batch.column_by_name(name)?.as_fixed_size_binary_opt()?.value(0).to_vec());
        let (id, voxels, hash) = (cell("volume_id")?, cell("voxels")?, cell("content_hash")?);
        let differs = blake3::hash(&voxels).as_bytes()[..] != hash[..];
        differs.then(|| format!("row {row} (volume {})", Id::from_bytes(&id).map_or("?".into(), |id| id.to_string())))
    };
    if reader.schema().column_with_name("voxels").is_none() {
        return String::new();
    }
    let mut rows: Vec<String> = reader.rows_of_group(group).filter_map(damaged).take(DAMAGED_SHOWN + 1).collect();
    if rows.len() > DAMAGED_SHOWN {
        rows[DAMAGED_SHOWN] = "..".into();
    }
    if rows.is_empty() { String::new() } else { format!("; damaged: {}", rows.join(", ")) }
}

/// A shard's columns for a message.
fn columns(reader: &ShardReader) -> String {
    let fields = reader.schema().fields().iter();
    fields.map(|field| format!("{} {}", field.name(), field.data_type())).collect::<Vec<_>>().join(", ")
}

fn volume_rows(reader: &ShardReader, index: &DatasetIndex) -> Result<Rows, String> {
    let format = &index.voxels;
    // Datasets of an earlier version have no scale of Hounsfield units.
    let scale = index.inputs.as_ref().and_then(|inputs| inputs.volume.hounsfield());
    let schemas = [volume::schema(format), volume::schema_with(format, scale)];
    if schemas.iter().all(|schema| reader.schema().fields() != schema.fields()) {
        return Err(format!("expected the schema of volumes, found {}", columns(reader)));
    }
    let mut ids = Vec::new();
    for row in 0..reader.rows() {
        let batch = reader.read_row(row, &[]).map_err(|e| e.to_string())?;
        let rows = volume::from_batch(&batch, format).map_err(|e| e.to_string())?;
        for VolumeRow { volume_id, voxels, content_hash, source_shape, crop_start, crop_stop, .. } in rows {
            if *blake3::hash(&voxels).as_bytes() != content_hash {
                return Err(format!("row {row}: the voxels of {volume_id} differ from their content_hash"));
            }
            if (0..3).any(|axis| crop_start[axis] >= crop_stop[axis] || crop_stop[axis] > source_shape[axis]) {
                return Err(format!("row {row}: crop {crop_start:?} to {crop_stop:?} in {source_shape:?} voxels"));
            }
            ids.push(volume_id);
        }
    }
    Ok(Rows { ids, ..Rows::default() })
}

fn sample_rows(reader: &ShardReader) -> Result<Rows, String> {
    if reader.schema().fields() != sample::schema().fields() {
        return Err(format!("expected the schema of samples, found {}", columns(reader)));
    }
    let mut rows = Rows::default();
    for batch in reader.read(&[]).map_err(|e| e.to_string())? {
        for row in sample::from_batch(&batch).map_err(|e| e.to_string())? {
            if let Some(problem) = row.problem() {
                return Err(format!("sample {}: {problem}", row.sample_id));
            }
            let SampleRow { sample_id, volume_ids, task, topic, split, .. } = row;
            *rows.counts.entry((split.to_string(), count_key(task, topic))).or_default() += 1;
            rows.ids.push(sample_id);
            rows.refers.push(volume_ids);
        }
    }
    Ok(rows)
}

/// Whether the places of volumes are those that the shards, which are sound, have.
fn places_of(root: &Path, index: &DatasetIndex, found: &mut Verification) {
    let problem = match (Places::read(root), Places::make(root, index, None)) {
        (Ok(None), Ok(_)) => return,
        (Ok(Some(stored)), Ok(made)) if stored == made => None,
        (Ok(Some(_)), Ok(_)) => Some(format!("{}: places of other shards", places::FILE)),
        (Err(error), _) | (_, Err(error)) => Some(relative_chain(root, &error)),
    };
    found.count("places", 1);
    found.problems.extend(problem);
}

/// Whether the ids of texts are those that the shards, which are sound, have.
fn texts_of(root: &Path, index: &DatasetIndex, found: &mut Verification) {
    let problem = match Texts::read(root) {
        Ok(None) => return,
        Ok(Some(stored)) if !stored.is_of(index) => Some(format!("{}: texts of other shards", texts::FILE)),
        Ok(Some(stored)) => stored.check(root, index).err().map(|error| relative_chain(root, &error)),
        Err(error) => Some(relative_chain(root, &error)),
    };
    found.count("texts", 1);
    found.problems.extend(problem);
}

/// Whether rows, rejects and duplicates add up to the manifest, and the other files tell the same numbers.
fn sums(
    root: &Path,
    index: &DatasetIndex,
    rejects: u64,
    counts: &BTreeMap<String, BTreeMap<String, u64>>,
    found: &mut Verification,
) {
    for (table, counts, folder) in
        [("volumes", found.volumes.clone(), "manifest/volumes"), ("texts", found.texts.clone(), "manifest/texts")]
    {
        found.count("sums", 1);
        found.expect(counts.add_up(), || format!("{table}: the counts do not add up: {counts:?}"));
        if let Some(rows) = table_rows(&root.join(folder)) {
            found.expect(rows == counts.manifest_rows, || {
                format!("{table}: the manifest has {rows} rows, the shards were made from {}", counts.manifest_rows)
            });
        }
    }
    found.count("sums", 2);
    let quarantine = Members::of(root).and_then(|members| ShardReader::open(&members.path("quarantine.parquet")?));
    let quarantined = quarantine.map_or(0, |reader| reader.rows() as u64);
    found.expect(quarantined == rejects, || {
        format!("quarantine.parquet: {quarantined} records, the shards set {rejects} rows aside")
    });
    found.expect(*counts == index.counts, || format!("dataset.json: counts {:?}, found {counts:?}", index.counts));
}

/// Rows of a manifest table in the dataset.
fn table_rows(folder: &Path) -> Option<u64> {
    let entries = fs::read_dir(folder).ok()?.flatten();
    Some(entries.filter_map(|entry| ShardReader::open(&entry.path()).ok()).map(|reader| reader.rows() as u64).sum())
}

/// An error with its causes, its paths relative to the dataset.
fn relative_chain(root: &Path, error: &dyn std::error::Error) -> String {
    with_causes(error).replace(&format!("{}/", root.display()), "")
}
