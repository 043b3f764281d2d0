//! What turns gradients into new weights: the norm, clipping and AdamW, over flat buffers and without a wait for the device.
//!
//! # Layout
//! - `trained`: a weight that is trained, its rate and decay; which weights share a bucket
//! - `bucket`: a block's weights, gradients and moments, each one flat buffer
//! - `master`: the f32 values behind bf16 weights
//! - `adamw`: a step over all buckets; `state`: what a checkpoint stores of it

mod adamw;
mod bucket;
mod master;
mod state;
mod trained;

pub use adamw::{AdamW, AdamWConfig, OptimizerError, StepScalars, clipped_norm};
pub use master::{Master, combine};
pub use state::{AdamWState, StoredState};
pub use trained::{Rates, Trained};
