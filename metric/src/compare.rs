//! Two systems on the same rows, and one system with several seeds: differences with intervals and tests over cases.

use std::collections::BTreeMap;
use std::fmt;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::cases::{Bootstrap, Cases, Column};
use crate::interval::{percentiles, unvarying};

/// As many cases that differ have all their sign flips tried.
const ALL_FLIPS: usize = 14;

/// Sign flips that are drawn where there are more.
const DRAWN_FLIPS: usize = 10_000;

/// Below this a difference is taken for real.
const LEVEL: f64 = 0.05;

/// The half of a generator's streams that the bootstrap of cases does not use.
const OTHER_STREAMS: u64 = 1 << 63;

/// One scored row of a run.
#[derive(Clone, Copy, Debug)]
pub struct Scored<'a> {
    /// Key of the row, the same one in each run.
    pub id: &'a str,
    /// The case that it is of.
    pub case: &'a str,
    /// Its question type.
    pub question_type: &'a str,
    /// Its score, within 0 to 1.
    pub score: f64,
}

/// Why runs can't be compared.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompareError {
    /// Nothing to compare.
    #[error("{run} has no rows")]
    Empty {
        /// The run.
        run: String,
    },
    /// Another set of rows.
    #[error("{run} lacks {count} rows that {other} has: {ids}")]
    Missing {
        /// The run without them.
        run: String,
        /// The run that has them.
        other: String,
        /// How many.
        count: usize,
        /// The first of them.
        ids: String,
    },
    /// An id that names no single row.
    #[error("{run} has the row {id} twice")]
    Twice {
        /// The run.
        run: String,
        /// The id.
        id: String,
    },
    /// Rows of other data.
    #[error("the row {id} is of case {case} and type {question_type} in {run}, of another in the first run")]
    OtherRow {
        /// The run.
        run: String,
        /// The id.
        id: String,
        /// Its case there.
        case: String,
        /// Its question type there.
        question_type: String,
    },
}

/// Runs over the same rows, in the order of the rows' ids.
#[derive(Clone, Debug)]
pub struct Aligned {
    /// The rows' cases and question types.
    pub cases: Cases,
    /// Of each run a score a row.
    pub scores: Vec<Vec<f64>>,
}

impl Aligned {
    /// Brings the rows of named runs into one order.
    ///
    /// # Errors
    /// A run without rows, with other rows than the first, or with a row twice.
    pub fn of(runs: &[(&str, &[Scored<'_>])]) -> Result<Self, CompareError> {
        let mut sorted = Vec::new();
        for (run, rows) in runs {
            let mut by_id = BTreeMap::new();
            for row in *rows {
                if by_id.insert(row.id, row).is_some() {
                    return Err(CompareError::Twice { run: (*run).into(), id: row.id.into() });
                }
            }
            sorted.push((*run, by_id));
        }
        let empty = |run: &str| CompareError::Empty { run: run.into() };
        let Some((first, rows)) = sorted.first() else { return Err(empty("the comparison")) };
        for (run, others) in &sorted[1..] {
            lacks(run, others, first, rows)?;
            lacks(first, rows, run, others)?;
            let mut pairs = rows.values().zip(others.values());
            if let Some((_, row)) = pairs.find(|(a, b)| (a.case, a.question_type) != (b.case, b.question_type)) {
                return Err(CompareError::OtherRow {
                    run: (*run).into(),
                    id: row.id.into(),
                    case: row.case.into(),
                    question_type: row.question_type.into(),
                });
            }
        }
        let cases = Cases::of(rows.values().map(|row| (row.case, row.question_type))).ok_or_else(|| empty(first))?;
        let scores = sorted.iter().map(|(_, rows)| rows.values().map(|row| row.score).collect()).collect();
        Ok(Self { cases, scores })
    }
}

/// Fails where `run` lacks rows of `other`.
fn lacks<Row>(
    run: &str,
    rows: &BTreeMap<&str, Row>,
    other: &str,
    expected: &BTreeMap<&str, Row>,
) -> Result<(), CompareError> {
    const SHOWN: usize = 5;
    let missing: Vec<&str> = expected.keys().copied().filter(|id| !rows.contains_key(id)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut ids = missing.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    if missing.len() > SHOWN {
        ids += ", ..";
    }
    Err(CompareError::Missing { run: run.into(), other: other.into(), count: missing.len(), ids })
}

/// Two systems' means and how they differ, as fractions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// The first system's mean.
    pub first: f64,
    /// The second system's mean.
    pub second: f64,
    /// The second less the first.
    pub difference: f64,
    /// The ends of the difference's 95 % confidence interval: the percentile bootstrap over cases, and over seeds where a system has
    /// several; where no resample differs, what cases that were not seen may still change.
    pub interval: [f64; 2],
}

/// How many sign flips a test tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flips {
    /// All that there are.
    All,
    /// So many, drawn; that no flip is counted twice is left to chance, and the rows as they are count as one more.
    Drawn(usize),
}

/// McNemar's exact test of two systems' right and wrong answers. It takes rows for independent and so ignores cases.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct McNemar {
    /// Rows that the first system alone has right.
    pub first_alone: usize,
    /// Rows that the second system alone has right.
    pub second_alone: usize,
    /// How likely counts at least as uneven are where both are equally likely, both ways.
    pub p: f64,
}

/// Two systems on the same rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Of the mean over rows.
    pub micro: Difference,
    /// Of the mean of the types' means.
    pub macro_mean: Difference,
    /// How likely a difference of the means over rows at least as large is, either way, where each case might as well have the systems'
    /// scores swapped.
    pub p: f64,
    /// What `p` was counted over.
    pub flips: Flips,
    /// For scores of 0 and 1 and one seed each.
    pub mcnemar: Option<McNemar>,
}

impl Comparison {
    /// What may be said, `p` having been adjusted by [`holm`] for all comparisons of its table.
    pub fn verdict(&self, p: f64) -> Verdict {
        let [low, high] = self.micro.interval;
        if p < LEVEL && low > 0.0 {
            Verdict::SecondIsBetter
        } else if p < LEVEL && high < 0.0 {
            Verdict::FirstIsBetter
        } else {
            Verdict::CannotBeToldApart
        }
    }
}

/// What a comparison comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The first system has the higher mean, by the interval and the test.
    FirstIsBetter,
    /// The second system has the higher mean, by the interval and the test.
    SecondIsBetter,
    /// The interval holds 0 or the test finds the difference likely by chance.
    CannotBeToldApart,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::FirstIsBetter => "the first is better",
            Verdict::SecondIsBetter => "the second is better",
            Verdict::CannotBeToldApart => "cannot be told apart",
        })
    }
}

/// Compares two systems, each with the scores of one run or of several seeds, a score a row.
///
/// # Panics
/// A system without a run; a run that has not one score a row.
pub fn compare(cases: &Cases, first: &[&[f64]], second: &[&[f64]], bootstrap: Bootstrap) -> Comparison {
    let columns = [first, second].concat();
    let sums = cases.sums(&columns);
    let (found, drawn) = (sums.means(), sums.bootstrap(bootstrap));
    let (found, drawn) = (found.split_at(first.len()), drawn.split_at(first.len()));
    let difference = |of: fn(&Column<f64>) -> f64, of_drawn: fn(&Column<Vec<f64>>) -> &[f64]| {
        let mean = |columns: &[Column<f64>]| average(columns.iter().map(of));
        let drawn_means = |columns: &[Column<Vec<f64>>], stream| {
            over_seeds_drawn(&columns.iter().map(of_drawn).collect::<Vec<_>>(), bootstrap.seed, stream)
        };
        let (first, second) = (mean(found.0), mean(found.1));
        let drawn = drawn_means(drawn.0, 1).into_iter().zip(drawn_means(drawn.1, 2));
        let interval = percentiles(drawn.map(|(first, second)| second - first).collect());
        let interval = interval.unwrap_or_else(|| unvarying(second - first, [-1.0, 1.0], cases.cases()));
        Difference { first, second, difference: second - first, interval }
    };
    let by_row = |system: &[&[f64]], row: usize| average(system.iter().map(|scores| scores[row]));
    let differences: Vec<f64> = (0..cases.rows()).map(|row| by_row(second, row) - by_row(first, row)).collect();
    let by_case: Vec<f64> =
        cases.groups(&differences, None).iter().map(|case| case.sum / cases.rows() as f64).collect();
    let (p, flips) = sign_flips(&by_case, bootstrap.seed);
    let is_share = columns.iter().all(|scores| scores.iter().all(|score| [0.0, 1.0].contains(score)));
    Comparison {
        micro: difference(|column| column.micro, |column| &column.micro),
        macro_mean: difference(|column| column.macro_mean, |column| &column.macro_mean),
        p,
        flips,
        mcnemar: match (first, second) {
            ([first], [second]) if is_share => Some(mcnemar(first, second)),
            _ => None,
        },
    }
}

/// The mean over seeds in each resample, seeds being drawn as often as there are.
pub(crate) fn over_seeds_drawn(seeds: &[&[f64]], seed: u64, stream: u64) -> Vec<f64> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(OTHER_STREAMS | stream);
    let mut drawn = || seeds[((u64::from(random.next_u32()) * seeds.len() as u64) >> 32) as usize];
    let resamples = seeds.first().map_or(0, |resamples| resamples.len());
    (0..resamples).map(|resample| average((0..seeds.len()).map(|_| drawn()[resample]))).collect()
}

fn average(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}

/// How often cases' differences, each with its sign or the other, sum to at least what they sum to.
fn sign_flips(by_case: &[f64], seed: u64) -> (f64, Flips) {
    // Sums of the same numbers in another order differ in their last bits.
    let least = by_case.iter().sum::<f64>().abs() - 1e-12;
    let differing: Vec<f64> = by_case.iter().copied().filter(|difference| *difference != 0.0).collect();
    let share = |sums: &[f64], besides: usize| {
        let reached = sums.iter().filter(|sum| sum.abs() >= least).count();
        (reached + besides) as f64 / (sums.len() + besides) as f64
    };
    if differing.len() <= ALL_FLIPS {
        return (share(&all_signs(&differing), 0), Flips::All);
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(OTHER_STREAMS);
    let (mut sums, mut drawn) = (vec![0.0; DRAWN_FLIPS], [0_u8; DRAWN_FLIPS]);
    // A byte of chance chooses among the sums of eight cases.
    for few in differing.chunks(8) {
        let signed = all_signs(few);
        random.fill_bytes(&mut drawn);
        sums.iter_mut().zip(drawn).for_each(|(sum, drawn)| *sum += signed[usize::from(drawn) % signed.len()]);
    }
    (share(&sums, 1), Flips::Drawn(DRAWN_FLIPS))
}

/// The sums of some numbers with every choice of signs.
fn all_signs(numbers: &[f64]) -> Vec<f64> {
    let both = |sums: Vec<f64>, number: &f64| sums.iter().flat_map(|sum| [sum + number, sum - number]).collect();
    numbers.iter().fold(vec![0.0], both)
}

/// McNemar's exact test of scores of 0 and 1.
fn mcnemar(first: &[f64], second: &[f64]) -> McNemar {
    let alone = |one: &[f64], other: &[f64]| one.iter().zip(other).filter(|(one, other)| one > other).count();
    let (first_alone, second_alone) = (alone(first, second), alone(second, first));
    McNemar { first_alone, second_alone, p: binomial(first_alone, second_alone) }
}

/// How likely as few of the rarer of two equally likely outcomes are, both ways.
fn binomial(one: usize, other: usize) -> f64 {
    let (rarer, all) = (one.min(other), one + other);
    // By logarithms, since 2^all soon leaves the range of numbers.
    let choices: f64 = (1..=rarer).map(|k| (((all - rarer + k) as f64) / k as f64).ln()).sum();
    let exactly = (choices - all as f64 * std::f64::consts::LN_2).exp();
    let fewer = |term: &f64, k: usize| term * k as f64 / (all - k + 1) as f64;
    let terms = (1..=rarer).rev().scan(exactly, |term, k| {
        *term = fewer(term, k);
        Some(*term)
    });
    (2.0 * (exactly + terms.sum::<f64>())).min(1.0)
}

/// Adjusts the ps of a table's comparisons, so that any is below a level by chance no more often than one of them alone would be (Holm,
/// 1979). In the order that they are given in.
pub fn holm(ps: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..ps.len()).collect();
    order.sort_by(|a, b| ps[*a].total_cmp(&ps[*b]));
    let (mut adjusted, mut least) = (vec![0.0; ps.len()], 0.0_f64);
    for (smaller, at) in order.into_iter().enumerate() {
        least = least.max(((ps.len() - smaller) as f64 * ps[at]).min(1.0));
        adjusted[at] = least;
    }
    adjusted
}

/// One system's mean over several seeds, as a fraction.
#[derive(Clone, Debug, PartialEq)]
pub struct OverSeeds {
    /// Of each seed.
    pub each: Vec<f64>,
    /// The mean of these.
    pub mean: f64,
    /// Their standard deviation, n - 1 in the denominator; none of one seed.
    pub deviation: Option<f64>,
    /// The ends of the 95 % confidence interval of `mean`: the percentile bootstrap over seeds and cases. Few seeds tell little of
    /// others: two show about half of the variance between seeds.
    pub interval: [f64; 2],
}

/// The means over rows and the means of the types' means of one system's seeds, each with a score a row.
///
/// # Panics
/// No seed; a seed that has not one score a row.
pub fn over_seeds(cases: &Cases, seeds: &[&[f64]], bootstrap: Bootstrap) -> (OverSeeds, OverSeeds) {
    assert!(!seeds.is_empty(), "a system has a seed");
    let sums = cases.sums(seeds);
    let (found, drawn) = (sums.means(), sums.bootstrap(bootstrap));
    let of = |each: Vec<f64>, drawn: Vec<&[f64]>| {
        let mean = average(each.iter().copied());
        let squares: f64 = each.iter().map(|one| (one - mean).powi(2)).sum();
        let interval = percentiles(over_seeds_drawn(&drawn, bootstrap.seed, 1));
        OverSeeds {
            mean,
            deviation: (each.len() > 1).then(|| (squares / (each.len() - 1) as f64).sqrt()),
            interval: interval.unwrap_or_else(|| unvarying(mean, [0.0, 1.0], cases.cases())),
            each,
        }
    };
    let micro = of(found.iter().map(|c| c.micro).collect(), drawn.iter().map(|c| &c.micro[..]).collect());
    let means = (found.iter().map(|c| c.macro_mean).collect(), drawn.iter().map(|c| &c.macro_mean[..]).collect());
    (micro, of(means.0, means.1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{Row, statistics};

    const BOOTSTRAP: Bootstrap = Bootstrap { seed: 3, threads: 2 };

    fn cases() -> Cases {
        Cases::of(statistics().rows.iter().map(|row| (row.case.as_str(), row.topic.as_str()))).unwrap()
    }

    fn column(of: fn(&Row) -> f64) -> Vec<f64> {
        statistics().rows.iter().map(of).collect()
    }

    fn near(found: f64, expected: f64, tolerance: f64) {
        assert!((found - expected).abs() < tolerance, "{found}, {expected} expected");
    }

    #[test]
    fn ps_equal_scipys_and_statsmodels() {
        let golden = statistics();
        for (one, other, p) in golden.mcnemar {
            assert!(
                (binomial(one, other) / p - 1.0).abs() < 1e-9,
                "{one} {other}: {}, {p} expected",
                binomial(one, other)
            );
        }
        for (ps, adjusted) in golden.holm {
            holm(&ps).into_iter().zip(adjusted).for_each(|(found, expected)| near(found, expected, 1e-15));
        }
        assert_eq!(holm(&[]), [0.0; 0]);
    }

    #[test]
    fn differences_equal_numpys() {
        let (values, cases) = (statistics().values, cases());
        let (a, b, x, y) = (column(|row| row.a), column(|row| row.b), column(|row| row.x), column(|row| row.y));
        let shares = compare(&cases, &[&a], &[&b], BOOTSTRAP);
        near(shares.p, values.sign_flips_a_b, 1e-15);
        assert_eq!(shares.flips, Flips::All);
        let alone = |one: &[f64], other: &[f64]| one.iter().zip(other).filter(|(one, other)| one > other).count();
        let found = shares.mcnemar.unwrap();
        assert_eq!((found.first_alone, found.second_alone), (alone(&a, &b), alone(&b, &a)));
        assert_eq!(shares.verdict(shares.p), Verdict::CannotBeToldApart);
        assert_eq!(shares.verdict(shares.p).to_string(), "cannot be told apart");

        let scores = compare(&cases, &[&x], &[&y], BOOTSTRAP);
        near(scores.p, values.sign_flips_x_y, 1e-15);
        let [low, high] = values.percentiles_micro_y_minus_x;
        near(scores.micro.interval[0], low, 0.03);
        near(scores.micro.interval[1], high, 0.03);
        near(scores.macro_mean.first, values.macro_x, 1e-15);
        assert_eq!((scores.verdict(scores.p), scores.mcnemar), (Verdict::FirstIsBetter, None));
        // Where it is one of 20 comparisons, nothing is shown.
        assert_eq!(scores.verdict(20.0 * scores.p), Verdict::CannotBeToldApart);
        assert_eq!(compare(&cases, &[&y], &[&x], BOOTSTRAP).verdict(0.0), Verdict::SecondIsBetter);
    }

    #[test]
    fn drawn_flips_are_near_all_of_them() {
        // 16 cases are beyond what is tried in full.
        let by_case: Vec<f64> = (0..16).map(|case| f64::from(case % 5) - 1.2).collect();
        let least = by_case.iter().sum::<f64>().abs() - 1e-12;
        let all = all_signs(&by_case);
        let exact = all.iter().filter(|sum| sum.abs() >= least).count() as f64 / all.len() as f64;
        let (p, flips) = sign_flips(&by_case, 1);
        assert_eq!((all.len(), flips), (1 << 16, Flips::Drawn(DRAWN_FLIPS)));
        near(p, exact, 4.0 * (exact * (1.0 - exact) / DRAWN_FLIPS as f64).sqrt());
        assert_eq!(sign_flips(&by_case, 1).0, p);
        // Cases without a difference change nothing.
        assert_eq!(sign_flips(&[0.0; 40], 1), (1.0, Flips::All));
        // Nothing that was drawn is as far off as these: then the p is that of the rows as they are.
        assert!(sign_flips(&[1.0; 400], 1).0 <= 1.0 / DRAWN_FLIPS as f64);
    }

    #[test]
    fn what_never_differs_has_an_interval_too() {
        let cases = cases();
        let a = column(|row| row.a);
        let found = compare(&cases, &[&a], &[&a], BOOTSTRAP);
        let [low, high] = found.micro.interval;
        assert!((found.micro.difference, found.p) == (0.0, 1.0) && low < -0.1 && high > 0.1, "{low} {high}");
        assert_eq!(found.verdict(found.p), Verdict::CannotBeToldApart);
    }

    #[test]
    fn seeds_widen_an_interval() {
        let cases = cases();
        let x = column(|row| row.x);
        let (low, high): (Vec<f64>, Vec<f64>) = x.iter().map(|x| (0.8 * x, 0.8 * x + 0.2)).unzip();
        let (one, _) = over_seeds(&cases, &[&x], BOOTSTRAP);
        assert_eq!((one.each.len(), one.deviation), (1, None));
        let (two, of_types) = over_seeds(&cases, &[&low, &high], BOOTSTRAP);
        let width = |interval: [f64; 2]| interval[1] - interval[0];
        near(two.mean, (two.each[0] + two.each[1]) / 2.0, 1e-15);
        near(two.deviation.unwrap(), 0.2 / 2.0_f64.sqrt(), 1e-12);
        assert!(width(two.interval) > width(one.interval) && width(of_types.interval) > width(one.interval));
        // Of two systems with the same two seeds each, one that is better by less than seeds differ can't be told.
        let better: [Vec<f64>; 2] = [&low, &high].map(|scores| scores.iter().map(|score| score + 0.05).collect());
        let found = compare(&cases, &[&low, &high], &[&better[0], &better[1]], BOOTSTRAP);
        near(found.micro.difference, 0.05, 1e-12);
        assert!(found.p < 0.01 && found.micro.interval[0] < 0.0 && found.mcnemar.is_none());
        assert_eq!(found.verdict(found.p), Verdict::CannotBeToldApart);
    }

    #[test]
    fn runs_have_the_same_rows_or_are_not_compared() {
        let row = |id, case, score| Scored { id, case, question_type: "organ", score };
        let one = [row("1", "a", 0.25), row("2", "b", 0.5), row("3", "b", 1.0)];
        let other = [row("3", "b", 0.0), row("1", "a", 0.75), row("2", "b", 0.125)];
        let aligned = Aligned::of(&[("one", &one), ("other", &other)]).unwrap();
        assert_eq!(aligned.scores, [[0.25, 0.5, 1.0], [0.75, 0.125, 0.0]]);
        assert_eq!(aligned.cases, Cases::of([("a", "organ"), ("b", "organ"), ("b", "organ")]).unwrap());
        let message = |first: &[Scored<'_>], second: &[Scored<'_>]| {
            Aligned::of(&[("one", first), ("other", second)]).unwrap_err().to_string()
        };
        assert_eq!(message(&one, &other[..1]), "other lacks 2 rows that one has: 1, 2");
        assert_eq!(message(&one[..2], &other), "one lacks 1 rows that other has: 3");
        let ids: Vec<String> = (0..7).map(|id| id.to_string()).collect();
        let many: Vec<Scored<'_>> = ids.iter().map(|id| row(id, "a", 1.0)).collect();
        assert_eq!(message(&many, &[]), "other lacks 7 rows that one has: 0, 1, 2, 3, 4, ..");
        assert_eq!(message(&one, &[one, other].concat()), "other has the row 3 twice");
        assert_eq!(message(&[], &[]), "one has no rows");
        let moved = [row("1", "a", 0.0), row("2", "a", 0.0), row("3", "b", 0.0)];
        let expected = "the row 2 is of case a and type organ in other, of another in the first run";
        assert_eq!(message(&one, &moved), expected);
    }
}
