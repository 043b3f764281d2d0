//! Host batches to device, model, loss, checkpoint, answers and report: the library of `med2e3`.
//!
//! # Layout
//! - [`train`]: FLOW 3 on one page; `run` opens and checks what its loop needs
//! - [`evaluate`]: FLOW 4 on one page; [`explain`] shows which slices a question looks at; [`ask`] answers one question
//! - [`exchange`]: published weights in, weights for transformers out; [`verify`]: a checkpoint against a reference
//! - [`retrieve`]: captions by volume and volumes by caption, with M3D-CLIP
//! - `answer`, `fit`, `output`: what these share; `m3d_clip_files`, `text_tokenizer`: what retrieval reads
//! - [`config`]: what the TOML file of a run may say
//! - [`device`], [`device_batch`], [`precision`]: where tensors live, how a batch gets there, and in which floats
//! - [`model`]: Med-2E3 and its parts
//! - [`loss`], [`optimizer`], [`schedule`]: what training needs besides
//! - [`generate`]: answers: greedy, sampled, by beam search
//! - [`checkpoint`]: weights and state on disk
//! - [`metric`]: BLEU@1, ROUGE@1, closed accuracy, recalls of retrieval
//! - [`model_files`]: a model's parts on disk, of either layout; [`weights_file`]: weights from every published form of file
//! - [`report`]: all runs of a demo as one page
//! - [`progress`]: bars, rates and clocks
//! - [`libtorch`]: what tch lacks, through a small C++ shim; the crate's one place with `unsafe`
//! - [`cli`]: the command line
//! - [`error`]: the crate's one error type
//!
//! # Axis letters
//! B batch, N slices, D H W voxels, P 3D tokens, Q tokens of a slice, T text tokens, E width, V vocabulary: a name such as
//! `scores_bn` says its tensor's axes.
//!
//! Nothing here knows DataFusion.

mod answer;
pub mod ask;
pub mod checkpoint;
pub mod cli;
pub mod config;
pub mod device;
pub mod device_batch;
pub mod error;
pub mod evaluate;
pub mod exchange;
pub mod explain;
mod fit;
pub mod generate;
pub mod libtorch;
pub mod loss;
mod m3d_clip_files;
pub mod metric;
pub mod model;
pub mod model_files;
pub mod optimizer;
mod output;
pub mod precision;
pub mod progress;
pub mod report;
pub mod retrieve;
mod run;
pub mod schedule;
mod text_tokenizer;
pub mod train;
pub mod verify;
pub mod weights_file;

pub use error::TrainerError;
