//! Samples whose volumes do not read as they were written: what becomes of them.

use std::path::PathBuf;

use med2e3_schemas::Id;
use serde::{Deserialize, Serialize};

/// What becomes of a sample of which a volume does not read as it was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnBadSample {
    /// It is an error.
    #[default]
    Fail,
    /// Its batch goes without it, and says so.
    Skip,
}

/// A sample that its batch goes without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadSample {
    /// Its key.
    pub sample: Id,
    /// The volume that does not read.
    pub volume: Id,
    /// The volume's shard.
    pub shard: PathBuf,
    /// The volume's row there.
    pub row: usize,
    /// What was expected and found.
    pub reason: String,
}
