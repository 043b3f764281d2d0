//! What is tried on arbitrary bytes: one function a target, which the replay tests of the crates call too.

pub mod shard;
pub mod volumes;
