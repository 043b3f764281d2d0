//! The crate's error: why a command fails, with the file, key or shape that is the cause.

use std::path::PathBuf;

use med2e3_feed::FeedError;
use med2e3_input::InputError;
use med2e3_metric::compare::CompareError;
use med2e3_metric::meteor::WordNetError;
use med2e3_program::output::OutputError;
use med2e3_schemas::SchemaError;
use med2e3_schemas::sample::Task;
use med2e3_shards::ShardError;
use med2e3_store::FileError;

use crate::device::DeviceError;
use crate::files::weights_file::stored::StoredError;
use crate::libtorch::LibtorchError;
use crate::model::ModelError;
use crate::train::optimizer::OptimizerError;

/// Why a command fails.
#[derive(Debug, thiserror::Error)]
pub enum TrainerError {
    /// A file that the system refuses to read or write.
    #[error(transparent)]
    Disk(#[from] FileError),
    /// A file that is not what its path promises.
    #[error("{path}: expected {expected}, found {found}")]
    File {
        /// The file.
        path: PathBuf,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// More samples that do not read than a run may go without.
    #[error(
        "{path}: expected at most {most} samples whose volumes do not read (data.max_bad), found {found}; the last: {last}"
    )]
    BadSamples {
        /// The file that has all of them.
        path: PathBuf,
        /// The most that may be.
        most: u64,
        /// How many there are.
        found: u64,
        /// The last one's place, and what was expected and found.
        last: String,
    },
    /// A checkpoint that is damaged, and the one before it, which is not.
    #[error("{problem}\nhint: {whole} is whole: name it, or move {damaged} away so that it is the last one of its run")]
    Damaged {
        /// What is wrong.
        problem: String,
        /// The damaged checkpoint.
        damaged: PathBuf,
        /// The whole one.
        whole: PathBuf,
    },
    /// A file that should hold weights and can't be read as such.
    #[error("{path}: no weights can be read")]
    Weights {
        /// The file.
        path: PathBuf,
        /// What is wrong with its bytes.
        source: StoredError,
    },
    /// A part's weights that do not fit the model.
    #[error("{path}")]
    Part {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<TrainerError>,
    },
    /// A configuration that does not fit itself or the dataset.
    #[error("{key}: expected {expected}, found {found}")]
    Config {
        /// The configuration's key.
        key: String,
        /// What would fit.
        expected: String,
        /// What it states.
        found: String,
    },
    /// A dataset whose inputs are made in another way than those that a checkpoint learned from.
    #[error(
        "{dataset}: its inputs are made in another way than those that {checkpoint} learned from:{differences}\nhint: other_inputs = \"accept\" goes on even so"
    )]
    OtherInputs {
        /// The dataset.
        dataset: PathBuf,
        /// The checkpoint.
        checkpoint: PathBuf,
        /// A line each: what differs, and both values.
        differences: String,
    },
    /// An output folder that holds something else.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The loss or its gradients are not finite.
    #[error(
        "step {step}: loss {loss}, its gradients or the weights are not finite; {kept}\nhint: a lower learning rate, or clipping"
    )]
    Diverged {
        /// The step.
        step: u64,
        /// Its value; finite where only a gradient or a weight is not.
        loss: f64,
        /// What is left of the run.
        kept: String,
    },
    /// Checkpoints could not be written, more in a row than the configuration allows.
    #[error("{count} checkpoints in a row could not be written; {kept}; the last one: {problem}")]
    Unsaved {
        /// How many.
        count: usize,
        /// What is left of the run.
        kept: String,
        /// Why.
        problem: String,
    },
    /// Evaluations that are not of the same samples.
    #[error("{task}: the runs do not answer the same samples")]
    OtherSamples {
        /// The kind of pair.
        task: Task,
        /// Which run lacks what.
        source: CompareError,
    },
    /// A text of a schema that can't be read.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// A dataset that can't be read.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// Data that can't be fed.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// An input or a tokenizer that can't be read.
    #[error(transparent)]
    Input(#[from] InputError),
    /// WordNet, which METEOR reads.
    #[error(transparent)]
    WordNet(#[from] WordNetError),
    /// A model whose parts do not fit.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// An optimizer state that does not fit.
    #[error(transparent)]
    Optimizer(#[from] OptimizerError),
    /// A device that is not available.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// An operation that libtorch refused.
    #[error(transparent)]
    Libtorch(#[from] LibtorchError),
}

impl TrainerError {
    /// The error of a step whose numbers are not finite, of a run whose last checkpoint is that of the step `saved`.
    pub(crate) fn diverged(step: u64, loss: f64, saved: Option<u64>) -> TrainerError {
        TrainerError::Diverged { step, loss, kept: kept(saved) }
    }
}

/// What is left of a run whose last checkpoint is that of the step `saved`, in words.
pub(crate) fn kept(saved: Option<u64>) -> String {
    match saved {
        Some(saved) => format!("the checkpoint step-{saved} is kept"),
        None => "there is no checkpoint yet".into(),
    }
}
