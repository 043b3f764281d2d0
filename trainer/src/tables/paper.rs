//! The paper's Tables 1 and 2: its own rows, then a row for each system.

use std::collections::BTreeMap;

use med2e3_schemas::comparison::{CompareReport, ComparedRun, ComparedSystem, SystemScore};
use med2e3_schemas::sample::Task;
use serde::Deserialize;

use super::{NOT_COMPUTED, NOTHING, Table, percent};

/// Percent by metric.
type Percents = BTreeMap<String, f64>;

/// The numbers that the paper prints.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Paper {
    title: String,
    captions: Vec<CaptionRow>,
    questions: Vec<QuestionRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaptionRow {
    method: String,
    scores: Percents,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QuestionRow {
    method: String,
    #[serde(rename = "macro")]
    macro_mean: Percents,
    micro: Option<Percents>,
}

fn paper() -> Paper {
    toml::from_str(include_str!("paper.toml")).expect("the file is part of the program, and a test reads it")
}

/// A column: how the paper calls it, the metric's name, and what its values equal.
type Named = (&'static str, &'static str, &'static str);

/// Columns of free texts.
const OF_TEXTS: [Named; 4] = [
    ("B@1", "bleu1", "equal to bleu of evaluate 0.4.2 with max_order 1"),
    ("R@1", "rouge1", "equal to rouge_score 0.1.2 without its stemmer"),
    ("M", "meteor", "METEOR of the version that stands with a run"),
    (
        "BERT",
        "bertscore_f1",
        "F1 of BERTScore; the paper's by layer 17 of roberta-large, not rescaled, a run's by the model that stands with it",
    ),
];

/// The column of closed questions.
const ACCURACY: Named =
    ("Accuracy", "correct", "the published criterion: the right letter with a point anywhere in the answer");

/// Table 1; none where no system answered for captions.
pub(crate) fn captions(report: &CompareReport) -> Option<Table> {
    let columns = OF_TEXTS.map(|named| (Task::Caption, named));
    let paper = paper();
    let number =
        |scores: &Percents, metric: &str| scores.get(metric).map_or(NOTHING.into(), |found| format!("{found:.2}"));
    let row = |row: &CaptionRow| {
        let cells = columns.iter().map(|(_, (_, metric, _))| number(&row.scores, metric));
        named_row(&row.method, "(paper)", cells)
    };
    let rows = paper.captions.iter().map(row).collect();
    let title = "Report generation, after Table 1 of the paper, in percent";
    table(report, title, &columns, rows, &paper.title, |score| percent(score.micro.mean))
}

/// Table 2; none where no system answered questions.
pub(crate) fn questions(report: &CompareReport) -> Option<Table> {
    let of_texts = OF_TEXTS.map(|named| (Task::OpenVqa, named));
    let columns: Vec<(Task, Named)> = of_texts.into_iter().chain([(Task::ClosedVqa, ACCURACY)]).collect();
    let paper = paper();
    let number = |scores: Option<&Percents>, metric: &str| {
        scores.and_then(|scores| scores.get(metric)).map_or(NOTHING.into(), |found| format!("{found:.2}"))
    };
    let row = |row: &QuestionRow| {
        let both =
            |metric: &str| format!("{}/{}", number(Some(&row.macro_mean), metric), number(row.micro.as_ref(), metric));
        named_row(&row.method, "(paper)", columns.iter().map(|(_, (_, metric, _))| both(metric)))
    };
    let rows = paper.questions.iter().map(row).collect();
    let title =
        "Medical VQA, after Table 2 of the paper, in percent: the mean of the topics' means / the mean over samples";
    let both = |score: &SystemScore| format!("{}/{}", percent(score.macro_mean.mean), percent(score.micro.mean));
    table(report, title, &columns, rows, &paper.title, both)
}

fn named_row(method: &str, of: &str, cells: impl Iterator<Item = String>) -> Vec<String> {
    std::iter::once(format!("{method} {of}")).chain(cells).collect()
}

/// The table with a row for each system that has answers of one of the columns' tasks.
fn table(
    report: &CompareReport,
    title: &str,
    columns: &[(Task, Named)],
    paper_rows: Vec<Vec<String>>,
    paper: &str,
    cell: impl Fn(&SystemScore) -> String,
) -> Option<Table> {
    let scores = |system: &ComparedSystem, task: Task| {
        let all = report.scores.iter().filter(|score| score.topic.is_none() && score.task == task);
        all.filter(|score| score.system == system.name).collect::<Vec<_>>()
    };
    let is_in = |system: &&ComparedSystem| columns.iter().any(|(task, _)| !scores(system, *task).is_empty());
    let systems: Vec<&ComparedSystem> = report.systems.iter().filter(is_in).collect();
    let row = |system: &&ComparedSystem| {
        let cells = columns.iter().map(|(task, (_, metric, _))| {
            let scores = scores(system, *task);
            let found = scores.iter().find(|score| score.metric == *metric);
            found.map_or_else(|| if scores.is_empty() { NOTHING } else { NOT_COMPUTED }.into(), |score| cell(score))
        });
        std::iter::once(system.name.clone()).chain(cells).collect::<Vec<String>>()
    };
    let rows: Vec<Vec<String>> = systems.iter().map(row).collect();
    if rows.is_empty() {
        return None;
    }
    let mut notes = vec![format!(
        "Rows with (paper) are the figures of {paper}, on M3D's test split; they were not measured on the samples of the other rows."
    )];
    for (name, metric, meaning) in columns.iter().map(|(_, named)| named) {
        notes.push(format!("{name}: {metric}, {meaning}."));
    }
    for system in systems {
        notes.push(what_was_scored(system, columns, &report.scores));
        for run in &system.runs {
            notes.push(provenance(report, system, run));
            notes.push(leaked(system, run, columns));
        }
    }
    notes.extend(report.notes.iter().cloned());
    notes.push(format!("Put together by med2e3 {}; intervals and tests are in compare.md.", report.version));
    Some(Table {
        title: title.into(),
        head: std::iter::once("Method")
            .chain(columns.iter().map(|(_, (name, _, _))| *name))
            .map(str::to_owned)
            .collect(),
        groups: vec![paper_rows, rows],
        notes,
    })
}

/// How many samples a system's row is of, and its accuracy by the stricter reading.
fn what_was_scored(system: &ComparedSystem, columns: &[(Task, Named)], scores: &[SystemScore]) -> String {
    let mut parts = Vec::new();
    let own = |score: &&SystemScore| score.topic.is_none() && score.system == system.name;
    let mut tasks: Vec<Task> = columns.iter().map(|(task, _)| *task).collect();
    tasks.dedup();
    for task in tasks {
        parts.push(match scores.iter().filter(own).find(|score| score.task == task) {
            Some(score) => format!("{} samples of {task}, {} cases", score.count, score.cases),
            None => format!("no answers of {task}"),
        });
    }
    if let Some(strict) =
        scores.iter().filter(own).find(|score| score.metric == "correct_strict" && is_of(score, columns))
    {
        let (macro_mean, micro) = (percent(strict.macro_mean.mean), percent(strict.micro.mean));
        parts.push(format!("accuracy where a choice is read (correct_strict) {macro_mean}/{micro}"));
    }
    if system.runs.len() > 1 {
        parts.push(format!("means over {} seeds", system.runs.len()));
    }
    format!("{}: {}.", system.name, parts.join("; "))
}

fn is_of(score: &SystemScore, columns: &[(Task, Named)]) -> bool {
    columns.iter().any(|(task, _)| *task == score.task)
}

/// What a run's answers are answers to, and how they were made.
fn provenance(report: &CompareReport, system: &ComparedSystem, run: &ComparedRun) -> String {
    let known = |what: &Option<String>| what.clone().unwrap_or_else(|| "not stated".into());
    let ComparedRun { answers, samples_without_volume, .. } = run;
    let cut = run.answers_cut.map_or("it is not known how many".into(), |cut| cut.to_string());
    let of = if run.path == system.name { String::new() } else { format!(", run {}", run.path) };
    let version = |name: &str, of: &Option<String>| of.as_ref().map_or(String::new(), |of| format!(" {name} as {of};"));
    let versions = version("METEOR", &run.meteor) + &version("BERTScore", &run.bert_score);
    format!(
        "{}{of}: split {}; dataset {}; selection {}; decoding {};{versions} {cut} of {answers} answers cut at the most tokens; \
         {samples_without_volume} samples without a volume left out.",
        system.name,
        report.split,
        known(&run.dataset_hash),
        known(&run.selection_hash),
        known(&run.decoding),
    )
}

/// How many of a run's samples may be remembered from training, and what it scores without them.
fn leaked(system: &ComparedSystem, run: &ComparedRun, columns: &[(Task, Named)]) -> String {
    let name = &system.name;
    let Some(leaked) = &run.leaked else {
        return format!("{name}: it is not known how many samples share something with the training split.");
    };
    let share = format!(
        "{name}: {} of {} samples ({} %) share a case, a report, voxels or a look with the training split",
        leaked.samples,
        leaked.of,
        percent(leaked.share())
    );
    let without = columns.iter().filter_map(|(task, (_, metric, _))| {
        let found = run.without_leaked.iter().find(|score| score.task == *task && score.metric == *metric)?;
        let (macro_mean, micro) = (percent(found.mean.macro_mean), percent(found.mean.micro));
        Some(format!("{task} {metric} {macro_mean}/{micro}"))
    });
    let without = without.collect::<Vec<_>>().join(", ");
    if without.is_empty() { format!("{share}.") } else { format!("{share}; without them: {without}.") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use med2e3_schemas::comparison::{SeedMean, UnleakedScore};
    use med2e3_schemas::evaluation::{LeakedSamples, UnleakedMean};
    use med2e3_schemas::sample::Split;

    fn mean(mean: f64) -> SeedMean {
        SeedMean { mean, interval: [0.0, 1.0], each: vec![mean], deviation: None }
    }

    fn score(system: &str, task: Task, metric: &str, micro: f64, macro_mean: f64) -> SystemScore {
        SystemScore {
            system: system.into(),
            task,
            topic: None,
            metric: metric.into(),
            count: 14,
            cases: 7,
            micro: mean(micro),
            macro_mean: mean(macro_mean),
        }
    }

    fn report() -> CompareReport {
        let run = |path: &str, decoding: Option<&str>| ComparedRun {
            path: path.into(),
            checkpoint: "run".into(),
            checkpoint_hash: None,
            dataset: None,
            dataset_hash: decoding.map(|_| "0123".into()),
            selection_hash: decoding.map(|_| "4567".into()),
            decoding: decoding.map(str::to_owned),
            meteor: decoding.map(|_| "nltk 3.8.1, WordNet 3.0".into()),
            bert_score: None,
            answers: 40,
            answers_cut: decoding.map(|_| 2),
            samples_without_volume: 3,
            turns_not_asked: 0,
            leaked: decoding.map(|_| LeakedSamples { samples: 10, of: 40, by_kind: Default::default() }),
            without_leaked: decoding.map_or(vec![], |_| {
                let mean = UnleakedMean { count: 30, cases: 5, micro: 0.5, macro_mean: 0.25, interval: [0.4, 0.6] };
                vec![UnleakedScore { task: Task::ClosedVqa, metric: "correct".into(), mean }]
            }),
        };
        let system = |name: &str, runs| ComparedSystem { name: name.into(), runs };
        CompareReport {
            version: "0.1.0".into(),
            split: Split::Test,
            baseline: "ours".into(),
            seed: 0,
            systems: vec![
                system("ours", vec![run("a", Some("greedy")), run("b", Some("greedy"))]),
                system("theirs", vec![run("theirs", None)]),
            ],
            scores: vec![
                score("ours", Task::Caption, "bleu1", 0.5151, 0.5151),
                score("ours", Task::Caption, "meteor", 0.25, 0.25),
                score("theirs", Task::OpenVqa, "bleu1", 0.25, 0.5),
                score("ours", Task::ClosedVqa, "correct", 0.75, 0.7),
                score("ours", Task::ClosedVqa, "correct_strict", 0.5, 0.4),
            ],
            comparisons: vec![],
            notes: vec!["Decoding differs.".into()],
        }
    }

    #[test]
    fn the_papers_numbers_are_whole() {
        let paper = paper();
        let names = |scores: &Percents| scores.keys().cloned().collect::<Vec<_>>();
        let of_texts = ["bertscore_f1", "bleu1", "meteor", "rouge1"];
        let of_all = ["bertscore_f1", "bleu1", "correct", "meteor", "rouge1"];
        assert!(paper.captions.len() == 4 && paper.captions.iter().all(|row| names(&row.scores) == of_texts));
        let both = |row: &QuestionRow| {
            names(&row.macro_mean) == of_all && row.micro.as_ref().is_none_or(|micro| names(micro) == of_all)
        };
        assert!(paper.questions.len() == 4 && paper.questions.iter().all(both));
    }

    #[test]
    fn a_row_for_each_system_follows_the_papers() {
        let report = report();
        let one = captions(&report).unwrap();
        assert_eq!(one.head, ["Method", "B@1", "R@1", "M", "BERT"]);
        assert_eq!(one.groups[0][3], ["Med-2E3 (paper)", "51.51", "54.48", "50.96", "90.87"]);
        assert_eq!(one.groups[1], [["ours", "51.51", "not computed", "25.00", "not computed"]]);
        let two = questions(&report).unwrap();
        assert_eq!(two.head[5], "Accuracy");
        assert_eq!(two.groups[0][0][1..3], ["16.39/-", "26.13/-"]);
        assert_eq!(two.groups[0][2][5], "80.16/77.09");
        assert_eq!(two.groups[1][0], ["ours", "-", "-", "-", "-", "70.00/75.00"]);
        assert_eq!(two.groups[1][1][..3], ["theirs", "50.00/25.00", "not computed"]);
    }

    #[test]
    fn what_a_row_is_of_stands_below() {
        let notes = questions(&report()).unwrap().notes.join("\n");
        for part in [
            "ours: no answers of open_vqa; 14 samples of closed_vqa, 7 cases; accuracy where a choice is read (correct_strict) 40.00/50.00; means over 2 seeds.",
            "ours, run b: split test; dataset 0123; selection 4567; decoding greedy; METEOR as nltk 3.8.1, WordNet 3.0; 2 of 40 answers cut",
            "theirs: split test; dataset not stated; selection not stated; decoding not stated; it is not known how many of 40",
            "Accuracy: correct, the published criterion",
            "ours: 10 of 40 samples (25.00 %) share a case, a report, voxels or a look with the training split; without them: closed_vqa correct 25.00/50.00.",
            "theirs: it is not known how many samples share something",
            "Decoding differs.",
            "not measured on the samples",
        ] {
            assert!(notes.contains(part), "{part}\n{notes}");
        }
        let mut without = report();
        without.scores.retain(|score| score.task != Task::Caption);
        assert_eq!(captions(&without), None);
    }
}
