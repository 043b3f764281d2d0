//! Which word of a prediction stands for which of the reference: three greedy stages, each over what the one before it left.
//!
//! Words are looked up, never compared one with the other: an alignment takes time in proportion to the two texts.

use std::collections::HashMap;
use std::hash::Hash;

use super::porter::{Mode, stem};
use super::words::Words;
use super::{Release, WordNet};

/// The alignment of a prediction's words with a reference's.
pub(super) struct Alignment {
    /// For each word of the prediction, the reference's that it stands for.
    partners: Vec<Option<usize>>,
    /// Words that each stage found: equal, of one stem, synonyms.
    pub(super) found: [usize; 3],
}

/// Words of one side that have no partner yet, by their place, in order; with what the stage compares.
type Left<K> = Vec<(usize, K)>;

pub(super) fn align(prediction: &Words, reference: &Words, wordnet: &WordNet, release: Release) -> Alignment {
    let mut alignment = Alignment { partners: vec![None; prediction.len()], found: [0; 3] };
    let words = |words| (0..Words::len(words)).map(|at| (at, words.get(at))).collect();
    let (mine, theirs) = alignment.equal(0, words(prediction), words(reference));

    let stems = |left: Left<&str>| left.into_iter().map(|(at, word)| (at, stem(word, Mode::Nltk))).collect();
    let (mine, theirs) = alignment.equal(1, stems(mine), stems(theirs));

    // The third stage gets what the second compared, stems: that is what the reference implementation does.
    alignment.synonyms(mine, theirs, wordnet, release);
    alignment
}

impl Alignment {
    /// From the end of the prediction, each word takes the last equal one of the reference that is free. What is left.
    fn equal<K: Hash + Eq>(&mut self, stage: usize, mut mine: Left<K>, mut theirs: Left<K>) -> (Left<K>, Left<K>) {
        if mine.is_empty() || theirs.is_empty() {
            return (mine, theirs);
        }
        let mut taken = vec![false; theirs.len()];
        let mut free = LastFirst::of(theirs.iter().map(|(_, key)| key));
        for (at, key) in mine.iter().rev() {
            if let Some(place) = free.take(&key) {
                taken[place] = true;
                self.partners[*at] = Some(theirs[place].0);
                self.found[stage] += 1;
            }
        }
        drop(free);
        mine.retain(|(at, _)| self.partners[*at].is_none());
        let mut taken = taken.into_iter();
        theirs.retain(|_| !taken.next().unwrap_or(false));
        (mine, theirs)
    }

    /// From the end of the prediction, each word takes the last one of the reference that is among its synonyms.
    fn synonyms(&mut self, mine: Left<String>, theirs: Left<String>, wordnet: &WordNet, release: Release) {
        let theirs: Left<u32> = theirs.into_iter().filter_map(|(at, word)| Some((at, wordnet.name(&word)?))).collect();
        if theirs.is_empty() {
            return;
        }
        let mut free = LastFirst::of(theirs.iter().map(|(_, name)| *name));
        let mut names = Vec::new();
        for (at, word) in mine.iter().rev() {
            names.clear();
            wordnet.synonym_names(word, release, &mut names);
            let last = names.iter().filter_map(|name| free.last(name).map(|place| (place, *name))).max();
            if let Some((place, name)) = last {
                free.take(&name);
                self.partners[*at] = Some(theirs[place].0);
                self.found[2] += 1;
            }
        }
    }

    /// Runs of words that stand next to each other, in the same order, on both sides; 0 where nothing is aligned.
    pub(super) fn chunks(&self) -> usize {
        let follows = |pair: &[Option<usize>]| matches!(pair, [Some(a), Some(b)] if *b == a + 1);
        self.found.iter().sum::<usize>() - self.partners.windows(2).filter(|pair| follows(pair)).count()
    }
}

/// The places at which each key is free, the last first.
struct LastFirst<K> {
    last: HashMap<K, usize>,
    /// For each place, the one before it with the same key.
    before: Vec<Option<usize>>,
}

impl<K: Hash + Eq> LastFirst<K> {
    fn of(keys: impl ExactSizeIterator<Item = K>) -> LastFirst<K> {
        let mut last = HashMap::with_capacity(keys.len());
        let before = keys.enumerate().map(|(place, key)| last.insert(key, place)).collect();
        LastFirst { last, before }
    }

    fn last(&self, key: &K) -> Option<usize> {
        self.last.get(key).copied()
    }

    fn take(&mut self, key: &K) -> Option<usize> {
        let last = self.last.get_mut(key)?;
        let place = *last;
        match self.before[place] {
            Some(before) => *last = before,
            None => {
                self.last.remove(key);
            }
        }
        Some(place)
    }
}
