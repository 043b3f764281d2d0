//! Means of scores over rows, with 95 % confidence intervals over cases.
//!
//! - A score between 0 and 1: the percentile bootstrap of cases (Efron and Tibshirani, 1993), [`RESAMPLES`](crate::cases::RESAMPLES)
//!   of them.
//! - A share, whose scores are all 0 or 1: Wilson's interval (1927) with the rows over the design effect (Kish, 1965), which says how
//!   much less rows of few cases tell than independent ones; never more rows than there are. Its mean over question types: the bootstrap.
//! - Where no resample differs, so that a bootstrap says nothing: by Wilson's interval of 0 in as many trials as there are cases, the
//!   largest share of cases that may still differ; each of these might be 0 or 1.

use std::collections::BTreeMap;

use crate::cases::{Bootstrap, Cases, Column, Group};

/// The mean of some rows' scores, as a fraction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mean {
    /// The mean.
    pub value: f64,
    /// The ends of its 95 % confidence interval.
    pub interval: [f64; 2],
    /// Rows.
    pub rows: usize,
    /// Cases that have these rows.
    pub cases: usize,
}

impl Mean {
    /// Half the width of the interval, which need not lie evenly around the mean.
    pub fn half_interval(&self) -> f64 {
        (self.interval[1] - self.interval[0]) / 2.0
    }
}

/// The means of one score.
#[derive(Clone, Debug, PartialEq)]
pub struct Means {
    /// Over all rows.
    pub micro: Mean,
    /// The mean of the types' means: each type counts the same, whatever its number of rows.
    pub macro_mean: Mean,
    /// Of each question type.
    pub per_type: BTreeMap<String, Mean>,
}

/// The means of several scores of the same rows, `columns` having one score a row each.
///
/// # Panics
/// A column that has not one score a row.
pub fn means(cases: &Cases, columns: &[&[f64]], bootstrap: Bootstrap) -> Vec<Means> {
    let sums = cases.sums(columns);
    let drawn = sums.bootstrap(bootstrap);
    let interval = |value, drawn, cases| percentiles(drawn).unwrap_or_else(|| unvarying(value, [0.0, 1.0], cases));
    let of_column = |scores: &[f64], found: Column<f64>, drawn: Column<Vec<f64>>| {
        let is_share = scores.iter().all(|score| [0.0, 1.0].contains(score));
        let mean = |value: f64, drawn: Vec<f64>, of_type: Option<u32>| {
            let groups = cases.groups(scores, of_type);
            let interval = if is_share { share(value, &groups) } else { interval(value, drawn, groups.len()) };
            Mean { value, interval, rows: groups.iter().map(|group| group.rows).sum(), cases: groups.len() }
        };
        let types = found.per_type.into_iter().zip(drawn.per_type).zip(0..);
        let types = types.map(|((value, drawn), of_type)| mean(value, drawn, Some(of_type)));
        Means {
            micro: mean(found.micro, drawn.micro, None),
            macro_mean: Mean {
                value: found.macro_mean,
                interval: interval(found.macro_mean, drawn.macro_mean, cases.cases()),
                rows: cases.rows(),
                cases: cases.cases(),
            },
            per_type: cases.types().iter().cloned().zip(types).collect(),
        }
    };
    let parts = columns.iter().zip(sums.means()).zip(drawn);
    parts.map(|((scores, found), drawn)| of_column(scores, found, drawn)).collect()
}

/// The mean of any numbers, one a row, with the bootstrap's 95 % interval over cases; without one where no resample differs, as of one
/// case alone.
///
/// # Panics
/// Not one number a row.
pub fn mean_of_numbers(cases: &Cases, numbers: &[f64], bootstrap: Bootstrap) -> (f64, Option<[f64; 2]>) {
    let sums = cases.sums(&[numbers]);
    let drawn = sums.bootstrap(bootstrap).into_iter().next().expect("one column");
    (sums.means()[0].micro, percentiles(drawn.micro))
}

/// The interval of a share.
fn share(value: f64, groups: &[Group]) -> [f64; 2] {
    match design_effect(value, groups) {
        Some(effect) => {
            let rows: usize = groups.iter().map(|group| group.rows).sum();
            wilson(value, rows as f64 / effect.max(1.0))
        }
        None => wilson(value, groups.len() as f64),
    }
}

/// The variance of a share over cases, over that of as many independent rows. `None` for a share of 0 or 1 and for one case, whose rows
/// have no variance or none that one can tell.
fn design_effect(value: f64, groups: &[Group]) -> Option<f64> {
    let (rows, cases) = (groups.iter().map(|group| group.rows as f64).sum::<f64>(), groups.len() as f64);
    let squares: f64 = groups.iter().map(|group| (group.sum - value * group.rows as f64).powi(2)).sum();
    let independent = value * (1.0 - value) / rows;
    (independent > 0.0 && cases > 1.0).then(|| cases / (cases - 1.0) * squares / (rows * rows) / independent)
}

/// Wilson's score interval of a share of `trials`, at 95 %.
pub fn wilson(share: f64, trials: f64) -> [f64; 2] {
    const Z: f64 = 1.959_963_984_540_054;
    let square = Z * Z;
    let centre = (share * trials + square / 2.0) / (trials + square);
    let half = Z / (trials + square) * (trials * share * (1.0 - share) + square / 4.0).max(0.0).sqrt();
    [(centre - half).max(0.0), (centre + half).min(1.0)]
}

/// The interval of a mean that has the same value in every resample: a share of the cases, of which none was seen, may have any value
/// within `range`.
pub(crate) fn unvarying(value: f64, range: [f64; 2], cases: usize) -> [f64; 2] {
    let [_, unseen] = wilson(0.0, cases as f64);
    [value - unseen * (value - range[0]).max(0.0), value + unseen * (range[1] - value).max(0.0)]
}

/// The 2.5th and the 97.5th percentile, between neighbours in proportion as numpy's `percentile`. Values that are not a number are left
/// out; `None` where all are equal but for rounding.
pub(crate) fn percentiles(mut values: Vec<f64>) -> Option<[f64; 2]> {
    const ROUNDING: f64 = 1e-12;
    values.retain(|value| !value.is_nan());
    values.sort_unstable_by(f64::total_cmp);
    let (lowest, highest) = (*values.first()?, *values.last()?);
    let at = |share: f64| {
        let place = share * (values.len() - 1) as f64;
        let (below, above) = (values[place.floor() as usize], values[place.ceil() as usize]);
        below + (above - below) * place.fract()
    };
    (highest - lowest > ROUNDING).then(|| [at(0.025), at(0.975)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{Statistics, statistics};
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{RngCore, SeedableRng};

    const BOOTSTRAP: Bootstrap = Bootstrap { seed: 1, threads: 2 };

    fn cases_of(golden: &Statistics) -> Cases {
        Cases::of(golden.rows.iter().map(|row| (row.case.as_str(), row.topic.as_str()))).unwrap()
    }

    fn near(found: impl IntoIterator<Item = f64>, expected: impl IntoIterator<Item = f64>, tolerance: f64) {
        let (found, expected): (Vec<f64>, Vec<f64>) = (found.into_iter().collect(), expected.into_iter().collect());
        let is_near = |(one, other): (&f64, &f64)| (one - other).abs() < tolerance;
        assert!(found.iter().zip(&expected).all(is_near), "{found:?}, {expected:?} expected");
    }

    #[test]
    fn wilson_equals_statsmodels() {
        for (count, rows, low, high) in statistics().wilson {
            near(wilson(count / rows, rows), [low, high], 1e-14);
        }
    }

    #[test]
    fn means_and_resamples_equal_numpy() {
        let golden = statistics();
        let (cases, values) = (cases_of(&golden), &golden.values);
        let column = |of: fn(&crate::golden::Row) -> f64| golden.rows.iter().map(of).collect::<Vec<f64>>();
        let (a, x) = (column(|row| row.a), column(|row| row.x));
        let difference = column(|row| row.y - row.x);
        let sums = cases.sums(&[&a, &x, &difference]);
        let found = sums.means();
        near([found[0].micro, found[1].macro_mean], [values.micro_a, values.macro_x], 1e-14);
        let drawn = sums.resamples(golden.resamples.len(), 2, |resample, lane, counts| {
            golden.resamples[resample].iter().for_each(|case| counts[*case][lane] += 1.0);
        });
        near(percentiles(drawn[1].micro.clone()).unwrap(), values.percentiles_micro_x, 1e-14);
        near(percentiles(drawn[1].macro_mean.clone()).unwrap(), values.percentiles_macro_x, 1e-14);
        near(percentiles(drawn[2].micro.clone()).unwrap(), values.percentiles_micro_y_minus_x, 1e-14);
        // Other draws than numpy's, of which there are only 203.
        let own = means(&cases, &[&x], BOOTSTRAP).remove(0);
        near(own.micro.interval, values.percentiles_micro_x, 0.03);
        near(own.macro_mean.interval, values.percentiles_macro_x, 0.03);
    }

    #[test]
    fn numbers_of_any_range_have_an_interval_where_cases_differ() {
        let cases = Cases::of([("1", ""), ("1", ""), ("2", ""), ("3", "")]).unwrap();
        let (mean, interval) = mean_of_numbers(&cases, &[-8.0, -4.0, 2.0, 6.0], BOOTSTRAP);
        let [low, high] = interval.unwrap();
        // Of the cases 1 alone the mean is -6, of the case 3 alone 6.
        assert!(mean == -1.0 && (-6.0..-1.0).contains(&low) && (-1.0..=6.0).contains(&high), "{low} to {high}");
        let one = Cases::of([("1", ""), ("1", "")]).unwrap();
        assert_eq!(mean_of_numbers(&one, &[3.0, 5.0], BOOTSTRAP), (4.0, None));
    }

    #[test]
    fn a_share_counts_what_rows_of_few_cases_tell() {
        let golden = statistics();
        let (cases, values) = (cases_of(&golden), &golden.values);
        let effect = |scores: &[f64]| {
            let mean = scores.iter().sum::<f64>() / scores.len() as f64;
            design_effect(mean, &cases.groups(scores, None)).unwrap()
        };
        let a: Vec<f64> = golden.rows.iter().map(|row| row.a).collect();
        let grouped: Vec<f64> = golden.rows.iter().map(|row| row.grouped).collect();
        near([effect(&a), effect(&grouped)], [values.design_effect_a, values.design_effect_grouped], 1e-12);
        near(means(&cases, &[&grouped], BOOTSTRAP)[0].micro.interval, values.wilson_grouped, 1e-14);
        // A design effect under 1 makes no more rows than there are.
        let even = Cases::of([("1", ""), ("1", ""), ("2", ""), ("2", "")]).unwrap();
        near(means(&even, &[&[0.0, 1.0, 1.0, 0.0]], BOOTSTRAP)[0].micro.interval, wilson(0.5, 4.0), 1e-14);
    }

    #[test]
    fn no_interval_is_a_point() {
        let of = |rows: &[(&str, &str)], scores: &[f64]| {
            means(&Cases::of(rows.iter().copied()).unwrap(), &[scores], BOOTSTRAP).remove(0)
        };
        let rows = [("1", "organ"), ("1", "plane"), ("2", "organ"), ("2", "plane"), ("3", "organ"), ("3", "plane")];
        // Six rows, but three cases.
        for (score, expected) in [(1.0, wilson(1.0, 3.0)), (0.0, wilson(0.0, 3.0))] {
            let found = of(&rows, &[score; 6]);
            for mean in [found.micro, found.macro_mean, found.per_type["organ"]] {
                near(mean.interval, expected, 1e-14);
                assert_eq!((mean.value, mean.cases), (score, 3));
            }
            assert!(found.micro.half_interval() > 0.2);
        }
        let found = of(&rows, &[0.3; 6]);
        near([found.micro.value], [0.3], 1e-15);
        let unseen = wilson(0.0, 3.0)[1];
        near(found.micro.interval, [0.3 - 0.3 * unseen, 0.3 + 0.7 * unseen], 1e-14);
        // One case tells nothing of others, however many rows it has.
        let one = of(&[("1", "organ"), ("1", "plane")], &[0.2, 0.4]);
        assert!(one.micro.interval[0] < 0.1 && one.micro.interval[1] > 0.8, "{one:?}");
        near(of(&[("1", "organ"); 2], &[0.0, 1.0]).micro.interval, wilson(0.5, 1.0), 1e-14);
    }

    #[test]
    fn percentiles_lie_between_neighbours() {
        near(percentiles((0..=40).map(f64::from).collect()).unwrap(), [1.0, 39.0], 1e-12);
        near(percentiles(vec![3.0, f64::NAN, 1.0]).unwrap(), [1.05, 2.95], 1e-12);
        assert_eq!((percentiles(vec![0.1; 9]), percentiles(vec![f64::NAN]), percentiles(vec![])), (None, None, None));
    }

    /// How often the intervals of 1,000 drawn studies hold the mean that they were drawn from: for a score and for a share.
    #[test]
    fn intervals_of_95_percent_hold_93_to_97() {
        const STUDIES: usize = 1000;
        const CASES: usize = 60;
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let mut uniform = || f64::from(random.next_u32()) / 2.0_f64.powi(32);
        let mut held = [0; 4];
        for study in 0..STUDIES {
            let (mut rows, mut scores, mut shares) = (Vec::new(), Vec::new(), Vec::new());
            for case in 0..CASES {
                // What all rows of a case have in common, with a mean of a half.
                let ease = uniform();
                for row in 0..2 + (3.0 * uniform()) as usize {
                    let of_type = row % 2;
                    rows.push((case.to_string(), of_type.to_string()));
                    // The types' means are 0.5 and 0.375, whatever a case's number of rows.
                    scores.push((0.5 * ease + 0.5 * uniform()) * (1.0 - 0.25 * of_type as f64));
                    shares.push(f64::from(uniform() < 0.1 + 0.8 * ease));
                }
            }
            let cases = Cases::of(rows.iter().map(|(case, of)| (case.as_str(), of.as_str()))).unwrap();
            let bootstrap = Bootstrap { seed: study as u64, threads: 2 };
            let found = means(&cases, &[&scores, &shares], bootstrap);
            let holds = |mean: Mean, truth: f64| usize::from((mean.interval[0]..=mean.interval[1]).contains(&truth));
            // Of a case's 2, 3 or 4 rows 1, 1 or 2 are of the second type: 4 of 9.
            held[0] += holds(found[0].micro, (5.0 * 0.5 + 4.0 * 0.375) / 9.0);
            held[1] += holds(found[0].macro_mean, (0.5 + 0.375) / 2.0);
            held[2] += holds(found[0].per_type["1"], 0.375);
            held[3] += holds(found[1].micro, 0.5);
        }
        assert!(held.iter().all(|held| (930..=970).contains(held)), "{held:?}");
    }
}
