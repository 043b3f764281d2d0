//! One CT or one text in; arrays and token ids out.
//!
//! # Layout
//! - [`volume`]: files of one CT to a [`Volume`](volume::Volume) in display orientation, samples in their native type
//! - [`orientation`]: affine to axis codes, plane, and the flips that bring a slice to the radiological display
//! - [`intensity`]: value range and min-max mapping
//! - [`window`]: the part of the Hounsfield scale that is shown, by numbers or by name
//! - [`percentile`]: values at percentiles of a volume, as numpy defines them
//! - [`resample`]: foreground box, trilinear and antialiased resampling
//! - [`recipe`]: the named preparations, each one call from `Volume` to voxels
//! - [`perceptual`]: a hash by which copies of an image are found
//! - [`slices`]: axial slices as views of a volume
//! - [`text`]: tokenizer, chat templates, prompts, report findings
//! - [`error`]: the crate's one error type
//!
//! Nothing here knows parquet, DataFusion or libtorch, and nothing here spawns a thread: callers run volumes in parallel.

pub mod volume;

pub mod orientation;

pub mod intensity;
pub mod percentile;
pub mod resample;
pub mod window;

pub mod perceptual;
pub mod recipe;
pub mod slices;

pub mod text;

pub mod error;

pub use error::InputError;
