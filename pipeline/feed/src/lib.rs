//! From a dataset on disk to ready batches in memory: put samples in order, collate them, and pass them on through a lock-free
//! ring.
//!
//! # Layout
//! - [`order`]: which sample comes when, and in which step and at which rank
//! - [`cursor`]: the position in that order, which a checkpoint keeps
//! - [`spliced`]: how long a text is for the language model; [`step_plan`]: how a step is cut into micro-batches, and what a
//!   target counts
//! - [`batch`]: one batch in host memory; [`bad_sample`]: what it goes without; [`block`]: the memory of its fields
//! - [`ring`]: the lock-free ring of batches that are filled cell by cell and handed over in order
//! - [`feed`]: the flow: order -> step plan -> lay out -> read -> batch
//! - [`totals`]: what the threads did: bytes and seconds
//! - [`error`]: the crate's one error type
//!
//! Nothing here knows CT formats, DataFusion or libtorch.

pub mod bad_sample;
pub mod batch;
pub mod block;
pub mod cursor;
pub mod error;
pub mod feed;
pub mod order;
pub mod ring;
pub mod spliced;
pub mod step_plan;
mod sync;
pub mod totals;

pub use bad_sample::{BadSample, OnBadSample};
pub use batch::{HostBatch, HostText, QuestionForm, StepShare, TextForm, TextLayout};
pub use cursor::FeedCursor;
pub use error::FeedError;
pub use feed::{FedBatch, Feed, FeedPlan};
pub use order::mix::{Changes, Weights};
pub use order::steps::{Steps, Tail};
pub use order::{Order, Sequence};
pub use spliced::{Spliced, Splicing};
pub use step_plan::{Budget, LossGroup, StepRule};
pub use totals::{Spent, Totals};
