//! Which questions are explained.

use std::collections::BTreeSet;
use std::path::Path;

use med2e3_schemas::Id;
use med2e3_schemas::evaluation::{Answer, main_metric};
use med2e3_schemas::sample::{SampleRow, Task};
use med2e3_shards::{Dataset, SampleRows, Selection};

use crate::TrainerError;
use crate::config::{Chosen, ExplainConfig, check_positive};
use crate::fit::expect;
use crate::verb::compare::evaluated::Evaluated;

/// Ids that an error shows.
const SHOWN: usize = 3;

/// The samples that the configuration asks for.
///
/// # Errors
/// Ids that are none, are stated twice or are not in the split; a subset or an evaluation that is not there; nothing chosen.
pub(super) fn chosen(dataset: &Dataset, config: &ExplainConfig) -> Result<SampleRows, TrainerError> {
    let subset = match &config.chosen {
        Chosen::Subset(name) => Some(name.clone()),
        _ => None,
    };
    let samples = dataset.select_rows(&Selection { split: config.split, tasks: Task::ALL.to_vec(), subset })?;
    let place = format!("split {} of {}", config.split, config.dataset.display());
    match &config.chosen {
        Chosen::Subset(_) => Ok(samples),
        Chosen::First(count) => {
            check_positive([("chosen.first", *count)])?;
            let volumes: BTreeSet<Id> = samples.rows.iter().filter_map(first_volume).collect();
            let first: BTreeSet<Id> = volumes.into_iter().take(*count).collect();
            Ok(kept(samples, |row| first_volume(row).is_some_and(|id| first.contains(&id))))
        }
        Chosen::Volumes(ids) => {
            let wanted = distinct("chosen.volumes", ids)?;
            let there: BTreeSet<Id> = samples.rows.iter().filter_map(first_volume).collect();
            all_known("chosen.volumes", &wanted, &there, &format!("ids of volumes with questions in {place}"))?;
            Ok(kept(samples, |row| first_volume(row).is_some_and(|id| wanted.contains(&id))))
        }
        Chosen::Samples(ids) => {
            let wanted = distinct("chosen.samples", ids)?;
            of_samples("chosen.samples", samples, &wanted, &place)
        }
        Chosen::Wrong(folder) => {
            let wrong = wrong(folder)?;
            of_samples("chosen.wrong", samples, &wrong, &place)
        }
    }
}

/// Samples by their ids.
fn of_samples(key: &str, samples: SampleRows, wanted: &BTreeSet<Id>, place: &str) -> Result<SampleRows, TrainerError> {
    let there: BTreeSet<Id> = samples.rows.iter().map(|row| row.sample_id).collect();
    all_known(key, wanted, &there, &format!("ids of samples in {place}"))?;
    Ok(kept(samples, |row| wanted.contains(&row.sample_id)))
}

/// The samples of an evaluation's wrong answers to first turns.
fn wrong(folder: &Path) -> Result<BTreeSet<Id>, TrainerError> {
    let report = Evaluated::read(folder)?.report;
    let is_wrong = |answer: &&Answer| {
        let main = answer.metrics.get(main_metric(answer.task));
        answer.turn == 1 && main.is_some_and(|value| *value == 0.0)
    };
    let ids = report.answers.iter().filter(is_wrong).map(|answer| Ok(answer.sample_id.parse()?));
    let ids: BTreeSet<Id> = ids.collect::<Result<_, TrainerError>>()?;
    let expected = format!("wrong answers in {}", folder.display());
    expect("chosen.wrong", !ids.is_empty(), expected, format!("none of {}", report.answers.len()))?;
    Ok(ids)
}

fn first_volume(row: &SampleRow) -> Option<Id> {
    row.volume_ids.first().copied()
}

fn kept(samples: SampleRows, is_kept: impl Fn(&SampleRow) -> bool) -> SampleRows {
    let rows = samples.rows.into_iter().filter(is_kept).collect();
    SampleRows { rows, ..samples }
}

/// Ids in words, each once and at least one.
fn distinct(key: &str, ids: &[String]) -> Result<BTreeSet<Id>, TrainerError> {
    expect(key, !ids.is_empty(), "one id or more".into(), "none".into())?;
    let mut found = BTreeSet::new();
    for text in ids {
        let id = text.trim().parse::<Id>().ok();
        expect(key, id.is_some(), "ids of 32 hex digits".into(), format!("`{text}`"))?;
        let is_new = id.is_none_or(|id| found.insert(id));
        expect(key, is_new, "each id once".into(), format!("{text} twice"))?;
    }
    Ok(found)
}

fn all_known(key: &str, wanted: &BTreeSet<Id>, there: &BTreeSet<Id>, expected: &str) -> Result<(), TrainerError> {
    let unknown: Vec<String> = wanted.difference(there).map(ToString::to_string).collect();
    let shown = unknown.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    let more = unknown.len().saturating_sub(SHOWN);
    let found = if more > 0 { format!("{shown} and {more} more") } else { shown };
    expect(key, unknown.is_empty(), expected.into(), found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_stated_once_and_known() {
        let id = |number: usize| Id::of_volume(&format!("volume {number}"));
        let words = |numbers: &[usize]| numbers.iter().map(|number| id(*number).to_string()).collect::<Vec<_>>();
        let wanted = distinct("chosen.volumes", &words(&[1, 2])).unwrap();
        assert_eq!(wanted, BTreeSet::from([id(1), id(2)]));
        let refused = |ids: &[String]| distinct("chosen.volumes", ids).unwrap_err().to_string();
        assert!(refused(&words(&[1, 2, 1])).contains(&format!("each id once, found {} twice", id(1))));
        assert!(refused(&["abc".into()]).contains("32 hex digits, found `abc`"));
        assert!(refused(&[]).contains("one id or more"));
        let there = BTreeSet::from([id(1)]);
        let known = |numbers: std::ops::Range<usize>| {
            all_known("chosen.volumes", &numbers.map(id).collect(), &there, "ids of volumes")
        };
        known(1..2).unwrap();
        let error = known(1..9).unwrap_err().to_string();
        assert!(error.starts_with("chosen.volumes: expected ids of volumes, found") && error.ends_with("and 4 more"));
    }
}
