//! Models on disk: checkpoints, adapters, published weights.
//!
//! # Layout
//! - [`checkpoint`]: a training run's `step-N/`, and what import and export write
//! - [`model_files`]: a model's parts, of either layout, opened and loaded
//! - [`adapters`]: a folder of adapters as PEFT stores it
//! - `m3d_clip`: a published M3D-CLIP
//! - [`weights_file`]: weights from every published form of file
//! - `tensors`: tensors to safetensors files; `json`, `csv`: JSON and CSV; `names`: file names that several of these share

pub mod adapters;
pub mod checkpoint;
pub(crate) mod csv;
pub(crate) mod json;
pub(crate) mod m3d_clip;
pub mod model_files;
pub(crate) mod names;
mod tensors;
pub mod weights_file;
#[cfg(test)]
mod wild;
