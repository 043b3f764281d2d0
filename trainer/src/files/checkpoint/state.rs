//! What training goes on from in addition to the weights.

use med2e3_feed::FeedCursor;
use serde::{Deserialize, Serialize};

/// Where a run is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainState {
    /// Finished optimizer steps. Dropout is seeded by it, so no generator state needs to be stored.
    pub step: u64,
    /// The next batch of the feed.
    pub cursor: FeedCursor,
    /// Hash of the samples that the cursor counts in, as hex.
    pub selection: String,
    /// What learns, in words; empty in checkpoints of an earlier version.
    #[serde(default)]
    pub trained: Vec<String>,
    /// Validation loss by step so far, in nats per token.
    pub validation: Vec<(u64, f64)>,
}
