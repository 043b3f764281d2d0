//! The crate's error: why a batch can't be made.

use std::io;
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
    /// An order, a cut into steps or a cursor that does not fit itself or the selection.
    #[error("{what}: expected {expected}, found {found}")]
    Plan {
        /// What does not fit.
        what: String,
        /// What would.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The system gives fewer threads than there are readers.
    #[error("expected threads for {readers} readers, found that the system gives fewer")]
    Threads {
        /// The readers that were asked for.
        readers: usize,
        /// The system's error.
        source: io::Error,
    },
    /// A thread of the feed that panicked; the feed gives no more batches.
    #[error("{path}: a thread of the feed panicked: {said}")]
    Panic {
        /// The dataset.
        path: PathBuf,
        /// What it said, and over which volume.
        said: String,
    },
    /// The caller has all batches of the feed, which so can't make another one.
    #[error(
        "expected a batch that was given back, found that all {batches} of the feed are held: drop one, or copy what is to stay"
    )]
    AllHeld {
        /// Batches of the feed.
        batches: usize,
    },
}

impl FeedError {
    /// [`FeedError::Plan`] where it does not fit.
    pub(crate) fn check(
        what: &str,
        fits: bool,
        expected: impl FnOnce() -> String,
        found: impl FnOnce() -> String,
    ) -> Result<(), FeedError> {
        let error = || FeedError::Plan { what: what.to_owned(), expected: expected(), found: found() };
        if fits { Ok(()) } else { Err(error()) }
    }
}
