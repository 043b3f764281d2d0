//! The shard format and a dataset on disk: write, read, index, select.
//!
//! # Layout
//! - [`codes`]: voxel values to codes and back
//! - [`mod@write`]: a parquet shard, written whole or not at all
//! - [`read`]: a shard's columns, or one row's voxels
//! - [`index`]: the file `dataset.json`, read and written
//! - [`subset`]: named lists of samples in a dataset
//! - [`dataset`]: a dataset's folder, opened
//! - [`selection`]: which samples, and the identity of the choice
//! - [`error`]: the crate's one error type
//!
//! Nothing here knows CT formats, queues or DataFusion.

pub mod codes;
pub mod dataset;
pub mod error;
pub mod index;
pub mod read;
pub mod selection;
pub mod subset;
pub mod write;

pub use dataset::Dataset;
pub use error::ShardError;
pub use index::{read_index, write_index};
pub use read::ShardReader;
pub use selection::{Samples, Selection};
pub use write::{FinishedShard, PageLayout, ShardWriter};
