//! `dataset.json`: read, written, and the files that it lists besides shards.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use med2e3_schemas::index::{DatasetIndex, FileEntry, xxh3_hex};
use med2e3_store::{FileError, MappedFile, put_whole};

use crate::ShardError;

/// The index's file in a dataset.
pub const FILE: &str = "dataset.json";

/// Where a dataset's tokenizer is unless its index says otherwise.
pub const TOKENIZER: &str = "tokenizer.json";
/// What names the tokenizer's end token where the tokenizer alone does not.
pub const TOKENIZER_CONFIG: &str = "tokenizer_config.json";

/// Files that belong to a dataset in addition to shards and subsets.
const OTHERS: [&str; 4] = ["prepare.toml", "quarantine.parquet", TOKENIZER, TOKENIZER_CONFIG];

/// The index of a dataset folder; no shard is opened.
///
/// # Errors
/// A folder without an index, an index of another version, a path in it that leads out of the dataset.
pub fn read_index(root: &Path) -> Result<DatasetIndex, ShardError> {
    let path = root.join(FILE);
    let text = fs::read_to_string(&path).map_err(FileError::of(&path, "read"))?;
    let index = DatasetIndex::parse(&text).map_err(ShardError::schema(&path))?;
    let shards = index.volumes.iter().chain(&index.samples).map(|shard| &shard.path);
    for relative in shards.chain(index.files.keys()).chain(&index.tokenizer) {
        within(root, relative)?;
    }
    Ok(index)
}

/// Writes the index; it appears whole. From then on the folder is a dataset.
///
/// # Errors
/// The system refuses to write.
pub fn write_index(root: &Path, index: &DatasetIndex) -> Result<(), ShardError> {
    Ok(put_whole(&root.join(FILE), index.to_text().as_bytes())?)
}

/// Every file of a dataset that the index lists in addition to shards: configuration, quarantine, tokenizer, subsets.
///
/// # Errors
/// A file that can't be read.
pub fn other_files(root: &Path) -> Result<BTreeMap<String, FileEntry>, ShardError> {
    let subsets = fs::read_dir(root.join("subsets")).into_iter().flatten().flatten();
    let subsets = subsets.map(|entry| format!("subsets/{}", entry.file_name().to_string_lossy()));
    let names = OTHERS.map(str::to_owned).into_iter().chain(subsets.filter(|name| name.ends_with(".parquet")));
    let present = names.filter(|name| root.join(name).is_file());
    present.map(|name| Ok((name.clone(), file_entry(&root.join(&name))?))).collect()
}

/// Writes the index again with the files that are in the folder now.
///
/// # Errors
/// An index or a file that can't be read, an index that can't be written.
pub fn list_files_again(root: &Path) -> Result<(), ShardError> {
    let mut index = read_index(root)?;
    index.files = other_files(root)?;
    write_index(root, &index)
}

/// What the index says of a file that is no shard.
///
/// # Errors
/// The system refuses to read.
pub fn file_entry(path: &Path) -> Result<FileEntry, ShardError> {
    let file = MappedFile::open(path)?;
    let bytes = file.as_ref();
    Ok(FileEntry { bytes: bytes.len() as u64, xxh3: xxh3_hex(bytes) })
}

/// A path that the index states, which must not lead out of the dataset.
pub(crate) fn within(root: &Path, relative: &str) -> Result<PathBuf, ShardError> {
    if Path::new(relative).components().all(|part| matches!(part, Component::Normal(_))) {
        Ok(root.join(relative))
    } else {
        Err(ShardError::OutsideDataset { path: root.join(FILE), found: relative.to_owned() })
    }
}
