//! The crate's error: a run that can't go on. A single bad input is no error here, it goes to quarantine.

use std::io;
use std::path::{Path, PathBuf};

use med2e3_feed::FeedError;
use med2e3_input::InputError;
use med2e3_schemas::SchemaError;

/// Why a run stops.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
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
    /// A configuration or a file of the schema that does not read.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// A shard that can't be written or read.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// An input that the whole run needs, such as the tokenizer.
    #[error(transparent)]
    Input(#[from] InputError),
    /// A manifest file that is not what it should be as a whole.
    #[error("{path}: expected {expected}, found {found}")]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What a manifest of this kind has.
        expected: String,
        /// What this one has.
        found: String,
    },
    /// A configuration's value that can't be worked with.
    #[error("{key}: expected {expected}, found {found}")]
    Config {
        /// The configuration's key.
        key: String,
        /// What would do.
        expected: String,
        /// What it says.
        found: String,
    },
    /// The output folder holds something else.
    #[error("{path}: {problem}\nhint: {hint}")]
    Output {
        /// The folder.
        path: PathBuf,
        /// What is in the way.
        problem: String,
        /// What to do.
        hint: String,
    },
    /// A plan that DataFusion could not make or run.
    #[error("query engine")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// More rejects than the configuration allows.
    #[error(
        "{rejected} of {rows} rows were set aside, more than {limit_rows} rows and {limit_percent} %; see {quarantine}\nhint: raise [limits] in the configuration if this is as expected"
    )]
    TooManyRejects {
        /// Rows set aside.
        rejected: u64,
        /// Rows in the manifest.
        rows: u64,
        /// The configured number.
        limit_rows: u64,
        /// The configured share.
        limit_percent: f64,
        /// Where the reasons stand.
        quarantine: PathBuf,
    },
    /// A request that names something that is not there.
    #[error("{what}: {problem}")]
    Request {
        /// What was asked for.
        what: String,
        /// Why it can't be given.
        problem: String,
    },
}

impl PrepareError {
    /// Wraps a system error with the path and what was tried.
    pub fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> PrepareError {
        let path = path.to_owned();
        move |source| PrepareError::Io { path, action, source }
    }
}
