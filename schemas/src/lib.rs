//! The files between the programs: Arrow schemas, the dataset index, reports, and the run's configuration text.
//!
//! # Layout
//! - [`id`]: the 16-byte keys of volumes and samples
//! - [`identity`]: hashes of whole values, from canonical bytes
//! - [`manifest`]: the two tables that prepare starts from
//! - [`volume`], [`sample`]: the two kinds of shard; [`codec`]: how voxels are compressed there
//! - [`subset`]: the ids of some samples; [`look`]: how a volume looks, by which copies are found
//! - [`quarantine`]: why an input became no row
//! - [`outcome`]: what became of one manifest range, in its shard's footer
//! - [`index`]: the file `dataset.json`
//! - [`inputs`]: how a model's inputs are made from volumes and texts
//! - [`evaluation`]: answers and what they score; [`explanation`]: which slices count for an answer
//! - [`report`]: what each program says about its run, as JSON; [`joined`]: several runs shown together
//! - [`comparison`]: what tells evaluations apart, as JSON; [`ablation`]: the same of the rows of an ablation
//! - [`config`]: TOML text plus overrides to a typed value
//! - [`guarded`]: a library's panic on damaged bytes, as words
//! - [`error`]: the crate's one error type
//!
//! This crate does no input or output and knows neither DataFusion nor libtorch.

pub mod ablation;
pub mod codec;
mod columns;
pub mod comparison;
pub mod config;
pub mod error;
pub mod evaluation;
pub mod explanation;
pub mod guarded;
pub mod id;
pub mod identity;
pub mod index;
pub mod inputs;
pub mod joined;
pub mod look;
pub mod manifest;
pub mod outcome;
pub mod quarantine;
pub mod report;
pub mod sample;
pub mod subset;
pub mod volume;

pub use error::SchemaError;
pub use id::Id;

/// Version of everything in this crate that reaches a disk; rises when an old reader would misread a new file.
pub const SCHEMA_VERSION: u32 = 2;
