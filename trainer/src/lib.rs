//! Host batches to device, model, loss, checkpoint, answers and report.

pub mod device;
pub mod generate;
pub mod libtorch;
pub mod loss;
pub mod model;
pub mod optimizer;
pub mod schedule;
