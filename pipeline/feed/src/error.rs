//! The crate's error: each variant names the file that is in the way.

use std::io;
use std::path::{Path, PathBuf};

use med2e3_schemas::SchemaError;

/// What can go wrong between shards and batches.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The system refused to read or write a file.
    #[error("{path}: {action} failed")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// A file is not the parquet that it should be.
    #[error("{path}: expected to read or write a whole shard, found an error")]
    Parquet {
        /// The file.
        path: PathBuf,
        /// The reader's error.
        source: parquet::errors::ParquetError,
    },
    /// A file's columns or text break the schema.
    #[error("{path}")]
    Schema {
        /// The file.
        path: PathBuf,
        /// What breaks it.
        source: SchemaError,
    },
    /// A shard differs from what the index says of it.
    #[error("{path}: expected {expected}, found {found}; the shard is not the one that the index was written for")]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// What the index says.
        expected: String,
        /// What the file has.
        found: String,
    },
    /// A reader thread ended before its last batch; what it met stands on standard error.
    #[error("{path}: a reader of the dataset stopped early")]
    Reader {
        /// The dataset.
        path: PathBuf,
    },
    /// No sample is left to feed.
    #[error("{path}: no sample of {wanted}; {hint}")]
    Empty {
        /// The dataset.
        path: PathBuf,
        /// The selection, in words.
        wanted: String,
        /// What there is instead.
        hint: String,
    },
    /// A sample that can't be fed in the form that was asked for.
    #[error("sample {sample}: {problem}")]
    Sample {
        /// Key of the sample.
        sample: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl FeedError {
    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> FeedError {
        let path = path.to_owned();
        move |source| FeedError::Io { path, action, source }
    }

    pub(crate) fn parquet(path: &Path) -> impl FnOnce(parquet::errors::ParquetError) -> FeedError {
        let path = path.to_owned();
        move |source| FeedError::Parquet { path, source }
    }

    pub(crate) fn schema(path: &Path) -> impl FnOnce(SchemaError) -> FeedError {
        let path = path.to_owned();
        move |source| FeedError::Schema { path, source }
    }
}
