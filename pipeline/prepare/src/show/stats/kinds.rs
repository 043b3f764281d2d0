//! Kinds: how often each of some words comes, in bounded memory whatever words a dataset holds.

use std::collections::BTreeMap;

use serde::Serialize;

/// Different words that are counted apart.
const MOST_KINDS: usize = 1000;

/// Characters of a word that are kept.
const MOST_CHARACTERS: usize = 200;

/// Stands for the words beyond the first thousand.
const OTHERS: &str = "(others)";

/// Counts by word.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Kinds(BTreeMap<String, u64>);

impl Kinds {
    /// Counts a word.
    pub fn add(&mut self, word: &str) {
        self.add_times(word, 1);
    }

    /// Counts a word several times.
    pub fn add_times(&mut self, word: &str, times: u64) {
        let end = word.char_indices().nth(MOST_CHARACTERS).map_or(word.len(), |(end, _)| end);
        let word = &word[..end];
        let is_room = self.0.len() < MOST_KINDS || self.0.contains_key(word);
        let count = self.0.entry(if is_room { word } else { OTHERS }.to_owned()).or_default();
        *count = count.saturating_add(times);
    }

    /// The words and their counts, the most frequent first.
    pub fn by_count(&self) -> Vec<(&str, u64)> {
        let mut all: Vec<(&str, u64)> = self.0.iter().map(|(word, count)| (word.as_str(), *count)).collect();
        all.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        all
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The count of a word.
    pub fn of(&self, word: &str) -> u64 {
        self.0.get(word).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_and_long_words_take_little() {
        let mut kinds = Kinds::default();
        (0..10_000).for_each(|n| kinds.add(&n.to_string()));
        kinds.add("7");
        kinds.add(&"ü".repeat(1 << 20));
        assert_eq!((kinds.of("7"), kinds.of("9999"), kinds.0.len()), (2, 0, MOST_KINDS + 1));
        assert_eq!(kinds.by_count()[0], (OTHERS, 10_001 - MOST_KINDS as u64));
        let mut long = Kinds::default();
        long.add(&"ü".repeat(1 << 20));
        assert_eq!(long.of(&"ü".repeat(MOST_CHARACTERS)), 1);
    }
}
