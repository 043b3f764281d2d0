//! `leaks`: what training shares with validation and test.
//!
//! M3D's own split is by series, so that one case's series are on both sides, and some cases are in the data twice
//! (BAAI-DCAI/M3D issues 38, 61, 67). Four kinds are looked for: the same case, the same report, the same voxels, and
//! voxels that look alike (perceptual hash). A sample without a case shares none.

use std::collections::BTreeSet;

use med2e3_schemas::Id;
use med2e3_schemas::sample::Split;
use med2e3_shards::Dataset;
use med2e3_shards::cohort::{Cohort, Kind};
use rayon::prelude::*;
use serde::{Serialize, Serializer};

use crate::PrepareError;

/// What two splits share of one kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Leak {
    /// case, report, voxels or look.
    #[serde(serialize_with = "as_word")]
    pub kind: Kind,
    /// The split that is learned from, or the earlier of the two.
    pub from: Split,
    /// The split that should be unseen.
    pub to: Split,
    /// Things that both have: cases, reports, images, pairs of images.
    pub shared: u64,
    /// Samples of `to` that are about one of these.
    pub samples: u64,
    /// Samples of `to` in all.
    pub of: u64,
    /// What is shared: names of cases, hashes of reports and voxels, pairs of volume ids.
    pub examples: Vec<String>,
}

/// Looks for everything that two splits share.
///
/// # Errors
/// A dataset that can't be read.
pub fn leaks(dataset: &Dataset) -> Result<Vec<Leak>, PrepareError> {
    let cohort = Cohort::read(dataset)?;
    let pairs = [(Split::Train, Split::Validation), (Split::Train, Split::Test), (Split::Validation, Split::Test)];
    let mut found = Vec::new();
    for (from, to) in pairs {
        for kind in Kind::ALL {
            found.push(if kind == Kind::Look { alike(from, to, &cohort) } else { same(kind, from, to, &cohort) });
        }
    }
    Ok(found)
}

fn as_word<S: Serializer>(kind: &Kind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(kind.as_str())
}

fn same(kind: Kind, from: Split, to: Split, cohort: &Cohort) -> Leak {
    let of = |split: Split| cohort.rows.iter().filter(move |row| row.split == split);
    let learned: BTreeSet<String> = of(from).flat_map(|row| cohort.keys(kind, row)).collect();
    let mut shared = BTreeSet::new();
    let mut samples = 0;
    for row in of(to) {
        let mut known = cohort.keys(kind, row).into_iter().filter(|key| learned.contains(key)).peekable();
        samples += u64::from(known.peek().is_some());
        shared.extend(known);
    }
    let examples = shared.iter().cloned().collect();
    Leak { kind, from, to, shared: shared.len() as u64, samples, of: of(to).count() as u64, examples }
}

/// Distinct volumes of the two splits that look alike.
fn alike(from: Split, to: Split, cohort: &Cohort) -> Leak {
    let of = |split: Split| cohort.rows.iter().filter(move |row| row.split == split);
    let (learned, unseen) = (cohort.looks(of(from)), cohort.looks(of(to)));
    let mut pairs = Vec::new();
    let mut known = BTreeSet::new();
    let both: BTreeSet<Id> = learned.iter().map(|(id, _)| *id).collect();
    // Every pair is looked at: 120,000 volumes against 2,000 take seconds.
    let near: Vec<Vec<Id>> = unseen
        .par_iter()
        .map(|(id, look)| {
            let near = learned.iter().filter(|(other, seen)| other != id && look.is_like(seen));
            near.map(|(other, _)| *other).collect()
        })
        .collect();
    for ((id, _), near) in unseen.iter().zip(near) {
        pairs.extend(near.iter().map(|other| format!("{other} {id}")));
        if !near.is_empty() || both.contains(id) {
            known.insert(*id);
        }
    }
    let samples = of(to).filter(|row| row.volumes.iter().any(|id| known.contains(id))).count() as u64;
    Leak { kind: Kind::Look, from, to, shared: pairs.len() as u64, samples, of: of(to).count() as u64, examples: pairs }
}
