//! Subsets of a dataset's samples: seeded draws, and splits that share nothing.

pub mod draw;
pub mod resplit;
