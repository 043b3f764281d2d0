//! `med2e3 explain` as a configuration states it.

use std::path::PathBuf;

use med2e3_schemas::config::Moved;
use med2e3_schemas::sample::Split;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{MOST_SLICES, OtherInputs};
use crate::device::DeviceChoice;
use crate::words::words;

/// `med2e3 explain`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExplainConfig {
    /// Where to run.
    pub device: DeviceChoice,
    /// CPU threads of one operation; 0 leaves libtorch's choice.
    pub threads: usize,
    /// A run's folder (its last checkpoint) or one checkpoint's folder.
    pub checkpoint: PathBuf,
    /// A prepared dataset.
    pub dataset: PathBuf,
    /// Part of the study.
    pub split: Split,
    /// Which questions of it are explained.
    pub chosen: Chosen,
    /// Slices shown of each volume, spread evenly.
    #[schemars(range(min = 1, max = MOST_SLICES))]
    pub slices: usize,
    /// Most tokens of an answer.
    #[schemars(range(min = 1))]
    pub max_new_tokens: usize,
    /// How many draws of slices stand against those of the highest scores where scores are set to 0; 0 leaves that out.
    #[serde(default = "deletion_draws")]
    pub deletion_draws: usize,
    /// With it a map of where each answer's tokens look among the 3D tokens is made, in the block of the language model that it names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attention: Option<AttentionLayer>,
    /// Seed of what is drawn: slices, a scorer's draws, and the cases of intervals.
    #[serde(default)]
    pub seed: u64,
    /// What becomes of a dataset whose inputs are made in another way than those that the checkpoint learned from.
    #[serde(default)]
    pub other_inputs: OtherInputs,
}

/// Keys of `med2e3 explain` that had other places in earlier versions.
pub const EXPLAIN_MOVED: [Moved; 1] = [("volumes", "chosen.first")];

fn deletion_draws() -> usize {
    5
}

/// Which questions are explained. Ids are 32 hex digits; `med2e3-data sql` lists those that a condition in SQL holds for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Chosen {
    /// All about the first so many volumes by their ids.
    First(#[schemars(range(min = 1))] usize),
    /// All about the volumes with these ids.
    Volumes(Vec<String>),
    /// The samples with these ids.
    Samples(Vec<String>),
    /// Those of a subset that `med2e3-data sample` or `resplit` stored.
    Subset(String),
    /// Those that an evaluation, by its folder, has answered wrongly: the main metric of their task is 0.
    Wrong(PathBuf),
}

/// A block of the language model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged, expecting = "expected \"last\" or the number of a block, from 0")]
pub enum AttentionLayer {
    /// By its number, from 0.
    Number(usize),
    /// By its place.
    Word(Place),
}

words! {
    /// A place among blocks.
    pub enum Place {
        /// Behind all others.
        Last = "last",
    }
}
