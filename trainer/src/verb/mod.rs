//! The commands besides training and the report, a file each.
//!
//! # Layout
//! - [`evaluate`]: answers a split and scores the answers
//! - [`mod@compare`]: evaluations of the same samples: what tells them apart, and the paper's tables
//! - [`mod@ablate`]: the rows of the paper's Tables 3 to 5, trained, evaluated and compared
//! - [`score`]: scores predictions that other programs wrote, and any pairs of texts
//! - [`explain`]: shows how much each slice counts for a question
//! - [`ask`]: answers one question about one volume on disk
//! - [`serve`]: a page on which a person asks about volumes
//! - [`retrieve`]: captions by volume and volumes by caption, with M3D-CLIP
//! - [`exchange`]: published weights in, weights for transformers out
//! - [`verify`]: a checkpoint against a reference implementation
//! - [`mod@bench`]: a training step measured, compared between devices, and taken apart
//! - [`plan`]: what a run will cost; [`runs`]: the runs below a folder
//! - `answers`: answers to a dataset's samples, for the first two; `turns`: later turns of conversations as questions;
//!   `score_table`: what metrics of answers come to; `controls`: the same questions asked in other ways;
//!   `focus`: over how many slices scores are spread; `partners`: rows paired with others like them

pub mod ablate;
mod answers;
pub mod ask;
pub mod bench;
pub mod compare;
mod controls;
pub mod evaluate;
pub mod exchange;
pub mod explain;
mod focus;
mod leaked;
mod partners;
pub mod plan;
pub mod retrieve;
pub mod runs;
pub mod score;
mod score_table;
pub mod serve;
mod turns;
pub mod verify;
