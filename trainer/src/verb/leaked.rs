//! Samples that share something with the training split, so that an answer to them may be remembered.
//!
//! M3D's split is by series, not by case, and some of its cases are there twice; `med2e3-data resplit` makes a split that shares nothing.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use med2e3_schemas::Id;
use med2e3_schemas::evaluation::LeakedSamples;
use med2e3_schemas::sample::{SampleRow, Split};
use med2e3_shards::cohort::{Cohort, Kind, Row};
use med2e3_shards::{Dataset, subset};

use crate::TrainerError;

/// What was found.
#[derive(Debug)]
pub(super) struct Leaked {
    /// Keys of the samples that share anything.
    pub(super) samples: HashSet<Id>,
    /// How many they are, for the report.
    pub(super) counts: LeakedSamples,
}

/// Looks for what samples share with those of the training split; where `subset` is a part of a new split, with those of its training
/// part. `None` where the dataset has no such samples, so that nothing is known, and where training samples themselves are asked.
///
/// # Errors
/// A shard or a subset that can't be read.
pub(super) fn leaked(
    dataset: &Dataset,
    subset: Option<&str>,
    asked: &[SampleRow],
) -> Result<Option<Leaked>, TrainerError> {
    let cohort = Cohort::read(dataset)?;
    let ids: HashSet<Id> = asked.iter().map(|sample| sample.sample_id).collect();
    let own = training_part(dataset, subset)?;
    let is_learned = |row: &&Row| match &own {
        Some(own) => own.contains(&row.id),
        None => row.split == Split::Train,
    };
    let learned: Vec<&Row> = cohort.rows.iter().filter(is_learned).collect();
    let unseen: Vec<&Row> = cohort.rows.iter().filter(|row| ids.contains(&row.id)).collect();
    if learned.is_empty() || unseen.iter().any(is_learned) {
        return Ok(None);
    }
    let known: BTreeMap<Kind, HashSet<Id>> =
        Kind::ALL.into_iter().map(|kind| (kind, of_kind(&cohort, kind, &learned, &unseen))).collect();
    let by_kind = known.iter().map(|(kind, samples)| (kind.as_str().to_owned(), samples.len() as u64)).collect();
    let samples: HashSet<Id> = known.into_values().flatten().collect();
    let counts = LeakedSamples { samples: samples.len() as u64, of: unseen.len() as u64, by_kind };
    Ok(Some(Leaked { samples, counts }))
}

/// The samples of a new split's training part, where the subset is one of its parts.
fn training_part(dataset: &Dataset, subset: Option<&str>) -> Result<Option<HashSet<Id>>, TrainerError> {
    // Its name is the new split's, or that of the part itself.
    let names = subset.into_iter().flat_map(|name| [Some(name), name.rsplit_once('-').map(|(split, _)| split)]);
    let Some(split) = names.flatten().find(|name| dataset.is_resplit(name)) else { return Ok(None) };
    Ok(Some(subset::read(dataset.root(), dataset.index(), split, Split::Train)?))
}

/// The unseen samples that share a kind of thing.
fn of_kind(cohort: &Cohort, kind: Kind, learned: &[&Row], unseen: &[&Row]) -> HashSet<Id> {
    let is_known: Box<dyn Fn(&Row) -> bool> = if kind == Kind::Look {
        let seen = cohort.looks(learned.iter().copied());
        let volumes: HashSet<Id> = learned.iter().flat_map(|row| row.volumes.iter().copied()).collect();
        let looks = cohort.looks(unseen.iter().copied());
        // Every pair is looked at: 2,000 volumes beside 120,000 take some four seconds.
        let like = looks.into_iter().filter(|(_, look)| seen.iter().any(|(_, other)| look.is_like(other)));
        let known: HashSet<Id> = like.map(|(id, _)| id).chain(volumes).collect();
        Box::new(move |row| row.volumes.iter().any(|id| known.contains(id)))
    } else {
        let seen: BTreeSet<String> = learned.iter().flat_map(|row| cohort.keys(kind, row)).collect();
        Box::new(move |row| cohort.keys(kind, row).iter().any(|key| seen.contains(key)))
    };
    unseen.iter().filter(|row| is_known(row)).map(|row| row.id).collect()
}
