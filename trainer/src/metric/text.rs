//! What the metrics of texts share: whitespace, and tokens that two texts have in common.

use std::collections::BTreeMap;

/// Whitespace as Python's `str.split` and `str.strip` define it, with which the reference scores were computed: Unicode's,
/// and the four ASCII separators.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// How often each token occurs in both texts, the smaller count taken, summed.
pub(super) fn overlap<T: Ord>(left: &[T], right: &[T]) -> usize {
    let counts = |tokens| {
        let mut counts: BTreeMap<&T, usize> = BTreeMap::new();
        for token in tokens {
            *counts.entry(token).or_default() += 1;
        }
        counts
    };
    let (left, right) = (counts(left), counts(right));
    left.iter().map(|(token, count)| right.get(token).map_or(0, |other| *count.min(other))).sum()
}
