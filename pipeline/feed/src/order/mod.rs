//! Which sample comes when: a pure function of a global position (samples since the run began), the selection, the seed and the
//! order.
//!
//! # Layout
//! - [`permutation`]: a keyed permutation, computed place by place
//! - [`mix`]: tasks in stated shares; [`grouped`]: texts of one volume together; [`buckets`]: texts of like length together
//! - [`steps`]: how positions are cut into steps and a step into the shares of ranks
//!
//! Neither shard layout nor codec, ranks, thread count, batch size or queue depth enters, so two machines with the same dataset
//! see the same order, and one number resumes it.

pub mod buckets;
pub mod grouped;
pub mod mix;
pub mod permutation;
pub mod steps;

use med2e3_shards::Samples;
use serde::{Deserialize, Serialize};

use crate::FeedError;
use buckets::{BucketWalk, Buckets};
use grouped::{GroupedWalk, Groups};
use mix::{Changes, MixWalk, Sources, Weights};
use permutation::{Keys, Permutation};

/// Number of this way to order samples. It changes with any change of which sample comes when; cursors state it.
pub const REVISION: u32 = 2;

/// How samples are ordered. Every order but `Mix` brings each sample once an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Order {
    /// Another exact permutation each epoch.
    Shuffled {
        /// The run's seed.
        seed: u64,
    },
    /// As `Shuffled`, but in groups of so many texts, each of one volume where the volume still has so many, so that a step reads
    /// and encodes the volume once. With 1 the order is that of `Shuffled`.
    GroupedByVolume {
        /// The run's seed.
        seed: u64,
        /// Texts of a group, 1 or more; it divides the batch.
        texts: usize,
    },
    /// As `Shuffled`, but texts of like length come together: so many permuted texts are sorted by the ids of their conversations and cut
    /// into units, which come in permuted order.
    LengthBuckets {
        /// The run's seed.
        seed: u64,
        /// Texts that are sorted together, a multiple of `unit`; with more, texts of a unit are more alike.
        window: usize,
        /// Texts of a unit, 1 or more; it divides the batch, and is the batch at best.
        unit: usize,
    },
    /// Tasks in stated shares, each in its own permutations, as often as its share asks.
    Mix {
        /// The run's seed.
        seed: u64,
        /// The tasks' shares.
        weights: Weights,
        /// Other shares from later positions on.
        #[serde(default, skip_serializing_if = "Changes::is_empty")]
        then: Changes,
    },
    /// By sample id, each epoch the same.
    ById,
}

impl Order {
    /// Positions that one rank takes together: ranks share a step in such units.
    pub fn unit(&self) -> usize {
        match self {
            Order::GroupedByVolume { texts, .. } => *texts,
            _ => 1,
        }
    }

    /// Positions that one step takes together: a batch is a multiple of it.
    pub fn batch_unit(&self) -> usize {
        match self {
            Order::LengthBuckets { unit, .. } => *unit,
            _ => self.unit(),
        }
    }

    /// The run's seed, where it matters.
    pub fn seed(&self) -> Option<u64> {
        match self {
            Order::Shuffled { seed }
            | Order::GroupedByVolume { seed, .. }
            | Order::LengthBuckets { seed, .. }
            | Order::Mix { seed, .. } => Some(*seed),
            Order::ById => None,
        }
    }

    /// What of it says which samples came before a position: later changes of a mix's weights do not.
    pub fn begun(&self, position: u64) -> Order {
        match self {
            Order::Mix { seed, weights, then } => {
                Order::Mix { seed: *seed, weights: *weights, then: then.begun(position) }
            }
            other => other.clone(),
        }
    }
}

/// What keys of permutations come from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    selection: [u8; 32],
    seed: u64,
}

impl Source {
    fn keys(&self, number: u64, word: &str) -> Keys {
        Keys::new(&self.selection, self.seed, number, word)
    }
}

/// Which sample of a selection is at which position.
#[derive(Clone, Debug)]
pub struct Sequence {
    samples: u64,
    way: Way,
}

#[derive(Clone, Debug)]
enum Way {
    ById,
    Shuffled(Source),
    Grouped(Source, Groups),
    Buckets(Source, Buckets),
    Mix(Source, Sources),
}

impl Sequence {
    /// The order of samples, which are sorted by id; `selection` is their hash. `Shuffled` and `ById` hold nothing; the others hold
    /// 4 bytes a sample.
    ///
    /// # Errors
    /// No samples, or 2^32 or more; groups or windows that do not fit; weights that leave out a task of them, or name one that
    /// they lack.
    pub fn new(selection: &[u8; 32], samples: &Samples, order: &Order) -> Result<Sequence, FeedError> {
        let fits = !samples.is_empty() && u32::try_from(samples.len()).is_ok();
        FeedError::check("the selection", fits, || "1 to 4294967295 samples".into(), || samples.len().to_string())?;
        let source = Source { selection: *selection, seed: order.seed().unwrap_or_default() };
        let way = match *order {
            Order::ById => Way::ById,
            Order::Shuffled { .. } | Order::GroupedByVolume { texts: 1, .. } => Way::Shuffled(source),
            Order::GroupedByVolume { texts, .. } => Way::Grouped(source, Groups::new(samples, texts)?),
            Order::LengthBuckets { window, unit, .. } => Way::Buckets(source, Buckets::new(samples, window, unit)?),
            Order::Mix { weights, ref then, .. } => Way::Mix(source, Sources::new(samples, weights, then)?),
        };
        Ok(Sequence { samples: samples.len() as u64, way })
    }

    /// Samples of an epoch.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// A walk over the positions, in any order. It keeps the keys of the epoch that it was asked for last; what it says depends
    /// on the position alone.
    pub fn walk(&self) -> Walk<'_> {
        let state = match &self.way {
            Way::ById => State::ById,
            Way::Shuffled(source) => State::Shuffled(source, Kept::default()),
            Way::Grouped(source, groups) => State::Grouped(GroupedWalk::new(*source, groups)),
            Way::Buckets(source, buckets) => State::Buckets(BucketWalk::new(*source, buckets)),
            Way::Mix(source, sources) => State::Mix(Box::new(MixWalk::new(*source, sources))),
        };
        Walk { samples: self.samples, state }
    }
}

/// A walk over a [`Sequence`].
#[derive(Debug)]
pub struct Walk<'a> {
    samples: u64,
    state: State<'a>,
}

#[derive(Debug)]
enum State<'a> {
    ById,
    Shuffled(&'a Source, Kept),
    Grouped(GroupedWalk<'a>),
    Buckets(BucketWalk<'a>),
    Mix(Box<MixWalk<'a>>),
}

impl Walk<'_> {
    /// The sample at a position of the run, as its place in the selection.
    pub fn at(&mut self, position: u64) -> u32 {
        let (epoch, place) = (position / self.samples, position % self.samples);
        match &mut self.state {
            State::ById => narrow(place),
            State::Shuffled(source, kept) => narrow(kept.of(epoch, self.samples, source, "epoch").at(place)),
            State::Grouped(walk) => walk.at(epoch, place),
            State::Buckets(walk) => walk.at(epoch, place),
            State::Mix(walk) => walk.at(position),
        }
    }
}

/// The permutation that was asked for last, with its number.
#[derive(Clone, Debug, Default)]
struct Kept(Option<(u64, Permutation)>);

impl Kept {
    fn of(&mut self, number: u64, count: u64, source: &Source, word: &str) -> &Permutation {
        if self.0.as_ref().is_none_or(|(kept, _)| *kept != number) {
            self.0 = None;
        }
        let made = || (number, Permutation::new(count, source.keys(number, word)));
        &self.0.get_or_insert_with(made).1
    }
}

fn narrow(place: u64) -> u32 {
    u32::try_from(place).expect("fewer than 2^32 samples")
}
