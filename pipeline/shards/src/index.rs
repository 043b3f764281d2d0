//! `dataset.json`: read, written, and the files that it lists besides shards.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use med2e3_schemas::SchemaError;
use med2e3_schemas::index::{DatasetIndex, FileEntry};
use med2e3_store::{PositionedFile, put_whole, read_regular};
use xxhash_rust::xxh3::Xxh3;

use crate::members::{Members, within};
use crate::write::hash_range;
use crate::{ShardError, places, subset, texts};

/// The index's file in a dataset.
pub const FILE: &str = "dataset.json";

/// Where a dataset's tokenizer is unless its index says otherwise.
pub const TOKENIZER: &str = "tokenizer.json";
/// What names the tokenizer's end token where the tokenizer alone does not.
pub const TOKENIZER_CONFIG: &str = "tokenizer_config.json";

/// What a dataset says of itself to a person and to Hugging Face's hub.
pub const CARD: &str = "README.md";

/// Files that belong to a dataset in addition to shards and subsets.
const OTHERS: [&str; 7] =
    ["prepare.toml", "quarantine.parquet", TOKENIZER, TOKENIZER_CONFIG, CARD, places::FILE, texts::FILE];

/// The index of a dataset folder; no shard is opened.
///
/// # Errors
/// A folder without an index, an index of another version, a path in it that leads out of the dataset.
pub fn read_index(root: &Path) -> Result<DatasetIndex, ShardError> {
    let path = root.join(FILE);
    let index = DatasetIndex::parse(&index_text(root)?).map_err(ShardError::schema(&path))?;
    let shards = index.volumes.iter().chain(&index.samples).map(|shard| &shard.path);
    for relative in shards.chain(index.files.keys()).chain(&index.tokenizer) {
        within(root, relative)?;
    }
    Ok(index)
}

/// Bytes of an index at most; that of a million volumes has 10 MB.
const MAX_INDEX_BYTES: u64 = 1 << 28;

/// The text of `dataset.json`.
///
/// # Errors
/// No such file, one that is no text, or larger than an index.
pub fn index_text(root: &Path) -> Result<String, ShardError> {
    let path = root.join(FILE);
    let text = String::from_utf8(read_regular(&path, MAX_INDEX_BYTES)?);
    text.map_err(|error| {
        let source = SchemaError::Config { message: error.utf8_error().to_string() };
        ShardError::Schema { path, source }
    })
}

/// Writes the index; it appears whole. From then on the folder is a dataset.
///
/// # Errors
/// The system refuses to write.
pub fn write_index(root: &Path, index: &DatasetIndex) -> Result<(), ShardError> {
    Ok(put_whole(&root.join(FILE), index.to_text().as_bytes())?)
}

/// Every file of a dataset that the index lists in addition to shards: configuration, quarantine, tokenizer, card, places,
/// texts, subsets.
///
/// # Errors
/// A file that can't be read.
pub fn other_files(root: &Path) -> Result<BTreeMap<String, FileEntry>, ShardError> {
    let subsets = fs::read_dir(root.join("subsets")).into_iter().flatten().flatten();
    // Others, such as what a file manager leaves, are strays.
    let subsets = subsets.filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".parquet")?.to_owned()));
    let subsets = subsets.filter(|name| subset::check_name(name).is_ok()).map(|name| subset::relative(&name));
    let names = OTHERS.map(str::to_owned).into_iter().chain(subsets);
    let members = Members::of(root)?;
    let present = names.filter(|name| root.join(name).is_file());
    present.map(|name| Ok((name.clone(), file_entry(&members.path(&name)?)?))).collect()
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
/// Something else than a regular file; the system refuses to read.
pub fn file_entry(path: &Path) -> Result<FileEntry, ShardError> {
    let file = PositionedFile::open(path)?;
    let mut hasher = Xxh3::new();
    hash_range(&file, 0..file.bytes(), &mut hasher, &mut Vec::new())?;
    Ok(FileEntry { bytes: file.bytes(), xxh3: format!("{:016x}", hasher.digest()) })
}
