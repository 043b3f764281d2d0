//! How positions are cut into steps, and a step into the shares of ranks. Steps are computed, never found out: every rank makes
//! the same number of them, so none waits for the others at an epoch's end.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::FeedError;

/// What becomes of an epoch's last samples, which are too few for a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tail {
    /// They are a shorter step.
    #[default]
    Keep,
    /// They are left out of this epoch.
    Drop,
    /// The first samples of the next epoch fill the step; only the run's last step may be shorter.
    Straddle,
}

/// The steps of a run from a position on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    samples: u64,
    batch: u64,
    tail: Tail,
    start: u64,
    end: u64,
}

impl Steps {
    /// `samples` an epoch, 1 or more, and `batch` a step, 1 or more; `start` is a position.
    ///
    /// # Errors
    /// More samples than can be counted; a start behind the end; steps that are all left out.
    pub fn new(samples: u64, epochs: u64, batch: u64, tail: Tail, start: u64) -> Result<Steps, FeedError> {
        let most = || format!("at most {} epochs of {samples} samples", u64::MAX / samples);
        let end = epochs.checked_mul(samples);
        FeedError::check("epochs", end.is_some(), most, || epochs.to_string())?;
        let end = end.unwrap_or_default();
        let expected = || format!("at most {end}, the end of {epochs} epochs of {samples} samples");
        FeedError::check("the cursor's position", start <= end, expected, || start.to_string())?;
        let fits = tail != Tail::Drop || batch <= samples;
        let expected = || format!("at most {samples}, the samples of an epoch, where a shorter step is left out");
        FeedError::check("the batch", fits, expected, || batch.to_string())?;
        Ok(Steps { samples, batch, tail, start, end })
    }

    /// Steps of a stretch of an epoch.
    fn of_stretch(&self, samples: u64) -> u64 {
        match self.tail {
            Tail::Drop => samples / self.batch,
            Tail::Keep | Tail::Straddle => samples.div_ceil(self.batch),
        }
    }

    /// Samples from the start to the end of its epoch; 0 where the run has ended or begins an epoch.
    fn opened(&self) -> u64 {
        let in_epoch = self.start % self.samples;
        if in_epoch == 0 { 0 } else { self.samples - in_epoch }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        let left = self.end - self.start;
        match self.tail {
            Tail::Straddle => self.of_stretch(left),
            Tail::Keep | Tail::Drop => {
                let opened = self.opened();
                self.of_stretch(opened) + (left - opened) / self.samples * self.of_stretch(self.samples)
            }
        }
    }

    /// Samples that are too few for a step: of an epoch the last ones, where the tail is kept or dropped; of the run, where steps
    /// reach over an epoch's end.
    pub fn rest(&self) -> u64 {
        match self.tail {
            Tail::Keep | Tail::Drop => self.samples % self.batch,
            Tail::Straddle => (self.end - self.start) % self.batch,
        }
    }

    /// The positions of a step, counted from the start.
    pub fn positions(&self, step: u64) -> Range<u64> {
        let begin = self.begin(step);
        let end = match self.tail {
            Tail::Straddle => self.end,
            Tail::Keep | Tail::Drop => (begin / self.samples + 1) * self.samples,
        };
        begin..begin.saturating_add(self.batch).min(end)
    }

    /// The position from which the steps behind a step go on.
    pub fn position_after(&self, step: u64) -> u64 {
        if step + 1 < self.count() { self.begin(step + 1) } else { self.end }
    }

    fn begin(&self, step: u64) -> u64 {
        let opened = self.opened();
        let of_opened = self.of_stretch(opened);
        match step.checked_sub(of_opened) {
            Some(later) if self.tail != Tail::Straddle => {
                let of_epoch = self.of_stretch(self.samples);
                self.start + opened + later / of_epoch * self.samples + later % of_epoch * self.batch
            }
            _ => self.start + step * self.batch,
        }
    }
}

/// The part of a step of `samples` that rank `rank` of `ranks` takes, in whole units where the step has them; it may be empty.
pub fn share(samples: usize, unit: usize, rank: usize, ranks: usize) -> Range<usize> {
    let units = samples.div_ceil(unit);
    let from = |rank: usize| {
        let units = rank as u128 * units as u128 / ranks as u128;
        (units as usize * unit).min(samples)
    };
    from(rank)..from(rank + 1)
}
