//! What a training step costs, computed from sizes alone: FLOPs, memory and time. No tensor is made.
//!
//! # Layout
//! - `shape`: the towers of a model, as far as their sizes decide costs
//! - [`learning`]: which weights learn, and the bytes of their states
//! - [`flops`]: FLOPs of each module over a micro-batch
//! - [`memory`]: what is kept for the backward pass, and the peak
//! - `peak`: what a card computes in a second at most
//! - [`profile`]: rates of a device; [`time`]: seconds of a micro-batch and of a step
//! - [`choice`]: the fastest recomputation and micro-batch that a device's memory holds
//! - [`work`]: the lengths of a run's texts, and the micro-batches that they become
//! - [`checkpoint`]: bytes of checkpoints
//! - [`estimate`]: all of it for one run; `in_words`: for a person
//!
//! FLOP counts a multiplication and an addition as two. Model FLOPs leave recomputation and padding out.

pub mod checkpoint;
pub mod choice;
pub mod estimate;
pub mod flops;
mod in_words;
pub mod learning;
pub mod memory;
pub(crate) mod peak;
pub mod profile;
#[cfg(test)]
mod published;
mod shape;
pub mod time;
pub mod work;

use serde::Serialize;

use crate::model::recompute::Recompute;

/// Texts and volumes that go through the model at once.
#[derive(Debug, Clone, PartialEq)]
pub struct MicroBatch {
    /// Tokens of each row after splicing; the same for all where rows are padded.
    pub rows: Vec<usize>,
    /// Distinct volumes.
    pub volumes: f64,
    /// Tokens that are targets.
    pub targets: usize,
    /// Tokens of a padded question, for scorers with a text encoder.
    pub question_tokens: usize,
}

impl MicroBatch {
    /// So many rows of one width.
    pub fn of_width(rows: usize, width: usize, volumes: f64, targets: usize) -> MicroBatch {
        MicroBatch { rows: vec![width; rows], volumes, targets, question_tokens: QUESTION_TOKENS }
    }

    /// Tokens of all rows.
    pub fn tokens(&self) -> usize {
        self.rows.iter().sum()
    }
}

/// Tokens of a question where nothing better is known.
pub const QUESTION_TOKENS: usize = 20;

/// How so many of a part's blocks, from the first on, are computed again; the others keep everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BlockPolicy {
    /// What is computed again.
    pub recompute: Recompute,
    /// In how many blocks.
    pub blocks: i64,
}

impl BlockPolicy {
    /// Everything is kept.
    pub const NONE: BlockPolicy = BlockPolicy { recompute: Recompute::None, blocks: 0 };

    /// The same for every block.
    pub fn all(recompute: Recompute) -> BlockPolicy {
        BlockPolicy { recompute, blocks: i64::MAX }
    }

    /// Blocks of `count` with each recomputation.
    fn split(self, count: i64) -> [(Recompute, i64); 2] {
        let changed = if self.recompute == Recompute::None { 0 } else { self.blocks.clamp(0, count) };
        [(self.recompute, changed), (Recompute::None, count - changed)]
    }
}

/// The recomputation of each part that has blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Policy {
    /// Of the language model.
    pub llm: BlockPolicy,
    /// Of the 2D encoder.
    pub vision2d: BlockPolicy,
    /// Of the 3D encoder.
    pub vision3d: BlockPolicy,
}

impl Policy {
    /// The same for every block of every part.
    pub fn all(recompute: Recompute) -> Policy {
        let blocks = BlockPolicy::all(recompute);
        Policy { llm: blocks, vision2d: blocks, vision3d: blocks }
    }
}
