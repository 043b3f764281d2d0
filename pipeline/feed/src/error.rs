//! The crate's error: why a batch can't be made.

use std::path::PathBuf;

use med2e3_schemas::Id;
use med2e3_shards::ShardError;

/// Why a batch can't be made.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// A dataset that can't be read.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// A sample that does not have the form that was asked for.
    #[error("sample {sample}: {problem}")]
    Sample {
        /// Key of the sample.
        sample: Id,
        /// What is wrong with it.
        problem: String,
    },
    /// A reader thread that ended before its last batch; what it met is on standard error.
    #[error("{path}: a reader of the dataset stopped early")]
    Reader {
        /// The dataset.
        path: PathBuf,
    },
}
