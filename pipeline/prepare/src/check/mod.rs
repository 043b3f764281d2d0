//! What can be wrong with a dataset: damage, and what its splits share.

pub mod cohort;
pub mod leaks;
pub mod verify;
