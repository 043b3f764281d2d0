//! From manifests to shards, at scale: the library of `med2e3-data`.
//!
//! # Layout
//! - [`prepare`]: FLOW 1 on one page: manifest -> ranges -> rows -> commit
//! - [`config`]: what the TOML file of a run may say
//! - [`manifest`]: M3D_Cap.json, M3D-VQA CSV and conversations to the two tables that prepare starts from
//! - [`work`]: what is done to one range: volumes or texts
//! - [`engine`]: everything that touches DataFusion: scans, the prepare node, SQL
//! - [`output`], [`tokenizer`]: the output folder and the run's tokenizers
//! - [`sample`]: seeded, stratified subsets
//! - [`inspect`]: one row and its picture
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
pub mod inspect;
pub mod manifest;
pub mod output;
pub mod prepare;
pub mod progress;
pub mod sample;
pub mod tokenizer;
pub mod work;

pub use error::PrepareError;
