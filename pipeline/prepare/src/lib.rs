//! From manifests to shards, at scale: the library of `med2e3-data`.
//!
//! # Layout
//! - [`prepare`]: FLOW 1 on one page: manifest -> ranges -> rows -> commit
//! - [`config`], [`recognize`]: what the TOML file of a run may say; the same made from a path
//! - [`init`]: a first configuration, with comments, from a look at the data
//! - [`estimate`], [`foresee`]: what a run will take, measured on a few inputs, and what it will set aside, by all headers
//! - [`manifest`]: M3D_Cap.json, M3D-VQA CSV, conversations, own tables and folders to the two tables that prepare starts from
//! - [`run`]: a run's folder, its part of the ranges, its tables on disk, its tokenizers, its recipe hashes
//! - `sealed`: what a run notes for the next one, and notices where it was changed
//! - [`work`]: what is done to one range: volumes or texts
//! - [`engine`]: everything that touches DataFusion: scans, the prepare node, SQL
//! - [`provenance`]: what a dataset may say about paths
//! - [`subset`]: seeded, stratified subsets, and splits that share nothing
//! - [`check`]: proof that a dataset is whole; what training shares with the other splits; what a rerun would do
//! - [`mod@bench`]: how fast a dataset is read, beside what the machine gives
//! - [`show`]: numbers of the whole, a page of rows, one row and its picture, rows of a query
//! - [`demo_set`]: a small set in M3D's layout, cut from a CT atlas
//! - [`progress`]: rows that are done, and thread time by step
//! - [`rank`]: pseudo-random ranks
//! - [`cli`]: the command line
//! - [`error`]: the crate's one error type
//!
//! Nothing here knows libtorch.

pub mod bench;
pub mod check;
pub mod cli;
pub mod config;
pub mod demo_set;
pub mod engine;
pub mod error;
pub mod estimate;
pub mod foresee;
pub mod init;
pub mod manifest;
pub mod prepare;
pub mod progress;
pub mod provenance;
pub mod rank;
pub mod recognize;
pub mod run;
mod sealed;
pub mod show;
pub mod subset;
pub mod work;

pub use error::PrepareError;
