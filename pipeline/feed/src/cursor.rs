//! The position of a feed in its order: the whole resume state of the data.

use serde::{Deserialize, Serialize};

/// How much was fed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedCursor {
    /// Pass over the selection, from 0.
    pub epoch: u64,
    /// Batches of this epoch that were fed.
    pub batch: u64,
}

impl FeedCursor {
    /// The cursor before the batch of a number, counted from the first epoch's first.
    pub(crate) fn at(number: u64, per_epoch: u64) -> FeedCursor {
        FeedCursor { epoch: number / per_epoch, batch: number % per_epoch }
    }

    /// The number of the next batch, counted from the first epoch's first.
    pub(crate) fn number(self, per_epoch: u64) -> u64 {
        self.epoch * per_epoch + self.batch
    }
}
