//! The paper's Tables 3 to 5: each of its rows with the run's own below it, what tells rows from the base row, the controls, and means over
//! topics.

use std::collections::BTreeSet;

use med2e3_schemas::ablation::{AblateReport, AblatedRow, AblatedRun, AblationTable};
use med2e3_schemas::comparison::{ComparedRun, ComparedScore, SeedMean, SystemScore, Verdict};
use med2e3_schemas::evaluation::{ControlScore, main_metric};
use med2e3_schemas::sample::Task;
use serde::Deserialize;

use super::{NOT_COMPUTED, NOTHING, Table, chance, escaped, percent, signed};

/// What a table's columns are of, in the paper's order.
pub(crate) const COLUMNS: [(Task, &str); 9] = [
    (Task::Caption, "bleu1"),
    (Task::Caption, "rouge1"),
    (Task::Caption, "meteor"),
    (Task::Caption, "bertscore_f1"),
    (Task::OpenVqa, "bleu1"),
    (Task::OpenVqa, "rouge1"),
    (Task::OpenVqa, "meteor"),
    (Task::OpenVqa, "bertscore_f1"),
    (Task::ClosedVqa, "correct"),
];

/// Their names.
const NAMES: [&str; 9] =
    ["Report B@1", "Report R@1", "Report M", "Report BERT", "VQA B@1", "VQA R@1", "VQA M", "VQA BERT", "VQA Accuracy"];

/// The controls that are shown, in this order.
const CONTROLS: [&str; 6] = [
    "majority",
    "question_only",
    "scores_uniform",
    "scores_of_other_question",
    "scores_of_other_volume",
    "scores_top_1",
];

/// The numbers that the paper prints.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Paper {
    title: String,
    tables: Vec<PaperTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PaperTable {
    number: u32,
    title: String,
    note: Option<String>,
    rows: Vec<PaperRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PaperRow {
    method: String,
    captions: [f64; 4],
    questions: [f64; 5],
}

fn paper() -> Paper {
    toml::from_str(include_str!("ablation.toml")).expect("the file is part of the program, and a test reads it")
}

/// A table with intervals: each row of the paper, and the run's own below it.
pub(crate) fn scores(report: &AblateReport, table: &AblationTable) -> Table {
    let paper = paper();
    let own = paper.tables.iter().find(|of| of.number == table.table).expect("the three tables are there");
    let pair = |(of_paper, row): (&PaperRow, &String)| {
        let numbers = of_paper.captions.iter().chain(&of_paper.questions).map(|number| format!("{number:.2}"));
        let first = std::iter::once(format!("{} (paper)", of_paper.method)).chain(numbers).collect();
        vec![first, cells(report, table, row, row, |score| interval(&score.micro))]
    };
    let mut notes = vec![format!(
        "Means over samples, in percent, with 95 % intervals over cases, and over seeds where there are several. Rows with (paper) are the \
         figures of {}, on M3D's test split; they were not measured on the samples of the other rows.",
        paper.title
    )];
    notes.extend(own.note.clone());
    notes.extend(about(report, &table.rows));
    Table {
        title: format!("{}, in percent", own.title),
        head: head("Method"),
        groups: own.rows.iter().zip(&table.rows).map(pair).collect(),
        notes,
    }
}

/// What tells the rows of a table from the base row, and how often that is first; none where nothing is compared.
pub(crate) fn differences(report: &AblateReport, table: &AblationTable) -> Option<Table> {
    if table.comparisons.is_empty() {
        return None;
    }
    let row = |row: &String| {
        let of = |task: Task, metric: &str| {
            let mut all = table.comparisons.iter();
            all.find(|found| (&found.system, found.task, found.metric.as_str()) == (row, task, metric))
        };
        let cells = COLUMNS.map(|(task, metric)| of(task, metric).map_or(NOTHING.into(), difference));
        std::iter::once(row.clone()).chain(cells).collect::<Vec<_>>()
    };
    let first = |(task, metric): (Task, &str)| {
        let mut all = table.first.iter();
        let found =
            all.find(|found| (&found.system, found.task, found.metric.as_str()) == (&report.base, task, metric));
        found.map_or(NOTHING.into(), |found| percent(found.share))
    };
    let firsts = std::iter::once(format!("{} is first", report.base)).chain(COLUMNS.map(first)).collect();
    let count = table.comparisons.len();
    let apart = table.comparisons.iter().filter(|found| found.verdict != Verdict::CannotBeToldApart).count();
    Some(Table {
        title: format!("Table {}: less {}, in points of percent", table.table, report.base),
        head: head("Row"),
        groups: vec![table.rows.iter().filter(|row| **row != report.base).map(row).collect(), vec![firsts]],
        notes: vec![
            format!(
                "A row's mean less that of {}, with its 95 % interval and p by sign flips of whole cases after Holm's adjustment for the \
                 {count} comparisons of this table. † marks those that are told apart, {apart} of {count}: p under 0.05, and an interval \
                 without 0. All others cannot be told apart.",
                report.base
            ),
            format!(
                "The last row: in how many percent of the resamples of cases and seeds {} has the highest mean of the table's rows.",
                report.base
            ),
        ],
    })
}

/// What answers come to where something is taken away.
fn controls(report: &AblateReport) -> Table {
    let mut groups = Vec::new();
    for AblatedRow { row, runs } in &report.rows {
        let of_task = |task: Task| {
            let of = |run: &AblatedRun, control: &str| -> Option<ControlScore> {
                run.controls.iter().find(|score| score.task == task && score.control == control).cloned()
            };
            let lines = CONTROLS.map(|control| {
                let found: Vec<ControlScore> = runs.iter().filter_map(|run| of(run, control)).collect();
                control_cell(&found)
            });
            let has_any = lines.iter().any(|line| line != NOTHING);
            let name = format!("{row}: {task} {}", main_metric(task));
            has_any.then(|| std::iter::once(name).chain(lines).collect::<Vec<_>>())
        };
        let rows: Vec<Vec<String>> = Task::ALL.iter().filter_map(|task| of_task(*task)).collect();
        groups.extend(Some(rows).filter(|rows| !rows.is_empty()));
    }
    Table {
        title: "Controls: the evaluation's own answers less the control's, in points of percent".into(),
        head: std::iter::once("Row").chain(CONTROLS).map(str::to_owned).collect(),
        groups,
        notes: vec![
            "Of one seed with its 95 % interval over cases; of several the mean, and each seed's own.".into(),
            "majority: the most frequent training answer to the same question; question_only: no visual tokens; scores_*: slices counting in \
             another way at the test, of rows that score slices. Near 0 nothing shows that answers rest on what is taken away."
                .into(),
        ],
    }
}

fn control_cell(found: &[ControlScore]) -> String {
    match found {
        [] => NOTHING.into(),
        [one] => {
            let [low, high] = one.interval.map(percent);
            format!("{} [{low}, {high}]", signed(one.difference))
        }
        several => {
            let mean = several.iter().map(|one| one.difference).sum::<f64>() / several.len() as f64;
            let each: Vec<String> = several.iter().map(|one| signed(one.difference)).collect();
            format!("{} ({})", signed(mean), each.join(", "))
        }
    }
}

/// Means over topics, which the paper's ablations leave out.
fn macro_means(report: &AblateReport) -> Table {
    let of_row = |AblatedRow { row, .. }: &AblatedRow| {
        let table = report.tables.iter().find(|table| table.rows.contains(row))?;
        Some(cells(report, table, row, row, |score| interval(&score.macro_mean)))
    };
    Table {
        title: "Appendix: means of the topics' means, in percent".into(),
        head: head("Row"),
        groups: vec![report.rows.iter().filter_map(of_row).collect()],
        notes: vec!["The paper's ablations have means over samples alone; captions have no topics.".into()],
    }
}

/// All of it as one page.
pub(crate) fn page(report: &AblateReport) -> String {
    let all = report.rows.len() * report.seeds.len();
    let done: usize = report.rows.iter().map(|row| row.runs.len()).sum();
    let comparisons: Vec<&ComparedScore> = report.tables.iter().flat_map(|table| &table.comparisons).collect();
    let apart = comparisons.iter().filter(|found| found.verdict != Verdict::CannotBeToldApart).count();
    let mut page = format!(
        "# Ablation: Tables 3 to 5\n\n{done} of {all} runs are done. {apart} of {} comparisons tell a row from {}.\n\n",
        comparisons.len(),
        escaped(&report.base)
    );
    for table in &report.tables {
        page += &(scores(report, table).markdown() + "\n");
        page += &differences(report, table).map_or(String::new(), |table| table.markdown() + "\n");
    }
    page + &controls(report).markdown() + "\n" + &macro_means(report).markdown()
}

fn head(first: &str) -> Vec<String> {
    std::iter::once(first).chain(NAMES).map(str::to_owned).collect()
}

/// The cells of a row's scores; all empty where it has not been run.
fn cells(
    report: &AblateReport,
    table: &AblationTable,
    row: &str,
    name: &str,
    cell: impl Fn(&SystemScore) -> String,
) -> Vec<String> {
    let is_run = report.rows.iter().any(|of| of.row == row && !of.runs.is_empty());
    let of = |(task, metric): (Task, &str)| {
        let own = || table.scores.iter().filter(|score| score.system == row && score.task == task);
        let found = own().find(|score| score.metric == metric);
        match found {
            Some(score) => cell(score),
            // Another metric of the same answers is there.
            None if is_run && own().next().is_some() => NOT_COMPUTED.into(),
            None => NOTHING.into(),
        }
    };
    std::iter::once(name.to_owned()).chain(COLUMNS.map(of)).collect()
}

fn interval(mean: &SeedMean) -> String {
    let [low, high] = mean.interval.map(percent);
    format!("{} [{low}, {high}]", percent(mean.mean))
}

fn difference(found: &ComparedScore) -> String {
    let [low, high] = found.micro.interval.map(percent);
    let mark = if found.verdict == Verdict::CannotBeToldApart { "" } else { " †" };
    format!("{} [{low}, {high}], p {}{mark}", signed(found.micro.difference), chance(found.p_holm))
}

/// What a reader of a table's own rows has to know.
fn about(report: &AblateReport, rows: &[String]) -> Vec<String> {
    let own: Vec<&AblatedRow> = report.rows.iter().filter(|row| rows.contains(&row.row)).collect();
    let words = |of: fn(&ComparedRun) -> Option<String>| {
        let runs = own.iter().flat_map(|row| &row.runs);
        let values: BTreeSet<String> = runs.filter_map(|run| of(&run.evaluation)).collect();
        if values.is_empty() { "not stated".to_owned() } else { values.into_iter().collect::<Vec<_>>().join(" / ") }
    };
    let stage1 = match report.share_pretrain {
        true => format!(
            "All rows begin stage 2 with the stage 1 of {} (share_pretrain), which the paper does not do.",
            report.base
        ),
        false => "Each row has its own stage 1.".into(),
    };
    let seeds: Vec<String> = report.seeds.iter().map(u64::to_string).collect();
    let mut notes = vec![
        format!(
            "Only the preset differs between rows; seeds {}, order and steps are the same. {stage1}",
            seeds.join(", ")
        ),
        format!(
            "Split {}; dataset {}; selection {}; decoding {}; METEOR: {}; BERTScore: {}.",
            report.split,
            words(|run| run.dataset_hash.clone()),
            words(|run| run.selection_hash.clone()),
            words(|run| run.decoding.clone()),
            words(|run| Some(run.meteor.clone().unwrap_or_else(|| "not computed".into()))),
            words(|run| Some(run.bert_score.clone().unwrap_or_else(|| "not computed".into()))),
        ),
    ];
    notes.push(format!(
        "Samples that share something with training: {}; each run's scores without them are in ablate.json.",
        words(|run| {
            run.leaked
                .as_ref()
                .map(|leaked| format!("{} of {} ({} %)", leaked.samples, leaked.of, percent(leaked.share())))
        })
    ));
    for AblatedRow { row, runs } in own {
        let sum = |of: fn(&ComparedRun) -> u64| runs.iter().map(|run| of(&run.evaluation)).sum::<u64>();
        notes.push(match runs.as_slice() {
            [] => format!("{row}: not run."),
            runs if runs.len() < report.seeds.len() => {
                format!("{row}: {} of {} seeds so far.", runs.len(), report.seeds.len())
            }
            _ => format!(
                "{row}: {} of {} answers cut at the most tokens; {} samples without a volume left out.",
                sum(|run| run.answers_cut.unwrap_or(0)),
                sum(|run| run.answers),
                sum(|run| run.samples_without_volume)
            ),
        });
    }
    notes.extend(report.notes.iter().cloned());
    notes.push(format!("Put together by med2e3 {}; configuration {}.", report.version, report.configuration));
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use med2e3_schemas::ablation::FirstShare;
    use med2e3_schemas::comparison::MeanDifference;
    use med2e3_schemas::evaluation::LeakedSamples;
    use med2e3_schemas::sample::Split;

    fn run(seed: u64) -> AblatedRun {
        let evaluation = ComparedRun {
            path: "paper/seed-1/evaluate".into(),
            checkpoint: "paper/seed-1/finetune".into(),
            checkpoint_hash: None,
            dataset: None,
            dataset_hash: Some("0123".into()),
            selection_hash: Some("4567".into()),
            decoding: Some("greedy".into()),
            meteor: None,
            bert_score: None,
            answers: 40,
            answers_cut: Some(2),
            samples_without_volume: 1,
            turns_not_asked: 0,
            leaked: Some(LeakedSamples { samples: 10, of: 40, by_kind: Default::default() }),
            without_leaked: vec![],
        };
        let control = ControlScore {
            control: "majority".into(),
            task: Task::ClosedVqa,
            metric: "correct".into(),
            count: 10,
            cases: 5,
            real: 0.6,
            control_mean: 0.5,
            difference: 0.1 * seed as f64,
            interval: [-0.05, 0.25],
            changed: 0.3,
        };
        AblatedRun { seed, evaluation, controls: vec![control] }
    }

    fn report() -> AblateReport {
        let mean =
            |mean: f64| SeedMean { mean, interval: [mean - 0.01, mean + 0.01], each: vec![mean], deviation: None };
        let score = |system: &str, task: Task, metric: &str, micro: f64| SystemScore {
            system: system.into(),
            task,
            topic: None,
            metric: metric.into(),
            count: 10,
            cases: 5,
            micro: mean(micro),
            macro_mean: mean(micro / 2.0),
        };
        let micro = MeanDifference { baseline: 0.5, system: 0.25, difference: -0.25, interval: [-0.4, -0.1] };
        let compared = ComparedScore {
            system: "random".into(),
            task: Task::Caption,
            topic: None,
            metric: "bleu1".into(),
            micro,
            macro_mean: micro,
            p: 0.01,
            p_holm: 0.03,
            flips: None,
            mcnemar: None,
            verdict: Verdict::BaselineIsBetter,
        };
        let first = FirstShare { system: "paper".into(), task: Task::Caption, metric: "bleu1".into(), share: 0.875 };
        let row = |row: &str, runs| AblatedRow { row: row.into(), runs };
        AblateReport {
            version: "0.1.0".into(),
            configuration: "abcd".into(),
            base: "paper".into(),
            split: Split::Test,
            seeds: vec![1, 2],
            share_pretrain: true,
            rows: vec![
                row("paper", vec![run(1), run(2)]),
                row("random", vec![run(1)]),
                row("max", vec![]),
                row("mean", vec![]),
            ],
            tables: vec![AblationTable {
                table: 4,
                rows: ["random", "max", "mean", "paper"].map(str::to_owned).to_vec(),
                scores: vec![
                    score("paper", Task::Caption, "bleu1", 0.5),
                    score("random", Task::Caption, "bleu1", 0.25),
                    score("random", Task::ClosedVqa, "correct", 0.75),
                ],
                comparisons: vec![compared],
                first: vec![first],
            }],
            notes: vec!["Something differs.".into()],
        }
    }

    #[test]
    fn the_papers_numbers_are_whole_and_their_base_rows_agree() {
        let paper = paper();
        let of = |number: u32| paper.tables.iter().find(|table| table.number == number).unwrap();
        assert_eq!([3, 4, 5].map(|number| of(number).rows.len()), [3, 4, 6]);
        let base = |number: u32| of(number).rows.last().map(|row| (row.captions, row.questions)).unwrap();
        assert_eq!((base(3), base(4)), (base(4), base(5)));
        assert_eq!(base(3), ([49.67, 52.12, 48.92, 90.25], [39.83, 43.13, 28.27, 89.95, 72.05]));
        assert!(of(5).note.as_ref().unwrap().contains("inferred") && of(3).note.is_none());
    }

    #[test]
    fn each_row_of_the_paper_has_the_runs_own_below_it() {
        let report = report();
        let table = scores(&report, &report.tables[0]);
        assert_eq!(table.groups[0][0][..3], ["Random scores (paper)", "47.24", "49.88"]);
        assert_eq!(table.groups[0][1][..3], ["random", "25.00 [24.00, 26.00]", "not computed"]);
        assert_eq!((table.groups[0][1][5].as_str(), table.groups[0][1][9].as_str()), ("-", "75.00 [74.00, 76.00]"));
        // What has not been run.
        assert!(table.groups[1][1][1..].iter().all(|cell| cell == "-"));
        let notes = table.notes.join("\n");
        for part in [
            "seeds 1, 2, order and steps are the same. All rows begin stage 2 with the stage 1 of paper (share_pretrain)",
            "Split test; dataset 0123; selection 4567; decoding greedy; METEOR: not computed",
            "paper: 4 of 80 answers cut",
            "random: 1 of 2 seeds so far.",
            "max: not run.",
            "share something with training: 10 of 40 (25.00 %)",
            "Something differs.",
            "not measured on the samples",
        ] {
            assert!(notes.contains(part), "{part}\n{notes}");
        }
    }

    #[test]
    fn differences_controls_and_topics_stand_apart() {
        let mut report = report();
        let table = differences(&report, &report.tables[0]).unwrap();
        assert_eq!(table.groups[0][0][..3], ["random", "-25.00 [-40.00, -10.00], p 0.0300 †", "-"]);
        assert_eq!(
            (table.groups[0].len(), &table.groups[1][0][..2]),
            (3, &["paper is first", "87.50"].map(str::to_owned)[..])
        );
        assert!(table.notes[0].contains("1 of 1"));
        let found = controls(&report);
        assert_eq!(
            found.groups[0],
            [["paper: closed_vqa correct", "+15.00 (+10.00, +20.00)", "-", "-", "-", "-", "-"]]
        );
        assert_eq!(found.groups[1][0][1], "+10.00 [-5.00, 25.00]");
        assert_eq!(macro_means(&report).groups[0][1][..2], ["random", "12.50 [11.50, 13.50]"]);
        let page = page(&report);
        assert!(page.contains("3 of 8 runs are done. 1 of 1 comparisons tell a row from paper."), "{page}");
        report.tables[0].comparisons.clear();
        assert_eq!(differences(&report, &report.tables[0]), None);
    }
}
