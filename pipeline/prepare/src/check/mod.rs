//! What can be wrong with a dataset: damage, what its splits share, and what its inputs have become since.

pub mod diff;
pub mod leaks;
pub mod verify;
