//! `resplit`: a split in which no two parts share a case, a report, voxels or a look.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use med2e3_schemas::Id;
use med2e3_schemas::look::Look;
use med2e3_schemas::sample::Split;
use med2e3_schemas::subset::Subset;
use med2e3_shards::cohort::{Cohort, Row};
use med2e3_shards::index::list_files_again;
use med2e3_shards::{Dataset, subset};
use rayon::prelude::*;
use serde::Serialize;

use super::reach;
use crate::PrepareError;
use crate::rank::rank;

/// What is split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RowsAre {
    /// Samples.
    Samples,
    /// Volumes, in a dataset without samples.
    Volumes,
}

impl RowsAre {
    /// The word for a message.
    pub fn as_str(self) -> &'static str {
        match self {
            RowsAre::Samples => "samples",
            RowsAre::Volumes => "volumes",
        }
    }
}

/// A new split in which no two parts share a case, a report, voxels or a look.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Resplit {
    /// Its name: the parts are `subsets/NAME-train.parquet` and so on.
    pub name: String,
    /// Seed of the draw.
    pub seed: u64,
    /// What was split: samples, or volumes where the dataset has no samples.
    pub of: RowsAre,
    /// Groups of cases that share something; each is in one part.
    pub groups: u64,
    /// Rows of the largest group.
    pub largest_group: u64,
    /// Samples of each part, or volumes.
    pub samples: BTreeMap<String, u64>,
    /// Share of the rows in each part, between 0 and 1.
    pub shares: BTreeMap<String, f64>,
    /// For validation and test: what was asked for and what whole groups can have next to it.
    pub reach: BTreeMap<String, Reach>,
}

/// A share that was asked for, and the shares next to it that whole groups add up to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Reach {
    /// The share that was asked for.
    pub asked: f64,
    /// The largest share that is not above it; `None` where there are too many rows to look for it.
    pub below: Option<f64>,
    /// The smallest share that is not below it; `None` as above.
    pub above: Option<f64>,
}

/// Splits a dataset anew: cases that share anything are one group, and whole groups are drawn until validation and test
/// have their shares (between 0 and 1) of the samples.
///
/// In a dataset without samples its volumes are split, and the parts are subsets of volumes (`volume_id` in place of
/// `sample_id`), which SQL and other programs read; training reads subsets of samples alone.
///
/// # Errors
/// A dataset that can't be read or written or has no row, a name that is no file name, shares that leave nothing to train on, or
/// that no whole groups reach, with those that they do.
pub fn resplit(root: &Path, name: &str, shares: [f64; 2], seed: u64) -> Result<Resplit, PrepareError> {
    let [validation, test] = shares;
    if !(shares.iter().all(|share| (0.0..1.0).contains(share)) && validation + test < 1.0) {
        return Err(PrepareError::Request {
            what: format!("shares {validation} and {test}"),
            problem: "expected two numbers from 0 that add up to less than 1".into(),
        });
    }
    let dataset = Dataset::open(root)?;
    let samples = Cohort::read(&dataset)?;
    let (cohort, of) = match samples.rows.is_empty() {
        false => (samples, RowsAre::Samples),
        true => (Cohort::of_volumes(&dataset)?, RowsAre::Volumes),
    };
    if cohort.rows.is_empty() {
        let problem = "the dataset has neither samples nor volumes".to_owned();
        return Err(PrepareError::Request { what: root.display().to_string(), problem });
    }
    let groups = groups(&cohort);
    let sizes: Vec<usize> = groups.values().map(Vec::len).collect();
    let mut order: Vec<(u64, &Vec<usize>)> =
        groups.iter().map(|(case, rows)| (rank(case.as_bytes(), seed), rows)).collect();
    order.sort_unstable();
    let total = cohort.rows.len() as f64;
    let mut parts: BTreeMap<Split, Vec<Id>> = Split::ALL.iter().map(|split| (*split, Vec::new())).collect();
    for (_, rows) in order {
        let room =
            |split: Split, share: f64| (parts[&split].len() + rows.len()) as f64 <= share * total + reach::ROUNDING;
        let split = if room(Split::Test, test) {
            Split::Test
        } else if room(Split::Validation, validation) {
            Split::Validation
        } else {
            Split::Train
        };
        parts.entry(split).or_default().extend(rows.iter().map(|row| cohort.rows[*row].id));
    }
    let mut reached = BTreeMap::new();
    for (split, asked) in [(Split::Validation, validation), (Split::Test, test)] {
        let around = reach::around(&sizes, asked * total);
        let [below, above] = [0, 1].map(|side| around.map(|sums| sums[side] as f64 / total));
        let reach = Reach { asked, below, above };
        if asked > 0.0 && parts[&split].is_empty() {
            return Err(out_of_reach(split, reach, of, &sizes));
        }
        reached.insert(split.to_string(), reach);
    }
    let (mut samples, mut shares) = (BTreeMap::new(), BTreeMap::new());
    for (split, mut ids) in parts {
        ids.sort_unstable();
        samples.insert(split.to_string(), ids.len() as u64);
        shares.insert(split.to_string(), ids.len() as f64 / total);
        let part = Subset {
            name: format!("{name}-{split}"),
            seed,
            counts: vec![("all".into(), ids.len() as u64)],
            queries: vec![format!("resplit with {validation} validation and {test} test")],
        };
        match of {
            RowsAre::Samples => subset::write(root, &part, &ids, Some(split))?,
            RowsAre::Volumes => subset::write_volumes(root, &part, &ids, Some(split))?,
        }
    }
    list_files_again(root)?;
    let largest_group = sizes.iter().copied().max().unwrap_or(0) as u64;
    let groups = groups.len() as u64;
    Ok(Resplit { name: name.into(), seed, of, groups, largest_group, samples, shares, reach: reached })
}

/// A share for which no whole group is small enough, or of which the draw left none.
fn out_of_reach(split: Split, reach: Reach, of: RowsAre, sizes: &[usize]) -> PrepareError {
    let (groups, total) = (sizes.len(), sizes.iter().sum::<usize>());
    let (smallest, largest) = (sizes.iter().min().unwrap_or(&0), sizes.iter().max().unwrap_or(&0));
    let of = of.as_str();
    let mut problem = format!(
        "the {total} {of} are {groups} groups that share nothing, of {smallest} to {largest} {of}, and a group is in one part"
    );
    match reach.above {
        _ if groups == 1 => problem.push_str("; nothing can be split"),
        Some(above) if above > 0.0 && above < 1.0 => problem.push_str(&format!(
            "; the shares next to it that whole groups reach are {} and {}: give {} or more",
            upwards(reach.below.unwrap_or(0.0)),
            upwards(above),
            upwards(above)
        )),
        _ => problem.push_str(&format!("; give {} or more", upwards(*smallest as f64 / total as f64))),
    }
    PrepareError::Request { what: format!("{} of the {of} for {split}", reach.asked), problem }
}

/// A share in four digits that is not below it, so that it can be given as it is shown.
fn upwards(share: f64) -> f64 {
    (share * 1e4 - reach::ROUNDING).ceil() / 1e4
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
