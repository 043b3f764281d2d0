//! The crate's error: a run that can't go on. A single bad input is no error here, it goes to quarantine.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use med2e3_input::InputError;
use med2e3_input::reading::MachineFault;
use med2e3_program::machine::ThreadsRefused;
use med2e3_schemas::SchemaError;
use med2e3_shards::ShardError;
use med2e3_store::FileError;

/// Why a run stops.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// A file that the system refuses.
    #[error(transparent)]
    File(#[from] FileError),
    /// A configuration or a file of the schema that does not parse.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// A shard or a dataset that can't be written or read.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// An input that the whole run needs, such as the tokenizer, or one that the machine failed to read.
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
    /// A value of the configuration that is out of range.
    #[error("{key}: expected {expected}, found {found}")]
    Config {
        /// The configuration's key.
        key: String,
        /// What would be in range.
        expected: String,
        /// The value.
        found: String,
    },
    /// An output folder that holds something else.
    #[error("{path}: {problem}\nhint: {hint}")]
    Output {
        /// The folder.
        path: PathBuf,
        /// What is in the way.
        problem: String,
        /// What to do.
        hint: String,
    },
    /// A query that the engine refuses.
    #[error("query: {problem}")]
    Query {
        /// What it reports.
        problem: String,
    },
    /// Rows that have no text form.
    #[error("rows can't be shown")]
    Show(#[from] arrow::error::ArrowError),
    /// Text that can't be written as CSV.
    #[error("{path}: no CSV can be written")]
    Csv {
        /// The file.
        path: PathBuf,
        /// What the writer reports.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A working file that is not as the program wrote it.
    #[error(
        "{path}: expected {expected}, found other contents: the file was changed or damaged\nhint: start again, which reads the manifest again; where that does not help, the disk is not to be trusted"
    )]
    WorkingFile {
        /// The file.
        path: PathBuf,
        /// What the program wrote.
        expected: &'static str,
    },
    /// The system gives no threads, or a thread of the work ended by a panic, whose message is on standard error.
    #[error("the threads of the work")]
    Threads {
        /// What happened.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A run without a single row.
    #[error("{path}: nothing to prepare, {found}")]
    Nothing {
        /// The data root.
        path: PathBuf,
        /// What is there instead.
        found: String,
    },
    /// A run that stopped after something was finished.
    #[error("{path}: stopped; what is finished is kept, and the same command goes on from there")]
    Stopped {
        /// The dataset's folder.
        path: PathBuf,
        /// Why it stopped.
        #[source]
        cause: Box<PrepareError>,
    },
    /// More rejects than the configuration allows.
    #[error(
        "{rejected} of {rows} rows were set aside, more than {limit_rows} rows and {limit_percent} %: {reasons}\nall are in {quarantine}\nhint: raise [limits] in the configuration if this is as expected"
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
        /// How many for which reason, and the first of them.
        reasons: String,
        /// The file with all of them.
        quarantine: PathBuf,
    },
    /// A request for something that the dataset does not have.
    #[error("{what}: {problem}")]
    Request {
        /// What was asked for.
        what: String,
        /// Why it can't be given.
        problem: String,
    },
}

impl PrepareError {
    /// Adds path and action to a system's error.
    pub fn file(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> PrepareError {
        let path = path.to_owned();
        move |source| FileError::of(&path, action)(source).into()
    }
}

impl From<ThreadsRefused> for PrepareError {
    fn from(refused: ThreadsRefused) -> PrepareError {
        PrepareError::Threads { source: refused.into() }
    }
}

impl From<MachineFault> for PrepareError {
    fn from(fault: MachineFault) -> PrepareError {
        InputError::from(fault).into()
    }
}
