//! From manifests to shards, at scale: the library of `med2e3-data`.
//!
//! # Layout
//! - [`prepare`]: FLOW 1 on one page: manifest -> ranges -> rows -> commit
//! - [`config`], [`recognize`]: what the TOML file of a run may say; the same made from a path
//! - [`estimate`]: what a run will take, measured on a few inputs
//! - [`manifest`]: M3D_Cap.json, M3D-VQA CSV, conversations and folders to the two tables that prepare starts from
//! - [`work`]: what is done to one range: volumes or texts
//! - [`engine`]: everything that touches DataFusion: scans, the prepare node, SQL
//! - [`tables`]: the manifest's two tables on disk, kept while nothing that they came from has changed
//! - [`output`], [`tokenizer`]: the output folder and the run's tokenizers
//! - [`provenance`]: what a dataset says about paths
//! - [`sample`]: seeded, stratified subsets
//! - [`inspect`]: one row and its picture
//! - [`verify`]: proof that a dataset is whole
//! - [`leaks`]: what training shares with the other splits, and a split without that
//! - [`demo_set`]: a small set in M3D's layout, cut from a CT atlas
//! - [`progress`]: bars, rates and clocks
//! - [`cli`]: the command line
//! - [`error`]: the crate's one error type
//!
//! Nothing here knows libtorch.

pub mod cli;
pub mod config;
pub mod demo_set;
pub mod engine;
pub mod error;
pub mod estimate;
pub mod inspect;
pub mod leaks;
pub mod manifest;
pub mod output;
pub mod prepare;
pub mod progress;
pub mod provenance;
pub mod recognize;
pub mod sample;
pub mod tables;
pub mod tokenizer;
pub mod verify;
pub mod work;

pub use error::PrepareError;
