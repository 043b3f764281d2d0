//! The shard format and a dataset on disk: write, read, index, select.
//!
//! # Layout
//! - [`codes`]: voxel values to codes and back
//! - [`mod@write`]: a parquet shard, written whole or not at all
//! - [`read`]: a shard's columns, or one row's voxels; `footer`, `pages`, `page_header`, `runs` and `thrift` check what a shard
//!   states before anything is unfolded
//! - [`places`]: where each volume's voxels are, and their hash; [`cell`]: one volume, read by it; [`cost`]: what that took
//! - [`texts`]: all samples' token ids, mapped; `kept`: where what follows from the shards, as these two, is kept
//! - [`members`]: which files belong to a dataset
//! - [`index`]: the file `dataset.json`, read and written
//! - [`subset`]: named lists of samples in a dataset
//! - [`shards`]: the shards that the index names, opened; `unopened`: one that is opened when it is first read
//! - [`dataset`]: a dataset's folder, opened; [`cohort`]: what tells whether two of its splits share something
//! - [`selection`]: which samples, and the identity of the choice
//! - [`error`]: the crate's one error type
//!
//! Nothing here knows CT formats, queues or DataFusion.

pub mod cell;
pub mod codes;
pub mod cohort;
pub mod cost;
pub mod dataset;
pub mod error;
mod footer;
pub mod index;
mod kept;
pub mod members;
mod page_header;
mod pages;
pub mod places;
pub mod read;
mod runs;
pub mod selection;
pub mod shards;
pub mod subset;
pub mod texts;
mod thrift;
mod unopened;
pub mod write;

pub use cost::{CellCost, Watch};
pub use dataset::Dataset;
pub use error::ShardError;
pub use index::{read_index, write_index};
pub use members::Members;
pub use places::{Place, Places};
pub use read::ShardReader;
pub use selection::{SampleRows, Samples, Selection};
pub use shards::Shards;
pub use texts::{Text, Texts};
pub use write::{FinishedShard, PageLayout, ShardWriter};
