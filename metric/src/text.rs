//! What the metrics of texts share: whitespace, and how many n-grams two texts have in common.

use std::collections::HashMap;

/// Whitespace as Python's `str.split`, `str.strip` and `\s` define it, with which the reference scores were computed: Unicode's,
/// and the four ASCII separators.
pub(crate) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// A text without the whitespace at its ends, as Python's `str.strip` gives it.
pub fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// Numbers for tokens: the same one for equal tokens and for no others, counted from 0.
#[derive(Default)]
pub(crate) struct Numbers<Token>(HashMap<Token, u32>);

impl<Token: std::hash::Hash + Eq> Numbers<Token> {
    /// The numbers of a text's tokens, in their order.
    pub(crate) fn of(&mut self, tokens: impl Iterator<Item = Token>) -> Vec<u32> {
        let number = |token| {
            let next = self.0.len() as u32;
            *self.0.entry(token).or_insert(next)
        };
        tokens.map(number).collect()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }
}

/// How many runs of `n` tokens two texts share, `n` from 1 to 4: for each such run the smaller of its two counts.
pub(crate) fn shared_runs(left: &[u32], right: &[u32], n: usize) -> usize {
    // Four numbers of 32 bits fit in one of 128, so that runs are sorted and compared as numbers.
    let sorted = |tokens: &[u32]| {
        let run = |run: &[u32]| run.iter().fold(0, |packed, token| packed << 32 | u128::from(*token));
        let mut runs: Vec<u128> = tokens.windows(n).map(run).collect();
        runs.sort_unstable();
        runs
    };
    let (left, right) = (sorted(left), sorted(right));
    let (mut at, mut shared) = (0, 0);
    for run in left {
        while right.get(at).is_some_and(|other| *other < run) {
            at += 1;
        }
        if right.get(at) == Some(&run) {
            (at, shared) = (at + 1, shared + 1);
        }
    }
    shared
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_counted_as_often_as_both_have_them() {
        let (left, right) = ([1, 2, 1, 2, 1], [2, 1, 2, 3, 1]);
        assert_eq!([1, 2, 3, 4].map(|n| shared_runs(&left, &right, n)), [4, 2, 1, 0]);
        assert_eq!(shared_runs(&left, &[], 1), 0);
        // The last token of a run is not the first of another.
        assert_eq!(shared_runs(&[1, 0], &[0, 1], 2), 0);
    }

    #[test]
    fn equal_tokens_have_one_number() {
        let mut numbers = Numbers::default();
        assert_eq!(numbers.of(["a", "b", "a"].into_iter()), [0, 1, 0]);
        assert_eq!(numbers.of(["c", "b"].into_iter()), [2, 1]);
        assert_eq!(numbers.count(), 3);
    }
}
