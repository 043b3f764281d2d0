//! Texts of like length in one batch, so that little of it is padding.
//!
//! An epoch's permuted samples are cut into windows. The samples of a window, but for those at its end that are too few for a unit,
//! are sorted by length and cut into units, which come in permuted order. Inside a unit samples come in the order that they had in
//! the window, so no rank and no loss group has the longest ones of each batch; and what a `drop`ped tail leaves out is drawn, not
//! the longest.
//!
//! A unit, and not the batch, is what comes together: else another batch would be another order, and no run could go on with it. So
//! the unit is stated, and a batch is one unit or several.

use med2e3_shards::Samples;

use super::permutation::Permutation;
use super::{Source, narrow};
use crate::FeedError;

/// What is the same in each epoch.
#[derive(Clone, Debug)]
pub struct Buckets {
    window: u64,
    unit: u64,
    /// Ids of each sample's conversation.
    lengths: Vec<u32>,
}

impl Buckets {
    /// # Errors
    /// Windows or units of no text; windows that units do not divide.
    pub(super) fn new(samples: &Samples, window: usize, unit: usize) -> Result<Buckets, FeedError> {
        FeedError::check("the order", unit > 0, || "units of 1 text or more".into(), || "0".into())?;
        let fits = window > 0 && window.is_multiple_of(unit);
        let expected = || format!("a window of a multiple of {unit} texts, its units");
        FeedError::check("the order", fits, expected, || window.to_string())?;
        let length = |position| u32::try_from(samples.ids_len(position)).unwrap_or(u32::MAX);
        let lengths = (0..samples.len()).map(length).collect();
        Ok(Buckets { window: window as u64, unit: unit as u64, lengths })
    }

    /// The samples of a window of an epoch, one behind the other.
    fn of_window(&self, source: &Source, epoch: u64, window: u64) -> Vec<u32> {
        let samples = self.lengths.len() as u64;
        let order = Permutation::new(samples, source.keys(epoch, "epoch"));
        let start = window * self.window;
        let end = start.saturating_add(self.window).min(samples);
        let permuted: Vec<u32> = (start..end).map(|place| narrow(order.at(place))).collect();
        let (unit, units) = (self.unit as usize, (end - start) / self.unit);
        let mut places: Vec<u32> = (0..narrow(units * self.unit)).collect();
        places.sort_by_key(|place| (self.lengths[permuted[*place as usize] as usize], *place));
        places.chunks_mut(unit).for_each(<[u32]>::sort_unstable);
        let mut found = Vec::with_capacity(permuted.len());
        if units > 0 {
            let order = Permutation::new(units, source.keys(epoch, "buckets").of(window));
            for number in 0..units {
                let begin = order.at(number) as usize * unit;
                found.extend(places[begin..begin + unit].iter().map(|place| permuted[*place as usize]));
            }
        }
        found.extend(&permuted[places.len()..]);
        found
    }
}

/// A walk over buckets. It keeps 4 bytes for each text of a window, and sorts a window when it comes to it.
#[derive(Debug)]
pub(super) struct BucketWalk<'a> {
    source: Source,
    buckets: &'a Buckets,
    /// The window that was asked for last, by epoch and number.
    kept: Option<((u64, u64), Vec<u32>)>,
}

impl<'a> BucketWalk<'a> {
    pub(super) fn new(source: Source, buckets: &'a Buckets) -> BucketWalk<'a> {
        BucketWalk { source, buckets, kept: None }
    }

    pub(super) fn at(&mut self, epoch: u64, place: u64) -> u32 {
        let BucketWalk { source, buckets, .. } = self;
        let (window, inside) = (place / buckets.window, place % buckets.window);
        if self.kept.as_ref().is_none_or(|(kept, _)| *kept != (epoch, window)) {
            self.kept = None;
        }
        let made = || ((epoch, window), buckets.of_window(source, epoch, window));
        self.kept.get_or_insert_with(made).1[inside as usize]
    }
}
