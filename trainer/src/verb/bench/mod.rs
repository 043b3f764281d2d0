//! `med2e3 bench`: a training step measured, compared between devices, and taken apart.
//!
//! # Layout
//! - [`step`]: texts of a second, memory and utilization of the whole step
//! - [`check`]: whether a device computes what the CPU computes
//! - [`parts`]: attention, products and copies alone; a device's rates for [`plan`](crate::plan)
//! - [`sizes`]: the models; `texts`: the texts; `learner`: a model with its optimizer; `trace`: one step, recorded
//!
//! Nothing here reads a dataset or a checkpoint: weights, volumes and ids are made up.

pub mod check;
mod learner;
pub mod parts;
pub mod sizes;
pub mod step;
mod texts;
mod trace;
