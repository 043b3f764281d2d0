//! The crate's error: each variant is something that a caller can decide on, and names the file.

use std::path::{Path, PathBuf};

use med2e3_schemas::{Id, SchemaError};
use med2e3_store::FileError;

/// Why a shard or a dataset can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ShardError {
    /// A file that the system refuses.
    #[error(transparent)]
    File(#[from] FileError),
    /// A parquet file that can't be read as such, or can't be written.
    #[error("{path}: reading or writing parquet failed")]
    Parquet {
        /// The file.
        path: PathBuf,
        /// The error of reader or writer.
        source: parquet::errors::ParquetError,
    },
    /// Columns or a text that differ from the schema.
    #[error("{path}")]
    Schema {
        /// The file.
        path: PathBuf,
        /// What differs.
        source: SchemaError,
    },
    /// A shard that differs from what the index says of it.
    #[error("{path}: expected {expected}, found {found}; this is not the shard that the index was written for")]
    NotAsIndexed {
        /// The file.
        path: PathBuf,
        /// What the index says.
        expected: String,
        /// What the file has.
        found: String,
    },
    /// A file that is shorter than its own footer says.
    #[error("{path}: expected {expected} bytes or more, found {found}")]
    Cut {
        /// The file.
        path: PathBuf,
        /// Bytes that the footer speaks of.
        expected: u64,
        /// Bytes that there are.
        found: u64,
    },
    /// A path that leads out of the folder in which it is named.
    #[error("{path}: expected paths within the folder, found {found}")]
    OutsideDataset {
        /// The index.
        path: PathBuf,
        /// The path that it names.
        found: String,
    },
    /// A row beyond the end of a shard.
    #[error("{path}: expected row {row}, found {rows} rows")]
    NoSuchRow {
        /// The shard.
        path: PathBuf,
        /// The row that was asked for.
        row: usize,
        /// Rows that there are.
        rows: usize,
    },
    /// A shard without cells of the size that was asked for.
    #[error("{path}: expected voxel cells of {expected} bytes, found {found}")]
    NoCells {
        /// The shard.
        path: PathBuf,
        /// Bytes of a cell.
        expected: usize,
        /// What the shard has instead.
        found: String,
    },
    /// A sample that no program writes.
    #[error("{path}: sample {sample}: {problem}")]
    UnsoundSample {
        /// The shard.
        path: PathBuf,
        /// The sample's key.
        sample: Id,
        /// What is wrong with it.
        problem: String,
    },
    /// A file that follows from the shards, of places or of texts, and is not as it was written.
    #[error("{path}: expected {expected}, found {found}; remove the file, and it is made again")]
    Kept {
        /// The file.
        path: PathBuf,
        /// What it should say.
        expected: String,
        /// What it says.
        found: String,
    },
    /// A volume whose voxels do not read as they were written.
    #[error("{path}: row {row}, volume {volume}: {problem}")]
    Cell {
        /// The shard.
        path: PathBuf,
        /// The row.
        row: usize,
        /// The volume's key.
        volume: Id,
        /// What was expected and found.
        problem: String,
    },
    /// A volume that the system refuses to read, or whose shard is another one by now: that may be true of all of them.
    #[error("row {row}, volume {volume}")]
    Unread {
        /// The row.
        row: usize,
        /// The volume's key.
        volume: Id,
        /// The shard, and what the system says.
        source: FileError,
    },
    /// A volume that is not in the dataset.
    #[error("{path}: volume {volume} is not in the dataset")]
    NoSuchVolume {
        /// The dataset.
        path: PathBuf,
        /// The volume's key.
        volume: Id,
    },
    /// A subset that the dataset does not have.
    #[error("{path}: no subset `{name}`; the dataset has {known}")]
    NoSuchSubset {
        /// The dataset.
        path: PathBuf,
        /// The name that was asked for.
        name: String,
        /// The names that there are.
        known: String,
    },
    /// A subset of volumes where samples are asked for.
    #[error(
        "{path}: expected a subset of samples, found one of volumes: it was made when the dataset had no texts; split it again"
    )]
    SubsetOfVolumes {
        /// The subset's file.
        path: PathBuf,
    },
    /// A name that a subset can't have.
    #[error("subset `{name}`: a name has letters, digits, `-`, `_` and `.` only, and does not start with `.`")]
    SubsetName {
        /// The name.
        name: String,
    },
    /// A subset with samples that the dataset does not have.
    #[error("{path}: expected {expected} samples of this dataset, found {found}; draw the subset again")]
    StaleSubset {
        /// The subset's file.
        path: PathBuf,
        /// Samples of the subset.
        expected: u64,
        /// Those of them that the dataset has.
        found: u64,
    },
    /// A selection without samples.
    #[error("{path}: no sample of {wanted}; {hint}")]
    Empty {
        /// The dataset.
        path: PathBuf,
        /// The selection, as text.
        wanted: String,
        /// What the dataset holds instead.
        hint: String,
    },
}

impl ShardError {
    /// Adds the path to what parquet reports.
    pub(crate) fn parquet(path: &Path) -> impl FnOnce(parquet::errors::ParquetError) -> ShardError {
        let path = path.to_owned();
        move |source| ShardError::Parquet { path, source }
    }

    /// Adds the path to what differs from the schema.
    pub fn schema(path: &Path) -> impl FnOnce(SchemaError) -> ShardError {
        let path = path.to_owned();
        move |source| ShardError::Schema { path, source }
    }
}
