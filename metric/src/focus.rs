//! How scores are spread over slices: over how many, how differently for two questions, and whether in a pattern that repeats.

/// The number of slices that an even share of the scores would need to be as spread as these: `exp` of their entropy (Hill's number of
/// order 1), from 1 (one slice counts alone) to their number (all count the same). 0 where no score is above 0.
pub fn effective(scores: &[f32]) -> f64 {
    let shares = shares(scores);
    if shares.is_empty() {
        return 0.0;
    }
    let entropy: f64 = shares.iter().filter(|share| **share > 0.0).map(|share| -share * share.ln()).sum();
    entropy.exp()
}

/// The share of the sum that the `count` highest scores have, 0 to 1.
pub fn share_of_highest(scores: &[f32], count: usize) -> f64 {
    let mut shares = shares(scores);
    shares.sort_by(|a, b| b.total_cmp(a));
    shares.iter().take(count).sum()
}

/// The Jensen-Shannon divergence of two lists of scores in bits, from 0 (the same slices count) to 1 (none counts in both). Lists of
/// other lengths, or without a score above 0, are as far apart as any: 1.
pub fn jensen_shannon(first: &[f32], second: &[f32]) -> f64 {
    let (first, second) = (shares(first), shares(second));
    if first.len() != second.len() || first.is_empty() {
        return 1.0;
    }
    let towards = |share: f64, middle: f64| if share > 0.0 { share * (share / middle).log2() } else { 0.0 };
    let parts = first.iter().zip(&second).map(|(&a, &b)| {
        let middle = (a + b) / 2.0;
        (towards(a, middle) + towards(b, middle)) / 2.0
    });
    parts.sum::<f64>().clamp(0.0, 1.0)
}

/// The place of the highest score, the first of equal ones; `None` without a score. Where it is the slice that holds the answer, that is
/// a hit at 1.
pub fn peak(scores: &[f32]) -> Option<usize> {
    (0..scores.len()).reduce(|best, at| if scores[at] > scores[best] { at } else { best })
}

/// Spearman's rank correlation, from -1 to 1; equal values have the middle of their ranks. `None` for lists of other lengths, under two
/// values, or with all values equal, which have no ranks to compare.
pub fn rank_correlation(first: &[f32], second: &[f32]) -> Option<f64> {
    if first.len() != second.len() {
        return None;
    }
    let (first, second) = (ranks(first), ranks(second));
    let middle = (first.len() as f64 + 1.0) / 2.0;
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - middle) * (b - middle)).sum::<f64>();
    let spread = (product(&first, &first) * product(&second, &second)).sqrt();
    (spread > 0.0).then(|| product(&first, &second) / spread)
}

/// Whether scores repeat a pattern in each group of `size` neighbours: the mean rank correlation of each two groups, from -1 to 1, 0 where
/// groups have nothing in common. `None` where there are no two whole groups, or a rest.
pub fn group_correlation(scores: &[f32], size: usize) -> Option<f64> {
    if size == 0 || !scores.len().is_multiple_of(size) {
        return None;
    }
    let groups: Vec<&[f32]> = scores.chunks(size).collect();
    let pairs = groups.iter().enumerate().flat_map(|(at, one)| groups[at + 1..].iter().map(move |other| (one, other)));
    let found: Vec<f64> = pairs.filter_map(|(one, other)| rank_correlation(one, other)).collect();
    (!found.is_empty()).then(|| found.iter().sum::<f64>() / found.len() as f64)
}

/// The rank of each value from 1, equal ones sharing the middle of theirs.
fn ranks(values: &[f32]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut before = 0;
    for equal in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let middle = before as f64 + (equal.len() as f64 + 1.0) / 2.0;
        equal.iter().for_each(|at| ranks[*at] = middle);
        before += equal.len();
    }
    ranks
}

/// Scores over their sum; negative ones and those that are no number count 0. Empty where the sum is 0.
fn shares(scores: &[f32]) -> Vec<f64> {
    let counted = |score: &f32| if score.is_finite() { f64::from(score.max(0.0)) } else { 0.0 };
    let sum: f64 = scores.iter().map(counted).sum();
    if sum > 0.0 { scores.iter().map(|score| counted(score) / sum).collect() } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::ranks as golden;

    #[test]
    fn rank_correlations_equal_scipys() {
        let golden = golden();
        assert!(golden.len() >= 16);
        for pair in golden {
            let found = rank_correlation(&pair.first, &pair.second).unwrap();
            assert!((found - pair.correlation).abs() < 1e-12, "{found}, {} expected", pair.correlation);
        }
        assert_eq!((rank_correlation(&[1.0, 1.0], &[1.0, 2.0]), rank_correlation(&[1.0], &[1.0])), (None, None));
        assert_eq!(rank_correlation(&[1.0, 2.0], &[1.0]), None);
    }

    #[test]
    fn a_pattern_that_repeats_is_found() {
        let repeated: Vec<f32> = (0..32).map(|slice| [1.0, 3.0, 2.0, 8.0, 5.0, 6.0, 7.0, 4.0][slice % 8]).collect();
        assert_eq!(group_correlation(&repeated, 8), Some(1.0));
        let turned: Vec<f32> = repeated.iter().enumerate().map(|(at, v)| if at < 8 { *v } else { -*v }).collect();
        assert_eq!(group_correlation(&turned[..16], 8), Some(-1.0));
        assert_eq!((group_correlation(&repeated, 7), group_correlation(&repeated[..8], 8)), (None, None));
        assert_eq!((group_correlation(&[0.5; 16], 8), group_correlation(&[], 0)), (None, None));
    }

    #[test]
    fn the_peak_is_the_first_of_the_highest() {
        assert_eq!((peak(&[0.1, 0.4, 0.4]), peak(&[])), (Some(1), None));
    }

    // scipy 1.16: exp(entropy(p)), jensenshannon(p, q, base=2) ** 2.
    #[test]
    fn numbers_equal_scipys() {
        let (p, q) = ([0.5, 0.25, 0.125, 0.125], [0.1, 0.2, 0.3, 0.4]);
        let near = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-7, "{found}, {expected} expected");
        near(effective(&p), 3.363585661014858);
        near(effective(&q), 3.5961154666243225);
        near(jensen_shannon(&p, &q), 0.18841736976586582);
        near(jensen_shannon(&[0.5, 0.5, 0.0], &[0.25, 0.25, 0.5]), 0.3112781244591328);
        near(jensen_shannon(&[1.0, 0.0], &[0.0, 1.0]), 1.0);
        near(share_of_highest(&p, 2), 0.75);
    }

    #[test]
    fn the_ends_are_one_slice_and_all() {
        assert_eq!((effective(&[0.0, 1.0, 0.0]), effective(&[0.0; 3]), effective(&[])), (1.0, 0.0, 0.0));
        assert!((effective(&[0.125; 8]) - 8.0).abs() < 1e-12);
        assert_eq!(jensen_shannon(&[0.3, 0.7], &[0.3, 0.7]), 0.0);
        assert_eq!((jensen_shannon(&[1.0], &[0.5, 0.5]), jensen_shannon(&[], &[])), (1.0, 1.0));
        assert_eq!(share_of_highest(&[0.5, 0.5], 9), 1.0);
        assert_eq!(effective(&[f32::NAN, 1.0, -3.0, f32::INFINITY]), 1.0);
    }
}
