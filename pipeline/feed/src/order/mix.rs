//! Tasks in stated shares: positions come in blocks of 1,000, of which each task has its share, exact to one sample at every
//! block's end however long the run is.
//!
//! Weights may change on the way, at a block's end: what came before stays as it was, shares are counted anew from there, and each
//! task goes on in its own samples where it was.

use med2e3_schemas::sample::Task;
use med2e3_shards::Samples;
use serde::{Deserialize, Serialize};

use super::permutation::Permutation;
use super::{Kept, Source, narrow};
use crate::FeedError;

/// Positions of a block.
pub const BLOCK: u64 = 1000;
/// What a weight of 1 counts.
const ONE: f64 = 1e9;
/// The largest weight.
const MOST: f64 = 1e6;
const TASKS: usize = Task::ALL.len();
/// Bytes that changes of weights may take in a cursor, of which the rest takes up to 271.
const MOST_BYTES: usize = 240;

/// Weights of the tasks in billionths, divided by what divides all of them, by their place in [`Task::ALL`]. A task's share is its
/// weight over the sum of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "[u64; TASKS]")]
pub struct Weights([u64; TASKS]);

impl Weights {
    /// Weights, to the billionth; a task that is not named has 0.
    ///
    /// # Errors
    /// A weight that is not 0 to 1,000,000, or no number; all of them 0.
    pub fn new(stated: impl IntoIterator<Item = (Task, f64)>) -> Result<Weights, FeedError> {
        let mut weights = [0; TASKS];
        for (task, weight) in stated {
            let fits = (0.0..=MOST).contains(&weight);
            let expected = || format!("a weight of {task} of 0 to {MOST}");
            FeedError::check("the mix", fits, expected, || weight.to_string())?;
            weights[task as usize] = (weight * ONE).round() as u64;
        }
        Weights::try_from(weights)
    }

    /// Positions below `end` that have a task up to the one at a place of [`Task::ALL`].
    fn up_to(&self, place: usize, end: u64) -> u64 {
        let sum = |weights: &[u64]| weights.iter().map(|weight| u128::from(*weight)).sum::<u128>();
        // No more than `end`, since a part of the sum is no more than the sum.
        (u128::from(end) * sum(&self.0[..=place]) / sum(&self.0)) as u64
    }

    /// Of `end` positions those that have a task.
    pub fn count(&self, task: Task, end: u64) -> u64 {
        let place = task as usize;
        self.up_to(place, end) - place.checked_sub(1).map_or(0, |before| self.up_to(before, end))
    }
}

impl TryFrom<[u64; TASKS]> for Weights {
    type Error = FeedError;

    fn try_from(weights: [u64; TASKS]) -> Result<Weights, FeedError> {
        let divisor = weights.into_iter().fold(0, greatest_divisor);
        FeedError::check("the mix", divisor > 0, || "weights that sum to more than 0".into(), || "0".into())?;
        let most = (MOST * ONE) as u64;
        let largest = weights.into_iter().max().unwrap_or_default();
        FeedError::check("the mix", largest <= most, || format!("weights of 0 to {most}"), || largest.to_string())?;
        Ok(Weights(weights.map(|weight| weight / divisor)))
    }
}

fn greatest_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_divisor(b, a % b) }
}

/// Other weights from a position on.
pub type Change = (u64, Weights);

/// The changes of a mix, one behind the other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Change>")]
pub struct Changes(Vec<Change>);

impl Changes {
    /// # Errors
    /// A change that is no block's end, or not behind the one before; more of them than a cursor holds: none is ever left out.
    pub fn new(changes: Vec<Change>) -> Result<Changes, FeedError> {
        let mut least = BLOCK;
        for (from, _) in &changes {
            let expected = || format!("a change of weights at a multiple of {BLOCK}, {least} or more");
            let fits = from.is_multiple_of(BLOCK) && *from >= least;
            FeedError::check("the mix", fits, expected, || from.to_string())?;
            least = from.saturating_add(BLOCK);
        }
        let changes = Changes(changes);
        let bytes = serde_json::to_string(&changes).map_or(usize::MAX, |text| text.len());
        let expected = || {
            format!(
                "changes of weights that take up to {MOST_BYTES} bytes of a cursor; weights of few digits take less"
            )
        };
        FeedError::check("the mix", bytes <= MOST_BYTES, expected, || {
            format!("{} that take {bytes}", changes.0.len())
        })?;
        Ok(changes)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those from which samples below a position came.
    pub(super) fn begun(&self, position: u64) -> Changes {
        Changes(self.0.iter().copied().take_while(|(from, _)| *from < position).collect())
    }
}

impl TryFrom<Vec<Change>> for Changes {
    type Error = FeedError;

    fn try_from(changes: Vec<Change>) -> Result<Changes, FeedError> {
        Changes::new(changes)
    }
}

/// Positions that have the same weights.
#[derive(Clone, Debug)]
struct Segment {
    from: u64,
    weights: Weights,
    /// Samples of each task before it.
    taken: [u64; TASKS],
}

impl Segment {
    /// Positions below `end`, which is in this segment or its end, that have a task.
    fn count(&self, task: Task, end: u64) -> u64 {
        self.taken[task as usize] + self.weights.count(task, end - self.from)
    }
}

/// The samples of each task.
#[derive(Clone, Debug)]
pub struct Sources {
    segments: Vec<Segment>,
    members: [Vec<u32>; TASKS],
}

impl Sources {
    /// # Errors
    /// A task with a weight and without a sample, or with samples and never a weight.
    pub(super) fn new(samples: &Samples, weights: Weights, then: &Changes) -> Result<Sources, FeedError> {
        let mut members: [Vec<u32>; TASKS] = Default::default();
        for (place, position) in (0..samples.len()).zip(0..) {
            members[samples.task(place) as usize].push(position);
        }
        let mut segments = vec![Segment { from: 0, weights, taken: [0; TASKS] }];
        for &(from, weights) in &then.0 {
            let before = &segments[segments.len() - 1];
            let mut taken = [0; TASKS];
            Task::ALL.iter().for_each(|task| taken[*task as usize] = before.count(*task, from));
            segments.push(Segment { from, weights, taken });
        }
        for (&task, members) in Task::ALL.iter().zip(&members) {
            let missing = |what: &str| format!("samples of {task}, {what}");
            let with_weight = segments.iter().any(|segment| segment.weights.0[task as usize] > 0);
            let without = members.is_empty();
            let expected = || missing("which has a weight");
            FeedError::check("the mix", !(with_weight && without), expected, || "none in the selection".into())?;
            let found = || format!("{} samples of it in the selection and no weight", members.len());
            FeedError::check("the mix", with_weight || without, || format!("a weight of {task}"), found)?;
        }
        Ok(Sources { segments, members })
    }

    /// The segment of a position.
    fn segment(&self, position: u64) -> &Segment {
        &self.segments[self.segments.partition_point(|segment| segment.from <= position) - 1]
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
        let segment = self.sources.segment(start);
        for &task in Task::ALL {
            let before = segment.count(task, start);
            let of_block = segment.count(task, end) - before;
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
