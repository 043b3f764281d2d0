//! Bytes of a checkpoint, and of the checkpoints that are on a disk at one time.

use serde::Serialize;

use super::learning::{Learning, Learns, StateBytes, Weights};

/// What names, configurations and the manifest of a checkpoint take at most.
pub const NAMES: f64 = (1 << 20) as f64;

/// What checkpoints take of disk and memory.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CheckpointBytes {
    /// The model's weights.
    pub weights: f64,
    /// What training goes on from: moments, and what f32 masters have beyond their weights.
    pub state: f64,
    /// Tokenizers, configurations, names; a little more than there will be.
    pub files: f64,
    /// Checkpoints that are on the disk at one time at most, the one that is being written included.
    pub at_once: u64,
}

impl CheckpointBytes {
    /// Of a model with these weights; `tokenizers` are the bytes of the files that are copied along.
    pub fn new(
        weights: &[Weights],
        learning: &Learning,
        states: &StateBytes,
        tokenizers: u64,
        at_once: u64,
    ) -> CheckpointBytes {
        let all: f64 = weights.iter().map(|group| group.count).sum();
        let element = if all > 0.0 { states.weights / all } else { 0.0 };
        // Tables that learn beside adapters are stored with the adapters too.
        let beside = [("llm.embeddings", learning.llm_embeddings), ("llm.head", learning.llm_head)];
        let tables = weights.iter().filter(|group| beside.contains(&(group.group, true)));
        let twice = match learning.llm_blocks {
            Learns::Adapters => tables.map(|group| group.count).sum(),
            Learns::Frozen | Learns::Full => 0.0,
        };
        CheckpointBytes {
            weights: states.weights + element * twice,
            state: states.moments + states.remainder,
            files: tokenizers as f64 + NAMES,
            at_once,
        }
    }

    /// Bytes of one.
    pub fn one(&self) -> f64 {
        self.snapshot() + self.files
    }

    /// Bytes of host memory that one takes between the device and the disk.
    pub fn snapshot(&self) -> f64 {
        self.weights + self.state
    }

    /// Bytes of all that are there at one time, `existing` of them already.
    pub fn needed(&self, existing: u64) -> f64 {
        self.one() * self.at_once.saturating_sub(existing).max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{LoraConfig, Med2e3Config, Part, Preset};
    use crate::plan::learning;
    use crate::precision::Precision;

    const STAGE2: [Part; 4] = [Part::Llm, Part::Vision2dModel, Part::Vision2dConnector, Part::Vision3dConnector];

    #[test]
    fn a_checkpoint_of_stage_2_holds_weights_moments_and_remainders() {
        let config = Med2e3Config::of_preset(Preset::Paper);
        let learns = Learning::of_parts(&STAGE2, false);
        let weights = learning::weights(&config, &learns);
        let states = learning::states(&weights, Precision::Bf16);
        let bytes = CheckpointBytes::new(&weights, &learns, &states, 1000, 3);
        let sum = |of: fn(&Weights) -> f64| weights.iter().map(of).sum::<f64>();
        // 2 bytes a weight, and 8 + 2 for one that learns: the 16 of training without 4 of the gradient and 2 of the weight.
        let expected = 2.0 * sum(|group| group.count) + 10.0 * sum(|group| group.learning);
        assert_eq!((bytes.snapshot(), bytes.one()), (expected, expected + 1000.0 + NAMES));
        assert_eq!((bytes.needed(0), bytes.needed(2), bytes.needed(9)), (3.0 * bytes.one(), bytes.one(), bytes.one()));
    }

    #[test]
    fn tables_that_learn_beside_adapters_are_stored_twice() {
        let mut config = Med2e3Config::of_preset(Preset::Paper);
        config.lora = Some(LoraConfig::plain(16, 32.0, 0.0, vec!["all-linear".into()]));
        let resting = Learning::of_parts(&[Part::Llm], true);
        let of = |learns: &Learning| {
            let weights = learning::weights(&config, learns);
            CheckpointBytes::new(&weights, learns, &learning::states(&weights, Precision::F32), 0, 1).weights
        };
        let table = 4.0 * 32064.0 * 3072.0;
        assert_eq!(of(&Learning { llm_embeddings: true, ..resting }) - of(&resting), table);
        assert_eq!(of(&Learning { llm_embeddings: true, llm_head: true, ..resting }) - of(&resting), 2.0 * table);
    }
}
