//! Named lists of samples in a dataset, `subsets/NAME.parquet`; of volumes where the dataset has no texts.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use med2e3_schemas::Id;
use med2e3_schemas::index::DatasetIndex;
use med2e3_schemas::sample::Split;
use med2e3_schemas::subset::{
    FOOTER_KEY, SPLIT_FOOTER_KEY, Subset, VOLUMES, ids_from_batch, to_batch, volumes_to_batch,
};

use crate::{Members, PageLayout, ShardError, ShardReader, ShardWriter};

/// The file of a subset.
pub fn path(dataset: &Path, name: &str) -> PathBuf {
    dataset.join(relative(name))
}

/// The same, as the index names it.
pub fn relative(name: &str) -> String {
    format!("subsets/{name}.parquet")
}

/// Stores a subset; `part` is the split that it is a part of, where it is one of a new split.
///
/// # Errors
/// A name that is no file name, a dataset that can't be written.
pub fn write(dataset: &Path, subset: &Subset, ids: &[Id], part: Option<Split>) -> Result<(), ShardError> {
    write_batch(dataset, subset, &to_batch(ids), part)
}

/// As [`write()`], of volumes.
///
/// # Errors
/// As [`write()`].
pub fn write_volumes(dataset: &Path, subset: &Subset, ids: &[Id], part: Option<Split>) -> Result<(), ShardError> {
    write_batch(dataset, subset, &volumes_to_batch(ids), part)
}

fn write_batch(dataset: &Path, subset: &Subset, ids: &RecordBatch, part: Option<Split>) -> Result<(), ShardError> {
    check_name(&subset.name)?;
    let relative = relative(&subset.name);
    let mut writer = ShardWriter::create(&dataset.join(&relative), ids.schema(), PageLayout::Table)?;
    writer.write(ids)?;
    let mut footer = vec![(FOOTER_KEY, footer_of(subset))];
    footer.extend(part.map(|split| (SPLIT_FOOTER_KEY, split.to_string())));
    writer.commit(&relative, &footer)?;
    Ok(())
}

/// Whether the dataset has another draw under the subset's name.
///
/// # Errors
/// A file of that name that is no subset.
pub fn is_another(dataset: &Path, subset: &Subset) -> Result<bool, ShardError> {
    check_name(&subset.name)?;
    let path = path(dataset, &subset.name);
    Ok(path.exists() && ShardReader::open(&path)?.footer(FOOTER_KEY) != Some(&footer_of(subset)))
}

/// The ids of a subset that the dataset's index names, or of the part of a new split that is `split`.
///
/// # Errors
/// A name that the dataset does not have, a subset of volumes, a file that can't be read.
pub fn read(dataset: &Path, index: &DatasetIndex, name: &str, split: Split) -> Result<HashSet<Id>, ShardError> {
    check_name(name)?;
    let file = if is_resplit(dataset, index, name) { format!("{name}-{split}") } else { name.to_owned() };
    if !index.files.contains_key(&relative(&file)) {
        return Err(ShardError::NoSuchSubset { path: dataset.to_owned(), name: file, known: known(index) });
    }
    let path = Members::of(dataset)?.path(&relative(&file))?;
    let reader = ShardReader::open(&path)?;
    if reader.schema().column_with_name(VOLUMES).is_some() {
        return Err(ShardError::SubsetOfVolumes { path });
    }
    let mut ids = HashSet::new();
    for batch in reader.read(&["sample_id"])? {
        ids.extend(ids_from_batch(&batch).map_err(ShardError::schema(&path))?);
    }
    Ok(ids)
}

/// Whether the name is that of a new split, whose parts are the subsets `NAME-train`, `NAME-validation` and `NAME-test`,
/// rather than that of one subset.
pub fn is_resplit(dataset: &Path, index: &DatasetIndex, name: &str) -> bool {
    let is_named = |file: &str| index.files.contains_key(&relative(file));
    let part = format!("{name}-{}", Split::Train);
    check_name(name).is_ok() && !is_named(name) && is_named(&part) && {
        let part = Members::of(dataset).and_then(|members| members.path(&relative(&part)));
        part.and_then(|path| ShardReader::open(&path)).is_ok_and(|part| part.footer(SPLIT_FOOTER_KEY).is_some())
    }
}

fn footer_of(subset: &Subset) -> String {
    serde_json::to_string(subset).expect("a subset's description is plain data")
}

/// A name is one file name: it never leads to another folder.
pub(crate) fn check_name(name: &str) -> Result<(), ShardError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.starts_with('.') || !name.chars().all(allowed) {
        return Err(ShardError::SubsetName { name: name.to_owned() });
    }
    Ok(())
}

fn known(index: &DatasetIndex) -> String {
    let names: Vec<&str> = names(index).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

/// The names of a dataset's subsets.
pub fn names(index: &DatasetIndex) -> impl Iterator<Item = &str> {
    index.files.keys().filter_map(|path| path.strip_prefix("subsets/")?.strip_suffix(".parquet"))
}
