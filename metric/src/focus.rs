//! How scores are spread over slices: over how many, and how differently for two questions.

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

/// Scores over their sum; negative ones and those that are no number count 0. Empty where the sum is 0.
fn shares(scores: &[f32]) -> Vec<f64> {
    let counted = |score: &f32| if score.is_finite() { f64::from(score.max(0.0)) } else { 0.0 };
    let sum: f64 = scores.iter().map(counted).sum();
    if sum > 0.0 { scores.iter().map(|score| counted(score) / sum).collect() } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

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
