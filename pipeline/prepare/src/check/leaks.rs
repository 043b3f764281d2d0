//! `leaks`: what training shares with validation and test.
//!
//! M3D's own split is by series, so that one case's series are on both sides, and some cases are in the data twice
//! (BAAI-DCAI/M3D issues 38, 61, 67). Four kinds are looked for: the same case, the same report, the same voxels, and
//! voxels that look alike (perceptual hash).

use std::collections::BTreeSet;

use med2e3_input::perceptual::{NEAR_BITS, distance};
use med2e3_schemas::Id;
use med2e3_schemas::sample::Split;
use med2e3_shards::Dataset;
use serde::Serialize;

use super::cohort::{Cohort, Row};
use crate::PrepareError;

/// What two splits share of one kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Leak {
    /// case, report, voxels or look.
    pub kind: &'static str,
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
        let hex = |hash: &[u8; 32]| blake3::Hash::from_bytes(*hash).to_hex().to_string();
        found.push(same("case", from, to, &cohort, |row| vec![row.case.clone()]));
        found.push(same("report", from, to, &cohort, |row| row.report.iter().cloned().collect()));
        found.push(same("voxels", from, to, &cohort, |row| {
            row.volumes.iter().filter_map(|id| cohort.voxels.get(id)).map(hex).collect()
        }));
        found.push(alike(from, to, &cohort));
    }
    Ok(found)
}

fn same(kind: &'static str, from: Split, to: Split, cohort: &Cohort, keys: impl Fn(&Row) -> Vec<String>) -> Leak {
    let of = |split: Split| cohort.rows.iter().filter(move |row| row.split == split);
    let learned: BTreeSet<String> = of(from).flat_map(&keys).filter(|key| !key.is_empty()).collect();
    let mut shared = BTreeSet::new();
    let mut samples = 0;
    for row in of(to) {
        let mut known = keys(row).into_iter().filter(|key| learned.contains(key)).peekable();
        samples += u64::from(known.peek().is_some());
        shared.extend(known);
    }
    let examples = shared.iter().cloned().collect();
    Leak { kind, from, to, shared: shared.len() as u64, samples, of: of(to).count() as u64, examples }
}

/// Distinct volumes of the two splits whose perceptual hashes are near.
fn alike(from: Split, to: Split, cohort: &Cohort) -> Leak {
    let of = |split: Split| cohort.rows.iter().filter(move |row| row.split == split);
    let volumes = |split: Split| {
        let ids: BTreeSet<Id> = of(split).flat_map(|row| row.volumes.iter().copied()).collect();
        ids.into_iter().filter_map(|id| Some((id, cohort.look.get(&id)?))).collect::<Vec<_>>()
    };
    let (learned, unseen) = (volumes(from), volumes(to));
    let mut pairs = Vec::new();
    let mut known = BTreeSet::new();
    for (id, look) in &unseen {
        let near = learned.iter().filter(|(other, hash)| other != id && distance(look, hash) <= NEAR_BITS);
        let before = pairs.len();
        pairs.extend(near.map(|(other, _)| format!("{other} {id}")));
        if pairs.len() > before || learned.iter().any(|(other, _)| other == id) {
            known.insert(*id);
        }
    }
    let samples = of(to).filter(|row| row.volumes.iter().any(|id| known.contains(id))).count() as u64;
    Leak { kind: "look", from, to, shared: pairs.len() as u64, samples, of: of(to).count() as u64, examples: pairs }
}
