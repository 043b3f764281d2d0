//! Parquet shards: written whole or not at all, one volume a data page, read by row.

pub mod codes;
pub mod commit;
pub mod read;
pub mod write;

pub use read::ShardReader;
pub use write::{FinishedShard, Layout, ShardWriter};
