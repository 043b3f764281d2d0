//! `resplit`: a split in which no two parts share a case, a report, voxels or a look.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use med2e3_input::perceptual::Look;
use med2e3_schemas::Id;
use med2e3_schemas::sample::Split;
use med2e3_schemas::subset::Subset;
use med2e3_shards::index::list_files_again;
use med2e3_shards::{Dataset, subset};
use rayon::prelude::*;
use serde::Serialize;

use crate::PrepareError;
use crate::check::cohort::{Cohort, Row};
use crate::rank::rank;

/// A new split in which no two parts share a case, a report, voxels or a look.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Resplit {
    /// Its name: the parts are `subsets/NAME-train.parquet` and so on.
    pub name: String,
    /// Seed of the draw.
    pub seed: u64,
    /// Groups of cases that share something; each is in one part.
    pub groups: u64,
    /// Samples of each part.
    pub samples: BTreeMap<String, u64>,
}

/// Splits a dataset anew: cases that share anything are one group, and whole groups are drawn until validation and test
/// have their shares (between 0 and 1) of the samples.
///
/// # Errors
/// A dataset that can't be read or written, a name that is no file name, shares that leave nothing to train on.
pub fn resplit(root: &Path, name: &str, shares: [f64; 2], seed: u64) -> Result<Resplit, PrepareError> {
    let [validation, test] = shares;
    if !(shares.iter().all(|share| (0.0..1.0).contains(share)) && validation + test < 1.0) {
        return Err(PrepareError::Request {
            what: format!("shares {validation} and {test}"),
            problem: "expected two numbers from 0 that add up to less than 1".into(),
        });
    }
    let dataset = Dataset::open(root)?;
    let cohort = Cohort::read(&dataset)?;
    let groups = groups(&cohort);
    let mut order: Vec<(u64, &Vec<usize>)> =
        groups.iter().map(|(case, rows)| (rank(case.as_bytes(), seed), rows)).collect();
    order.sort_unstable();
    let total = cohort.rows.len() as f64;
    let mut parts: BTreeMap<Split, Vec<Id>> = Split::ALL.iter().map(|split| (*split, Vec::new())).collect();
    for (_, rows) in order {
        let room = |split: Split, share: f64| (parts[&split].len() + rows.len()) as f64 <= share * total;
        let split = if room(Split::Test, test) {
            Split::Test
        } else if room(Split::Validation, validation) {
            Split::Validation
        } else {
            Split::Train
        };
        parts.entry(split).or_default().extend(rows.iter().map(|row| cohort.rows[*row].id));
    }
    for (split, share) in [(Split::Validation, validation), (Split::Test, test)] {
        if share > 0.0 && parts[&split].is_empty() {
            let smallest = groups.values().map(Vec::len).min().unwrap_or(0);
            return Err(PrepareError::Request {
                what: format!("{share} of the samples for {split}"),
                problem: format!(
                    "the smallest group that shares something has {smallest} of {total}; give a larger share"
                ),
            });
        }
    }
    let mut samples = BTreeMap::new();
    for (split, mut ids) in parts {
        ids.sort_unstable();
        samples.insert(split.to_string(), ids.len() as u64);
        let part = Subset {
            name: format!("{name}-{split}"),
            seed,
            counts: vec![("all".into(), ids.len() as u64)],
            queries: vec![format!("resplit with {validation} validation and {test} test")],
        };
        subset::write(root, &part, &ids, Some(split))?;
    }
    list_files_again(root)?;
    Ok(Resplit { name: name.into(), seed, groups: groups.len() as u64, samples })
}

/// Cases joined wherever they share a report, voxels or a look: the smallest case's name and the rows of each group.
fn groups(cohort: &Cohort) -> BTreeMap<String, Vec<usize>> {
    // A sample without a case is alone with its volumes.
    let cases: Vec<String> = cohort.rows.iter().map(case_of).collect();
    let names: BTreeSet<&str> = cases.iter().map(String::as_str).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let number = |case: &str| names.binary_search(&case).expect("every row's case is listed");
    let mut parent: Vec<usize> = (0..names.len()).collect();
    fn root(parent: &mut [usize], mut case: usize) -> usize {
        while parent[case] != case {
            parent[case] = parent[parent[case]];
            case = parent[case];
        }
        case
    }
    let join = |parent: &mut Vec<usize>, a: usize, b: usize| {
        let (a, b) = (root(parent, a), root(parent, b));
        parent[a.max(b)] = a.min(b);
    };
    let mut first: HashMap<Vec<u8>, usize> = HashMap::new();
    let mut cases_of: BTreeMap<Id, usize> = BTreeMap::new();
    for (row, case) in cohort.rows.iter().zip(&cases) {
        let case = number(case);
        let report = row.report.iter().map(|hash| hash.as_bytes().to_vec());
        let voxels = row.volumes.iter().filter_map(|id| cohort.voxels.get(id)).map(|hash| hash.to_vec());
        for key in report.chain(voxels).chain(row.volumes.iter().map(|id| id.0.to_vec())) {
            let other = *first.entry(key).or_insert(case);
            join(&mut parent, case, other);
        }
        cases_of.extend(row.volumes.iter().map(|id| (*id, case)));
    }
    let looks: Vec<(usize, Look)> =
        cases_of.iter().filter_map(|(id, case)| Some((*case, *cohort.look.get(id)?))).collect();
    // Every pair is looked at, by all cores (18 ns a pair: 130 core seconds for 120,000 volumes); joined in the same order
    // whichever was first.
    let alike = |(i, (case, look)): (usize, &(usize, Look))| {
        let others = looks[..i].iter().filter(|(other, seen)| case != other && look.is_like(seen));
        others.map(|(other, _)| (*case, *other)).collect::<Vec<_>>()
    };
    let pairs: Vec<Vec<(usize, usize)>> = looks.par_iter().enumerate().map(alike).collect();
    for (case, other) in pairs.into_iter().flatten() {
        join(&mut parent, case, other);
    }
    let mut groups: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (number_of_row, case) in cases.iter().enumerate() {
        let case = root(&mut parent, number(case));
        groups.entry(names[case].to_owned()).or_default().push(number_of_row);
    }
    groups
}

fn case_of(row: &Row) -> String {
    let alone = || row.volumes.first().unwrap_or(&row.id).to_string();
    if row.case.is_empty() { alone() } else { row.case.clone() }
}
