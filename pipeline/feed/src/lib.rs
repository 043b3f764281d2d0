//! From shards on disk to ready batches in memory: write and commit shards, read them, put samples in order, collate
//! them, and hand them over through lock-free queues.
//!
//! # Layout
//! - [`shard`]: parquet shards: write, commit, read, voxel codes
//! - [`map`]: memory-mapped files, the crate's one place with `unsafe`
//! - [`dataset`]: a dataset folder, opened
//! - [`order`]: which sample comes when
//! - [`batch`]: one batch in host memory
//! - [`queue`]: the lock-free bounded queue
//! - [`feed`]: the flow: order -> readers -> collate -> queue
//! - [`error`]: the crate's one error type

pub mod batch;
pub mod dataset;
pub mod error;
pub mod feed;
pub mod map;
pub mod order;
pub mod queue;
pub mod shard;

pub use batch::{HostBatch, QuestionForm, TextForm};
pub use dataset::{Dataset, SPLIT_FOOTER_KEY, Samples, Selection, read_index};
pub use error::FeedError;
pub use feed::{Feed, FeedCursor, FeedPlan};
