//! Evaluations compared: the same samples, what tells systems apart and what does not, and the paper's tables with a row for each.
//!
//! # Layout
//! - `system`: which runs, and what they are called; `evaluated`: one run, read
//! - `rows`: the runs' answers as rows of the same questions; `scored`: their means and differences
//! - `in_words`: all of it for people

pub(super) mod evaluated;
mod in_words;
#[cfg(test)]
pub(in crate::verb) mod made_up;
mod rows;
mod scored;
mod system;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use med2e3_metric::cases::Bootstrap;
use med2e3_program::machine::cores;
use med2e3_program::output::refuse_occupied;
use med2e3_schemas::comparison::{CompareReport, ComparedRun, ComparedSystem};
use med2e3_store::{FileError, put_whole};

use crate::TrainerError;
use crate::files::json::write_json;
use crate::tables;

pub(super) use evaluated::Evaluated;
pub(super) use rows::same_data;
pub(super) use scored::{Found, Scope, Seeds, scored};

pub use in_words::for_a_terminal;
pub use system::{System, SystemError, Wanted};

/// Compares systems with the baseline, the first one where none is named, and writes `compare.json`, `compare.md` and, where there are
/// captions or questions, `table1` and `table2` as `.md` and `.tex` to `out`. `seed` decides which cases are drawn.
///
/// # Errors
/// An output folder with something in it; what is no evaluation; fewer systems than are wanted; runs of other samples.
pub fn compare(
    systems: &[System],
    baseline: Option<&str>,
    wanted: Wanted,
    seed: u64,
    out: &Path,
) -> Result<CompareReport, TrainerError> {
    refuse_occupied(out)?;
    let baseline = system::checked(systems, baseline, wanted)?;
    let read = |system: &System| system.runs.iter().map(|run| Evaluated::read(run)).collect();
    let runs: Vec<Vec<Evaluated>> = systems.iter().map(read).collect::<Result<_, TrainerError>>()?;
    let all: Vec<&Evaluated> = runs.iter().flatten().collect();
    let first = &runs[baseline][0];
    all.iter().try_for_each(|run| same_data(first, run))?;
    let seeds: Vec<Seeds<'_>> = systems
        .iter()
        .zip(&runs)
        .map(|(system, runs)| Seeds { name: &system.name, runs: runs.iter().collect() })
        .collect();
    let baseline = seeds[baseline].name;
    let Found { scores, comparisons, notes: not_compared, .. } =
        scored(&seeds, baseline, Scope::All, Bootstrap { seed, threads: cores() })?;
    let systems: Vec<ComparedSystem> = seeds
        .iter()
        .map(|seeds| ComparedSystem {
            name: seeds.name.into(),
            runs: seeds.runs.iter().map(|run| run.run.clone()).collect(),
        })
        .collect();
    let mut notes: Vec<String> = all.iter().flat_map(|run| run.notes.iter().cloned()).collect();
    notes.extend(unlike(&all.iter().map(|run| &run.run).collect::<Vec<_>>()));
    notes.extend(systems.iter().filter_map(one_seed_twice));
    notes.extend(not_compared);
    let report = CompareReport {
        version: env!("CARGO_PKG_VERSION").into(),
        split: first.report.split,
        baseline: baseline.into(),
        seed,
        systems,
        scores,
        comparisons,
        notes,
    };
    write(&report, out)?;
    Ok(report)
}

/// What differs between runs beside their answers.
pub(super) fn unlike(runs: &[&ComparedRun]) -> Vec<String> {
    let differs = |what: &str, of: fn(&ComparedRun) -> Option<String>| {
        let mut values: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for run in runs {
            if let Some(value) = of(run) {
                values.entry(value).or_default().push(&run.path);
            }
        }
        let words: Vec<String> = values.iter().map(|(value, of)| format!("{value} in {}", of.join(", "))).collect();
        (words.len() > 1).then(|| format!("The runs' {what} differs: {}.", words.join("; ")))
    };
    let found = [
        differs("decoding", |run| run.decoding.clone()),
        differs("METEOR", |run| run.meteor.clone()),
        differs("BERTScore", |run| run.bert_score.clone()),
        differs("dataset", |run| run.dataset_hash.clone()),
        differs("number of samples without a volume", |run| Some(run.samples_without_volume.to_string())),
    ];
    found.into_iter().flatten().collect()
}

/// Says where two of a system's seeds are one model.
fn one_seed_twice(system: &ComparedSystem) -> Option<String> {
    let mut known: BTreeMap<&str, &str> = BTreeMap::new();
    system.runs.iter().find_map(|run| {
        let earlier = known.insert(run.checkpoint_hash.as_deref()?, &run.path)?;
        let ComparedRun { path, .. } = run;
        Some(format!("{}: {earlier} and {path} are of the same checkpoint, so they are no two seeds.", system.name))
    })
}

fn write(report: &CompareReport, out: &Path) -> Result<(), TrainerError> {
    fs::create_dir_all(out).map_err(FileError::of(out, "create"))?;
    for (name, table) in [("table1", tables::captions(report)), ("table2", tables::questions(report))] {
        let Some(table) = table else { continue };
        put_whole(&out.join(format!("{name}.md")), table.markdown().as_bytes())?;
        put_whole(&out.join(format!("{name}.tex")), table.latex(name).as_bytes())?;
    }
    put_whole(&out.join("compare.md"), in_words::page(report).as_bytes())?;
    write_json(&out.join("compare.json"), report)
}

#[cfg(test)]
mod tests {
    use super::*;
    use made_up::{answer, evaluated, report};
    use med2e3_schemas::comparison::Verdict;
    use med2e3_schemas::sample::Task;

    #[test]
    fn what_differs_between_runs_is_said() {
        let run = |path: &str, decoding: &str, checkpoint: &str| ComparedRun {
            decoding: Some(decoding.into()),
            checkpoint_hash: Some(checkpoint.into()),
            ..evaluated(path, vec![]).run
        };
        let runs = vec![run("a", "greedy", "x"), run("b", "4 beams", "y"), run("c", "greedy", "x")];
        assert_eq!(
            unlike(&runs.iter().collect::<Vec<_>>()),
            ["The runs' decoding differs: 4 beams in b; greedy in a, c."]
        );
        assert!(unlike(&[&runs[0], &runs[2]]).is_empty());
        let system = |runs: &[ComparedRun]| ComparedSystem { name: "s".into(), runs: runs.to_vec() };
        assert_eq!(
            one_seed_twice(&system(&runs)).unwrap(),
            "s: a and c are of the same checkpoint, so they are no two seeds."
        );
        assert_eq!(one_seed_twice(&system(&runs[..2])), None);
    }

    #[test]
    fn files_are_written_once() {
        let folder = tempfile::tempdir().unwrap();
        let system = |name: &str, score: f64| {
            let answers = (0..3).map(|id| answer(&id.to_string(), &id.to_string(), Task::Caption, &[("bleu1", score)]));
            let run = folder.path().join(name);
            fs::create_dir(&run).unwrap();
            write_json(&run.join("report.json"), &report(answers.collect())).unwrap();
            System { name: name.into(), runs: vec![run] }
        };
        let systems = [system("a", 0.5), system("b", 0.75)];
        let out = folder.path().join("out");
        let found = compare(&systems, None, Wanted::Comparison, 0, &out).unwrap();
        assert_eq!((found.comparisons.len(), found.comparisons[0].verdict), (1, Verdict::CannotBeToldApart));
        let there = |name: &str| out.join(name).is_file();
        assert!(
            ["compare.json", "compare.md", "table1.md", "table1.tex"].into_iter().all(there) && !there("table2.md")
        );
        let read: CompareReport = serde_json::from_slice(&fs::read(out.join("compare.json")).unwrap()).unwrap();
        assert_eq!(read, found);
        let again = compare(&systems, None, Wanted::Comparison, 0, &out).unwrap_err().to_string();
        assert!(again.contains("is not empty"), "{again}");
        let alone = compare(&systems[..1], None, Wanted::Tables, 0, &folder.path().join("alone")).unwrap();
        assert!(alone.comparisons.is_empty() && folder.path().join("alone/table1.tex").is_file());
    }
}
