//! Subsets of a dataset's samples: seeded draws, and splits that share nothing.

pub mod draw;
mod reach;
pub mod resplit;
