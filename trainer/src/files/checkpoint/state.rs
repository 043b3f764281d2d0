//! What training goes on from in addition to the weights.

use med2e3_feed::FeedCursor;
use serde::{Deserialize, Serialize};

/// Where a run is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainState {
    /// Finished steps, left out ones included. Dropout is seeded by it, so no generator state needs to be stored.
    pub step: u64,
    /// The next sample of the feed.
    pub cursor: FeedCursor,
    /// Hash of the samples that the cursor counts in, as hex.
    pub selection: String,
    /// What learns, in words; empty in checkpoints of an earlier version.
    #[serde(default)]
    pub trained: Vec<String>,
    /// Validation loss by step so far, in nats per token.
    pub validation: Vec<(u64, f64)>,
    /// Steps, counted from 1, whose gradients were not finite and which changed no weight; a run that goes on from an earlier
    /// checkpoint leaves them out too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<u64>,
}

impl TrainState {
    /// Updates of the weights so far: finished steps without those that were left out.
    pub fn updates(&self) -> u64 {
        self.step - self.skipped.iter().filter(|skipped| **skipped <= self.step).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_of_another_order_is_refused_in_words() {
        let text = r#"{"step":3,"cursor":{"epoch":0,"batch":3},"selection":"ab","validation":[]}"#;
        let problem = serde_json::from_str::<TrainState>(text).unwrap_err().to_string();
        assert!(problem.contains("batch 3 of epoch 0") && problem.contains("start from its weights"), "{problem}");
    }
}
