//! Tasks in stated shares: positions come in blocks of 1,000, of which each task has its share, exact to one sample at every
//! block's end however long the run is.

use med2e3_schemas::sample::{SampleRow, Task};
use serde::{Deserialize, Serialize};

use super::permutation::Permutation;
use super::{Kept, Source, narrow};
use crate::FeedError;

/// Positions of a block.
pub const BLOCK: u64 = 1000;
/// What a weight of 1 counts.
const ONE: f64 = 1e9;
const TASKS: usize = Task::ALL.len();

/// Weights of the tasks in billionths, by their place in [`Task::ALL`]. A task's share is its weight over the sum of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weights([u64; TASKS]);

impl Weights {
    /// Weights, to the billionth; a task that is not named has 0.
    ///
    /// # Errors
    /// A weight that is not 0 to 1,000,000, or no number; all of them 0.
    pub fn new(stated: impl IntoIterator<Item = (Task, f64)>) -> Result<Weights, FeedError> {
        let mut weights = [0; TASKS];
        for (task, weight) in stated {
            let fits = (0.0..=1e6).contains(&weight);
            let expected = || format!("a weight of {task} of 0 to 1000000");
            FeedError::check("the mix", fits, expected, || weight.to_string())?;
            weights[task as usize] = (weight * ONE).round() as u64;
        }
        let expected = || "weights that sum to more than 0".into();
        FeedError::check("the mix", weights.iter().any(|weight| *weight > 0), expected, || "0".into())?;
        Ok(Weights(weights))
    }

    /// Positions below `end` that have a task up to the one at a place of [`Task::ALL`].
    fn up_to(&self, place: usize, end: u64) -> u64 {
        let sum = |weights: &[u64]| weights.iter().map(|weight| u128::from(*weight)).sum::<u128>();
        // No more than `end`, since a part of the sum is no more than the sum.
        (u128::from(end) * sum(&self.0[..=place]) / sum(&self.0)) as u64
    }

    /// Positions below `end` that have a task.
    pub fn count(&self, task: Task, end: u64) -> u64 {
        let place = task as usize;
        self.up_to(place, end) - place.checked_sub(1).map_or(0, |before| self.up_to(before, end))
    }
}

/// The samples of each task.
#[derive(Clone, Debug)]
pub struct Sources {
    weights: Weights,
    members: [Vec<u32>; TASKS],
}

impl Sources {
    /// # Errors
    /// A task with a weight and without a sample, or with samples and without a weight.
    pub(super) fn new(rows: &[SampleRow], weights: Weights) -> Result<Sources, FeedError> {
        let mut members: [Vec<u32>; TASKS] = Default::default();
        for (row, position) in rows.iter().zip(0..) {
            members[row.task as usize].push(position);
        }
        for ((task, weight), members) in Task::ALL.iter().zip(weights.0).zip(&members) {
            let missing = |what: &str| format!("samples of {task}, {what}");
            let (with_weight, without) = (weight > 0, members.is_empty());
            let expected = || missing("which has a weight");
            FeedError::check("the mix", !(with_weight && without), expected, || "none in the selection".into())?;
            let found = || format!("{} samples of it in the selection and no weight", members.len());
            FeedError::check("the mix", with_weight || without, || format!("a weight of {task}"), found)?;
        }
        Ok(Sources { weights, members })
    }
}

/// A walk over a mix.
#[derive(Debug)]
pub(super) struct MixWalk<'a> {
    source: Source,
    sources: &'a Sources,
    places: Kept,
    own: [Kept; TASKS],
}

impl<'a> MixWalk<'a> {
    pub(super) fn new(source: Source, sources: &'a Sources) -> MixWalk<'a> {
        MixWalk { source, sources, places: Kept::default(), own: Default::default() }
    }

    pub(super) fn at(&mut self, position: u64) -> u32 {
        let block = position / BLOCK;
        let start = block * BLOCK;
        let places: &Permutation = self.places.of(block, BLOCK, &self.source, "block");
        let mut place = places.at(position - start);
        let end = start.saturating_add(BLOCK);
        for &task in Task::ALL {
            let before = self.sources.weights.count(task, start);
            let of_block = self.sources.weights.count(task, end) - before;
            if place < of_block {
                let members = &self.sources.members[task as usize];
                let (count, number) = (members.len() as u64, before + place);
                let own = self.own[task as usize].of(number / count, count, &self.source, task.as_str());
                return members[narrow(own.at(number % count)) as usize];
            }
            place -= of_block;
        }
        unreachable!("the shares of a block sum to it")
    }
}
