//! One CT or one text in; arrays and token ids out.
//!
//! # Layout
//! - [`volume`]: reads the files of one CT into a [`Volume`](volume::Volume), samples in their native type
//! - [`orientation`]: affine to axis codes, slice plane, and the flips that give radiological display
//! - [`intensity`]: value range and min-max mapping
//! - [`window`]: CT windows (center and width in HU), by numbers or by the name of a preset
//! - [`percentile`]: percentiles of a volume's values, as numpy defines them
//! - [`resample`]: foreground crop, trilinear and antialiased resampling
//! - [`recipe`]: the named preparations, each one function from `Volume` to model input
//! - [`inputs`]: what a dataset states of its preparation, and the same preparation of a single volume
//! - [`perceptual`]: how a volume looks, by which copies are found
//! - [`slices`]: axial slices as views of a volume
//! - [`text`]: tokenizers, chat templates, prompts, report findings, length budget
//! - [`reading`]: the file operations, which tell faults of the machine from faults of a file
//! - [`error`]: the crate's one error type
//!
//! The crate does not depend on parquet, DataFusion or libtorch, and spawns no thread: callers run volumes in parallel.

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

pub mod inputs;

pub mod error;
pub mod reading;

pub use error::InputError;
