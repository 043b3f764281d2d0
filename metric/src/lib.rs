//! Scores of answers against references, and of retrieval: texts or similarities in, numbers out; then what these numbers allow to
//! say. Nothing here knows of tensors, datasets or models; the one
//! thing that is read from files is WordNet.
//!
//! Each row is scored by itself and rows are averaged arithmetically; there is no corpus-level score.
//!
//! # Layout
//! - [`measure`]: all scores of one answer by name, for what is [`Expected`] of it
//! - [`bleu`], [`rouge`]: of captions and open questions; `text` is what they share, `lcs` finds common subsequences
//! - [`meteor`]: of both, where WordNet is at hand
//! - [`closed`]: of questions with lettered choices
//! - [`retrieval`]: ranks and recalls, of volumes and their captions
//! - [`focus`]: how scores are spread over slices
//! - [`cases`]: rows in cases, and the bootstrap over these; [`interval`]: means with intervals; [`compare`]: two systems, several seeds;
//!   [`first`]: which of several is first, and how often

pub mod bleu;
pub mod cases;
pub mod closed;
pub mod compare;
pub mod first;
pub mod focus;
#[cfg(test)]
mod golden;
pub mod interval;
mod judged;
mod lcs;
pub mod meteor;
pub mod retrieval;
pub mod rouge;
mod text;

pub use judged::{Expected, measure};
pub use text::strip;
