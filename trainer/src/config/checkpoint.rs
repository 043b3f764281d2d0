//! `[checkpoint]`: when checkpoints are written, and which stay.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check_positive;
use crate::TrainerError;
use crate::fit::expect;

/// When checkpoints are written, and which stay. The last step always has one, and so has the step at which a run is told to stop.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CheckpointConfig {
    /// Steps between checkpoints; no step is due by its number where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub every_steps: Option<u64>,
    /// Minutes after which one is due, whatever the step.
    #[schemars(range(min = 0))]
    pub every_minutes: f64,
    /// How many of the newest stay; earlier ones are removed once a newer one is whole.
    #[schemars(range(min = 1))]
    pub keep: usize,
    /// Checkpoints in a row that may fail to be written, for a full disk say; with one more the run ends. What could not be
    /// written is tried again a minute later at the latest.
    pub max_failed: usize,
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        CheckpointConfig { every_steps: None, every_minutes: 30.0, keep: 3, max_failed: 3 }
    }
}

impl CheckpointConfig {
    /// # Errors
    /// The first key whose value is out of range.
    pub(super) fn check(&self) -> Result<(), TrainerError> {
        if let Some(steps) = self.every_steps {
            check_positive([("checkpoint.every_steps", steps as usize)])?;
        }
        check_positive([("checkpoint.keep", self.keep)])?;
        let minutes = self.every_minutes;
        let expected = "minutes, more than 0".to_owned();
        expect("checkpoint.every_minutes", minutes > 0.0 && minutes.is_finite(), expected, minutes.to_string())
    }
}
