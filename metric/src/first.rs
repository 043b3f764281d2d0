//! How often a system has the highest mean, where cases are drawn anew.

use crate::cases::{Bootstrap, Cases};
use crate::compare::over_seeds_drawn;

/// Means that differ by less are the same but for rounding.
const ROUNDING: f64 = 1e-12;

/// Of each system the share of resamples in which its mean over rows is the highest; where several have it, each has its part. A system
/// has the scores of one run or of several seeds, a score a row. The shares sum to 1.
///
/// # Panics
/// A system without a run; a run that has not one score a row.
pub fn first_shares(cases: &Cases, systems: &[Vec<&[f64]>], bootstrap: Bootstrap) -> Vec<f64> {
    let drawn = cases.sums(&systems.concat()).bootstrap(bootstrap);
    let mut columns = drawn.iter().map(|column| column.micro.as_slice());
    let of_system = |(at, system): (usize, &Vec<&[f64]>)| {
        let seeds: Vec<&[f64]> = columns.by_ref().take(system.len()).collect();
        over_seeds_drawn(&seeds, bootstrap.seed, 1 + at as u64)
    };
    let means: Vec<Vec<f64>> = systems.iter().enumerate().map(of_system).collect();
    let resamples = means.first().map_or(0, Vec::len);
    let mut shares = vec![0.0; systems.len()];
    for resample in 0..resamples {
        let highest = means.iter().map(|of| of[resample]).fold(f64::NEG_INFINITY, f64::max);
        let first: Vec<usize> = (0..means.len()).filter(|at| highest - means[*at][resample] < ROUNDING).collect();
        first.iter().for_each(|at| shares[*at] += 1.0 / (first.len() * resamples) as f64);
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOTSTRAP: Bootstrap = Bootstrap { seed: 5, threads: 1 };

    #[test]
    fn the_better_one_is_first_and_equal_ones_share() {
        let names: Vec<String> = (0..20).map(|case| case.to_string()).collect();
        let cases = Cases::of(names.iter().map(|name| (name.as_str(), ""))).unwrap();
        let (low, high) = (vec![0.25; 20], vec![0.5; 20]);
        let shares = first_shares(&cases, &[vec![&low], vec![&high], vec![&high, &high]], BOOTSTRAP);
        assert_eq!(shares[0], 0.0);
        assert!((shares[1] - 0.5).abs() < 1e-9 && (shares[2] - 0.5).abs() < 1e-9, "{shares:?}");

        // One system is right in 12 cases of 20, the other in the other 8: the first leads in as many resamples as a sum of 20 draws of
        // 0.6 is above 10, half of those at 10 added; by the binomial distribution 0.7553 + 0.1171 / 2 = 0.8139.
        let right: Vec<f64> = (0..20).map(|case| f64::from(u8::from(case < 12))).collect();
        let wrong: Vec<f64> = right.iter().map(|score| 1.0 - score).collect();
        let shares = first_shares(&cases, &[vec![&right], vec![&wrong]], BOOTSTRAP);
        assert!((shares[0] - 0.8139).abs() < 0.03 && (shares[0] + shares[1] - 1.0).abs() < 1e-9, "{shares:?}");
    }
}
