//! What turns gradients into new weights: clipping, then AdamW.

mod adamw;
mod clip;

pub use adamw::{AdamW, AdamWConfig, AdamWState, OptimizerError};
pub use clip::clip_grad_norm;
