//! Host batches to device, model, loss, checkpoint, answers and report: the library of `med2e3`.
//!
//! # Layout
//! - [`train`]: FLOW 3; its `mod.rs` is the training loop on one page, the files next to it are what a run opens and writes
//! - [`verb`]: the other commands, a file each; [`verb::evaluate`] is FLOW 4 on one page
//! - [`generate`]: answers: greedy, sampled, by beam search; its `answerer` is a checkpoint that is ready to answer
//! - [`bert_score`]: BERTScore, the metric that needs a model of its own
//! - [`model`]: Med-2E3, its parts, its loss, its published weight names
//! - [`files`]: checkpoints, adapters and published weights on disk
//! - [`predictions`]: others' files of predictions, read and matched with samples
//! - [`report`]: runs as one page, also while they go on
//! - `tables`: the paper's tables of results, with rows of one's own
//! - [`plan`]: what a step costs, before it is run: FLOPs, memory, time, and the fastest policy that fits
//! - [`config`]: what the TOML file of a run may hold
//! - [`trained_parts`]: what of a model learns, as a configuration states it
//! - [`device`], [`device_batch`], [`precision`]: the device of tensors, how a batch gets there, and the kind of floats
//! - [`augmentation`]: how volumes are changed in training
//! - [`host_array`], [`staging`]: arrays on their way to the device and numbers on their way back, without a wait
//! - `text_tokenizer`: captions to the ids of a text encoder
//! - `fit`: whether a model was made for a dataset; `machine`: what a configuration may ask of the machine
//! - [`http`]: what servers share: where they listen, and who may ask
//! - `differences`: whether a folder holds the run that a configuration describes; `lock`: one writer of it
//! - `memory_refused`: tensors for which there is no memory, as an error
//! - [`words`]: choices by name, for configurations and the command line
//! - [`libtorch`]: what tch lacks, through C++ functions; the only `unsafe` code of the crate
//! - [`cli`]: the command line
//! - [`error`]: the crate's one error type
//!
//! Imports run one way: `cli` -> `verb`, `train`, `report` -> `generate` -> `files` -> `model` -> `libtorch`.
//!
//! # Axis letters
//! The last part of a tensor's name states its axes: `scores_bn` is (B, N).
//!
//! | letter | axis |
//! |---|---|
//! | B | entries of a batch: rows of text, volumes or slices, whichever the tensor holds |
//! | N | slices of a volume |
//! | C | channels |
//! | D, H, W | depth, height, width |
//! | P | 3D tokens of a volume, or patches before pooling |
//! | Q | 2D tokens of a slice |
//! | S | visual tokens of a volume, as the language model gets them |
//! | T | positions of a sequence |
//! | A | attention heads |
//! | K | keys in a cache |
//! | E | width of a token or feature; behind A, of one head |
//! | V | vocabulary |
//! | R | entries picked from another axis |
//! | 1 | an axis of one entry |
//!
//! Nothing here knows DataFusion.

pub mod train;
pub mod verb;

pub mod bert_score;
pub mod generate;

pub mod model;

pub mod files;

pub mod predictions;

pub mod report;

mod tables;

pub mod plan;

pub mod config;

pub mod augmentation;
pub mod device;
pub mod device_batch;
mod differences;
mod fit;
pub mod host_array;
pub mod http;
mod lock;
mod machine;
mod memory_refused;
pub mod precision;
pub mod staging;
mod text_tokenizer;
pub mod trained_parts;

pub mod libtorch;
pub mod words;

pub mod cli;
pub mod error;

pub use error::TrainerError;
