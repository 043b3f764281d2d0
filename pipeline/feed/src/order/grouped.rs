//! Texts of one volume in groups of a fixed size, so that positions and groups stay in step.
//!
//! A volume's texts, in an order of their own each epoch, fill as many groups as they can. What rests of the volumes is joined:
//! rests of which two together fill a group first, the others one behind the other, cut into groups. Groups come in permuted
//! order; a last one that is not full ends the epoch.

use std::collections::BTreeMap;

use med2e3_shards::Samples;

use super::permutation::{Keys, Permutation};
use super::{Source, narrow};
use crate::FeedError;

/// Volumes and their texts: what is the same in each epoch.
#[derive(Clone, Debug)]
pub struct Groups {
    size: u64,
    /// Texts, those of one volume side by side.
    texts: Vec<u32>,
    /// For each volume the first of its texts, then their number.
    starts: Vec<u32>,
    /// For each volume the full groups of the volumes before it, then those of all.
    full: Vec<u32>,
}

impl Groups {
    /// A text of several volumes belongs to the first of them; one of none stands alone.
    ///
    /// # Errors
    /// Groups of no text.
    pub(super) fn new(samples: &Samples, size: usize) -> Result<Groups, FeedError> {
        FeedError::check("the order", size > 0, || "groups of 1 text or more".into(), || "0".into())?;
        let (mut by_volume, mut alone) = (BTreeMap::<u32, Vec<u32>>::new(), Vec::new());
        for (place, position) in (0..samples.len()).zip(0..) {
            // Numbered as their ids are sorted.
            match samples.first_volume(place) {
                Some(volume) => by_volume.entry(volume).or_default().push(position),
                None => alone.push(vec![position]),
            }
        }
        let mut groups = Groups { size: size as u64, texts: Vec::new(), starts: vec![0], full: vec![0] };
        for texts in by_volume.into_values().chain(alone) {
            let full = groups.full[groups.full.len() - 1] + (texts.len() / size) as u32;
            groups.texts.extend(texts);
            groups.starts.push(groups.texts.len() as u32);
            groups.full.push(full);
        }
        Ok(groups)
    }

    fn volumes(&self) -> usize {
        self.starts.len() - 1
    }

    /// Texts of a volume.
    fn count(&self, volume: usize) -> u64 {
        u64::from(self.starts[volume + 1] - self.starts[volume])
    }

    /// Those that fill no group of their own.
    fn rest(&self, volume: usize) -> u64 {
        self.count(volume) % self.size
    }

    /// Groups of one volume.
    fn all_full(&self) -> u64 {
        u64::from(self.full[self.volumes()])
    }

    /// A volume's text in the order that `keys` give it.
    fn text(&self, volume: usize, place: u64, keys: Keys) -> u32 {
        let own = Permutation::new(self.count(volume), keys.of(volume as u64)).at(place);
        self.texts[self.starts[volume] as usize + own as usize]
    }

    /// The volumes that have a rest, in the order in which rests are joined.
    fn joined(&self, keys: Keys) -> Vec<usize> {
        let all: Vec<usize> = (0..self.volumes()).filter(|volume| self.rest(*volume) > 0).collect();
        let mut by_size: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        if all.is_empty() {
            return all;
        }
        let order = Permutation::new(all.len() as u64, keys);
        let mut shuffled: Vec<usize> = (0..all.len() as u64).map(|place| all[order.at(place) as usize]).collect();
        let mut joined = Vec::with_capacity(all.len());
        let mut waiting = vec![true; self.volumes()];
        for &volume in &shuffled {
            let rest = self.rest(volume);
            match by_size.get_mut(&(self.size - rest)).and_then(Vec::pop) {
                Some(partner) => {
                    joined.extend([partner, volume]);
                    (waiting[partner], waiting[volume]) = (false, false);
                }
                None => by_size.entry(rest).or_default().push(volume),
            }
        }
        shuffled.retain(|volume| waiting[*volume]);
        joined.extend(shuffled);
        joined
    }
}

/// What an epoch adds.
#[derive(Debug)]
struct Epoch {
    number: u64,
    texts: Keys,
    /// The texts of all rests, in groups one behind the other.
    rests: Vec<u32>,
    /// Of the groups that are full, where there is one.
    groups: Option<Permutation>,
}

/// A walk over groups. It keeps 4 bytes for each text of a rest.
#[derive(Debug)]
pub(super) struct GroupedWalk<'a> {
    source: Source,
    groups: &'a Groups,
    epoch: Option<Epoch>,
}

impl<'a> GroupedWalk<'a> {
    pub(super) fn new(source: Source, groups: &'a Groups) -> GroupedWalk<'a> {
        GroupedWalk { source, groups, epoch: None }
    }

    pub(super) fn at(&mut self, epoch: u64, place: u64) -> u32 {
        let (source, groups) = (self.source, self.groups);
        if self.epoch.as_ref().is_none_or(|kept| kept.number != epoch) {
            self.epoch = None;
        }
        let epoch = self.epoch.get_or_insert_with(|| Epoch::new(epoch, source, groups));
        let (number, inside) = (place / groups.size, place % groups.size);
        // The last group, where it is not full, has no other place.
        let whole = groups.texts.len() as u64 / groups.size;
        let number = epoch.groups.filter(|_| number < whole).map_or(number, |order| order.at(number));
        match number.checked_sub(groups.all_full()) {
            Some(rest) => epoch.rests[(rest * groups.size + inside) as usize],
            None => {
                let volume = groups.full.partition_point(|before| *before <= narrow(number)) - 1;
                let of_volume = number - u64::from(groups.full[volume]);
                groups.text(volume, of_volume * groups.size + inside, epoch.texts)
            }
        }
    }
}

impl Epoch {
    fn new(number: u64, source: Source, groups: &Groups) -> Epoch {
        let texts = source.keys(number, "texts");
        let rest_of = |volume: usize| {
            let (count, rest) = (groups.count(volume), groups.rest(volume));
            (count - rest..count).map(move |place| groups.text(volume, place, texts))
        };
        let rests = groups.joined(source.keys(number, "rests")).into_iter().flat_map(rest_of).collect();
        let whole = groups.texts.len() as u64 / groups.size;
        let order = (whole > 0).then(|| Permutation::new(whole, source.keys(number, "groups")));
        Epoch { number, texts, rests, groups: order }
    }
}
