//! Rows in cases, and the bootstrap over them: rows of one case are not independent, so cases are drawn, each with all its rows.

use std::collections::BTreeMap;
use std::ops::Range;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// How often cases are drawn anew.
pub const RESAMPLES: usize = 2000;

/// Resamples that are computed side by side, so that a sum is read once for all of them.
const LANES: usize = 8;

/// One number of each of the resamples that are computed side by side.
type Lanes = [f64; LANES];

/// What a bootstrap depends on, and on how many threads it runs, on which its result does not depend.
#[derive(Clone, Copy, Debug)]
pub struct Bootstrap {
    /// Decides which cases are drawn.
    pub seed: u64,
    /// 0 counts as 1.
    pub threads: usize,
}

/// Which rows belong together: each has a case and a question type. There is at least one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cases {
    /// Of each row, the numbers of its question type and its case, both in the order of their names.
    rows: Vec<(u32, u32)>,
    types: Vec<String>,
    cases: usize,
}

impl Cases {
    /// Takes each row's case and question type; `None` without rows.
    pub fn of<'a>(rows: impl IntoIterator<Item = (&'a str, &'a str)>) -> Option<Self> {
        let rows: Vec<(&str, &str)> = rows.into_iter().collect();
        // By name, so that neither the order of rows nor a hash decides what is drawn.
        let numbers = |names: &mut dyn Iterator<Item = &'a str>| {
            let mut numbers: BTreeMap<&str, u32> = names.map(|name| (name, 0)).collect();
            numbers.values_mut().zip(0..).for_each(|(number, next)| *number = next);
            numbers
        };
        let cases = numbers(&mut rows.iter().map(|(case, _)| *case));
        let types = numbers(&mut rows.iter().map(|(_, question_type)| *question_type));
        let numbered = rows.iter().map(|(case, question_type)| (types[question_type], cases[case])).collect();
        let types = types.into_keys().map(str::to_owned).collect();
        (!rows.is_empty()).then_some(Self { rows: numbered, types, cases: cases.len() })
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// How many cases there are.
    pub fn cases(&self) -> usize {
        self.cases
    }

    /// The question types, sorted.
    pub fn types(&self) -> &[String] {
        &self.types
    }

    /// Each case that has rows of a question type, or of any, with its rows and their sum.
    pub(crate) fn groups(&self, values: &[f64], of_type: Option<u32>) -> Vec<Group> {
        let mut groups = vec![Group::default(); self.cases];
        for ((question_type, case), value) in self.rows.iter().zip(values) {
            if of_type.is_none_or(|of_type| of_type == *question_type) {
                let group = &mut groups[*case as usize];
                (group.rows, group.sum) = (group.rows + 1, group.sum + value);
            }
        }
        groups.retain(|group| group.rows > 0);
        groups
    }

    /// Sums of columns of values, one value a row.
    ///
    /// # Panics
    /// A column that has not one value a row.
    pub(crate) fn sums(&self, columns: &[&[f64]]) -> Sums {
        assert!(columns.iter().all(|column| column.len() == self.rows.len()), "one value a row");
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        order.sort_by_key(|row| self.rows[*row]);
        let (mut cases, mut ends) = (Vec::new(), vec![0; self.types.len()]);
        // The rows themselves are a column of ones, the first.
        let mut sums = vec![Vec::new(); columns.len() + 1];
        let mut last = None;
        for row in order {
            let cell @ (question_type, case) = self.rows[row];
            if last.replace(cell) != Some(cell) {
                cases.push(case);
                ends[question_type as usize] = cases.len();
                sums.iter_mut().for_each(|sums| sums.push(0.0));
            }
            let values = std::iter::once(1.0).chain(columns.iter().map(|column| column[row]));
            sums.iter_mut().zip(values).for_each(|(sums, value)| *sums.last_mut().expect("pushed above") += value);
        }
        let starts = std::iter::once(&0).chain(&ends);
        let types = starts.zip(&ends).map(|(start, end)| *start..*end).collect();
        Sums { cases, types, sums, all_cases: self.cases }
    }
}

/// The rows of one case.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Group {
    pub(crate) rows: usize,
    pub(crate) sum: f64,
}

/// Of each question type and case that has rows, how many, and the sum of each column's values.
pub(crate) struct Sums {
    cases: Vec<u32>,
    /// Where each question type's entries are.
    types: Vec<Range<usize>>,
    /// The numbers of rows, then the sums of each column.
    sums: Vec<Vec<f64>>,
    all_cases: usize,
}

/// Means of one column.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Column<Value> {
    /// Over all rows.
    pub(crate) micro: Value,
    /// The mean of the types' means.
    pub(crate) macro_mean: Value,
    /// Of each question type; not a number in a resample that has none of its rows.
    pub(crate) per_type: Vec<Value>,
}

impl Sums {
    /// The means of each column over the rows themselves.
    pub(crate) fn means(&self) -> Vec<Column<f64>> {
        let counts = vec![[1.0; LANES]; self.all_cases];
        let first = |lanes: Lanes| lanes[0];
        let column = |column: Column<Lanes>| Column {
            micro: first(column.micro),
            macro_mean: first(column.macro_mean),
            per_type: column.per_type.into_iter().map(first).collect(),
        };
        self.resampled(&counts).into_iter().map(column).collect()
    }

    /// The means of each column in each of [`RESAMPLES`] resamples of as many cases as there are.
    pub(crate) fn bootstrap(&self, bootstrap: Bootstrap) -> Vec<Column<Vec<f64>>> {
        let cases = self.all_cases as u64;
        let draw = |resample: usize, lane: usize, counts: &mut [Lanes]| {
            let mut random = ChaCha8Rng::seed_from_u64(bootstrap.seed);
            random.set_stream(resample as u64);
            for _ in 0..cases {
                // The high half of a product is uniform but for one part in 2^32 over the number of cases.
                let case = (u64::from(random.next_u32()) * cases) >> 32;
                counts[case as usize][lane] += 1.0;
            }
        };
        self.resamples(RESAMPLES, bootstrap.threads, draw)
    }

    /// The means in resamples, to whose counts of cases `draw` adds the given one's in its lane.
    pub(crate) fn resamples(
        &self,
        resamples: usize,
        threads: usize,
        draw: impl Fn(usize, usize, &mut [Lanes]) + Sync,
    ) -> Vec<Column<Vec<f64>>> {
        let firsts: Vec<usize> = (0..resamples).step_by(LANES).collect();
        let share = |firsts: &[usize]| {
            let mut counts = vec![[0.0; LANES]; self.all_cases];
            let block = |first: &usize| {
                counts.fill([0.0; LANES]);
                (0..LANES.min(resamples - first)).for_each(|lane| draw(first + lane, lane, &mut counts));
                self.resampled(&counts)
            };
            firsts.iter().map(block).collect::<Vec<_>>()
        };
        let each = firsts.len().div_ceil(threads.max(1)).max(1);
        let blocks: Vec<Vec<Column<Lanes>>> = std::thread::scope(|scope| {
            let shares: Vec<_> = firsts.chunks(each).map(|firsts| scope.spawn(move || share(firsts))).collect();
            let joined = shares.into_iter().map(|share| share.join().expect("sums do not panic"));
            joined.flatten().collect()
        });
        let joined = |of: &dyn Fn(&[Column<Lanes>]) -> Lanes| {
            let mut values: Vec<f64> = blocks.iter().flat_map(|columns| of(columns)).collect();
            values.truncate(resamples);
            values
        };
        let column = |at: usize| Column {
            micro: joined(&|columns| columns[at].micro),
            macro_mean: joined(&|columns| columns[at].macro_mean),
            per_type: (0..self.types.len()).map(|of| joined(&|columns| columns[at].per_type[of])).collect(),
        };
        (0..self.sums.len() - 1).map(column).collect()
    }

    /// The means of each column where each case is there as often as `counts` says.
    fn resampled(&self, counts: &[Lanes]) -> Vec<Column<Lanes>> {
        let sum = |range: &Range<usize>, column: usize| {
            let mut sum = [0.0; LANES];
            for (case, value) in self.cases[range.clone()].iter().zip(&self.sums[column][range.clone()]) {
                let counts = &counts[*case as usize];
                (0..LANES).for_each(|lane| sum[lane] += counts[lane] * value);
            }
            sum
        };
        let add = |sums: &mut Lanes, other: &Lanes| sums.iter_mut().zip(other).for_each(|(sum, other)| *sum += other);
        let rows: Vec<Lanes> = self.types.iter().map(|range| sum(range, 0)).collect();
        let mut all_rows = [0.0; LANES];
        rows.iter().for_each(|rows| add(&mut all_rows, rows));
        let column = |column: usize| {
            let (mut all, mut means, mut types) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
            let mut of_type = |(range, rows): (&Range<usize>, &Lanes)| {
                let sums = sum(range, column);
                add(&mut all, &sums);
                let mean: Lanes = std::array::from_fn(|lane| sums[lane] / rows[lane]);
                add(&mut means, &mean.map(|mean| if mean.is_nan() { 0.0 } else { mean }));
                add(&mut types, &rows.map(|rows| f64::from(rows > 0.0)));
                mean
            };
            let per_type = self.types.iter().zip(&rows).map(&mut of_type).collect();
            Column {
                micro: std::array::from_fn(|lane| all[lane] / all_rows[lane]),
                macro_mean: std::array::from_fn(|lane| means[lane] / types[lane]),
                per_type,
            }
        };
        (1..self.sums.len()).map(column).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rows_are_numbered_by_name() {
        let cases = Cases::of([("b", "organ"), ("a", "plane"), ("b", "organ")]).unwrap();
        assert_eq!(cases.rows, [(0, 1), (1, 0), (0, 1)]);
        assert_eq!((cases.rows(), cases.cases(), cases.types()), (3, 2, &["organ".to_owned(), "plane".to_owned()][..]));
        let group = |rows, sum| Group { rows, sum };
        assert_eq!(cases.groups(&[1.0, 2.0, 4.0], None), [group(1, 2.0), group(2, 5.0)]);
        assert_eq!(cases.groups(&[1.0, 2.0, 4.0], Some(0)), [group(2, 5.0)]);
        assert_eq!(Cases::of([]), None);
    }

    #[test]
    fn macro_weighs_types_and_micro_weighs_rows() {
        let cases = Cases::of([("1", "organ"), ("2", "organ"), ("3", "organ"), ("1", "plane")]).unwrap();
        let means = &cases.sums(&[&[1.0, 1.0, 0.0, 0.0]]).means()[0];
        assert_eq!((means.micro, means.macro_mean, &means.per_type[..]), (0.5, 1.0 / 3.0, &[2.0 / 3.0, 0.0][..]));
    }

    #[test]
    fn a_resample_without_a_type_has_no_mean_of_it() {
        let cases = Cases::of([("1", "organ"), ("2", "plane")]).unwrap();
        let drawn = cases.sums(&[&[1.0, 0.5]]).resamples(1, 1, |_, lane, counts| counts[0][lane] = 2.0);
        assert_eq!((&drawn[0].micro[..], &drawn[0].macro_mean[..]), (&[1.0][..], &[1.0][..]));
        assert!(drawn[0].per_type[1][0].is_nan());
    }

    proptest! {
        #[test]
        fn the_seed_alone_decides(rows in prop::collection::vec((0..9_u8, 0..3_u8, 0.0..1.0_f64), 1..40), seed: u64) {
            let names: Vec<(String, String)> = rows.iter().map(|(c, t, _)| (c.to_string(), t.to_string())).collect();
            let cases = Cases::of(names.iter().map(|(case, of)| (case.as_str(), of.as_str()))).unwrap();
            let values: Vec<f64> = rows.iter().map(|(_, _, value)| *value).collect();
            let sums = cases.sums(&[&values, &values]);
            let drawn = |seed, threads| sums.bootstrap(Bootstrap { seed, threads });
            let bits = |columns: Vec<Column<Vec<f64>>>| {
                let all = columns.into_iter().flat_map(|column| [vec![column.micro, column.macro_mean], column.per_type]);
                all.flatten().flatten().map(f64::to_bits).collect::<Vec<_>>()
            };
            let one = bits(drawn(seed, 1));
            prop_assert_eq!(&one, &bits(drawn(seed, 3)));
            prop_assert_eq!(&one, &bits(drawn(seed, 0)));
        }
    }
}
