//! Predictions that other programs wrote, scored as evaluate scores answers: read -> match with samples -> metrics -> table.
//!
//! - [`pairs`]: any pairs of texts, without a dataset
//! - [`imported`]: scores of other programs beside ours

pub mod imported;
pub mod pairs;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use med2e3_metric::cases::Bootstrap;
use med2e3_program::output::{claim, refuse_occupied, write_report};
use med2e3_program::{Stopwatch, note};
use med2e3_schemas::evaluation::{Answer, EvaluateReport};
use med2e3_schemas::sample::{self, SampleRow, Split, Task};
use med2e3_shards::{Dataset, Samples, Selection, ShardError};
use med2e3_store::{put_whole, read_regular};
use serde::Serialize;

use crate::TrainerError;
use crate::config::{MeteorConfig, check_tasks, check_threads};
use crate::generate::answerer::Reply;
use crate::generate::judged::judged;
use crate::predictions::align::{Alignment, Counts};
use crate::predictions::{self, Format, Predictions, Unread, Written, written};
use crate::verb::leaked::leaked;
use crate::verb::score_table::score_table;
use crate::verb::turns::later_turns;
use imported::Imported;

/// Largest file of predictions in bytes.
const MOST: u64 = 1 << 30;

/// What is scored.
#[derive(Clone, Debug, Serialize)]
pub struct ScoreConfig {
    /// Files of one program: M3D writes one a task.
    pub predictions: Vec<PathBuf>,
    /// Which program's.
    pub format: Format,
    /// The dataset that has what is expected.
    pub dataset: PathBuf,
    /// Part of the study.
    pub split: Split,
    /// Kinds of pair; those that the files are about where empty, all where they do not tell.
    pub tasks: Vec<Task>,
    /// Whether samples may lack a prediction.
    pub partial: bool,
    /// With it METEOR is computed too.
    pub meteor: Option<MeteorConfig>,
    /// Scores that other programs computed of these predictions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub imported: Vec<Imported>,
    /// As whose files answers and scores are written besides.
    pub write: Option<Written>,
    /// Of the cases that are drawn for intervals.
    pub seed: u64,
    /// CPU threads of these draws, on which no number depends.
    pub threads: usize,
}

/// Scores the files and writes `report.json` and `answers.jsonl`, as evaluate has them, to `out`.
///
/// # Errors
/// A file that does not read; a row that fits no sample, or one that has its row already; samples without a prediction where they are not
/// allowed; a dataset that does not read; a folder that holds something else.
pub fn score(config: &ScoreConfig, out: &Path) -> Result<EvaluateReport, TrainerError> {
    let watch = Stopwatch::start();
    check_threads([("threads", config.threads)])?;
    refuse_occupied(out)?;
    let meteor = config.meteor.as_ref().map(MeteorConfig::open).transpose()?;
    let files = config.predictions.iter().map(|path| Ok((path, read(path, config.format)?)));
    let files: Vec<(&PathBuf, Predictions)> = files.collect::<Result<_, TrainerError>>()?;
    let tasks = if config.tasks.is_empty() { tasks_of(&files) } else { config.tasks.clone() };
    check_tasks("tasks", &tasks)?;
    for (path, predictions) in &files {
        if let Some(task) = predictions.task.filter(|task| !tasks.contains(task)) {
            let words: Vec<&str> = tasks.iter().map(|task| task.as_str()).collect();
            let expected = format!("predictions of {}, as --tasks states", words.join(" or "));
            return Err(of_file(path, Unread { expected, found: format!("those of {task}") }));
        }
    }
    let dataset = Dataset::open(&config.dataset)?;
    let selected = dataset.select(&Selection { split: config.split, tasks: tasks.clone(), subset: None })?;
    let all = in_table_order(&dataset, config.split, &tasks)?;

    let mut alignment = Alignment::new(&all);
    for (path, predictions) in files {
        alignment.add(predictions).map_err(|unread| of_file(path, unread))?;
    }
    let is_there = |sample: &SampleRow| sample.volume_ids.iter().all(|id| dataset.has(*id));
    let (given, counts) = alignment.end(is_there);
    let (mut scored, mut missing, mut without_volume) = (Vec::new(), 0, 0_u64);
    for (sample, answer) in all.iter().zip(given) {
        match answer {
            Some(_) if !is_there(sample) => without_volume += 1,
            Some(answer) => {
                missing += u64::from(answer.is_none());
                scored.push((sample, answer.unwrap_or_default()));
            }
            None => {}
        }
    }
    // As evaluate has them.
    scored.sort_by_key(|(sample, _)| sample.sample_id);
    let absent = selected.len() - scored.len();
    if absent > 0 && (!config.partial || scored.is_empty()) {
        return Err(without_prediction(config, &selected, &scored));
    }
    say(&counts, missing, absent, without_volume);

    let samples: Vec<SampleRow> = scored.iter().map(|(sample, _)| (*sample).clone()).collect();
    let reply = |answer: String| Reply { answer: answer.trim().to_owned(), ..Reply::default() };
    let judge = |(sample, answer): (&SampleRow, String)| judged(sample, reply(answer), meteor.as_ref());
    let mut answers: Vec<Answer> = scored.into_iter().map(judge).collect();
    config.imported.iter().try_for_each(|imported| imported.add_to(&mut answers))?;
    let leaked = leaked(&dataset, None, &samples)?;
    let names: Vec<String> = config.predictions.iter().map(|path| path.display().to_string()).collect();
    let report = EvaluateReport {
        split: config.split,
        checkpoint: names.join(", "),
        matched: Some(counts.matched()),
        samples_without_prediction: absent as u64,
        predictions_missing: missing,
        samples_without_volume: selected.without_volume,
        turns_not_asked: later_turns(&samples),
        answers_cut: 0,
        meteor: config.meteor.as_ref().map(MeteorConfig::in_words),
        bert_score: None,
        controls: Vec::new(),
        focus: None,
        scores: score_table(
            &answers,
            &samples,
            leaked.as_ref(),
            Bootstrap { seed: config.seed, threads: config.threads },
        ),
        leaked: leaked.map(|leaked| leaked.counts),
        answers,
        seconds: watch.seconds(),
    };
    claim(out, "score.toml", config)?;
    put_whole(&out.join("answers.jsonl"), &lines(&report.answers))?;
    if let Some(form) = config.write {
        let places: HashMap<String, usize> =
            all.iter().enumerate().map(|(at, sample)| (sample.sample_id.to_string(), at)).collect();
        let mut in_order: Vec<&Answer> = report.answers.iter().collect();
        in_order.sort_by_key(|answer| places[&answer.sample_id]);
        written(form, &in_order).iter().try_for_each(|(name, bytes)| put_whole(&out.join(name), bytes))?;
    }
    write_report(out, &report)?;
    Ok(report)
}

fn read(path: &Path, format: Format) -> Result<Predictions, TrainerError> {
    predictions::read(format, read_regular(path, MOST)?).map_err(|unread| of_file(path, unread))
}

fn of_file(path: &Path, Unread { expected, found }: Unread) -> TrainerError {
    TrainerError::File { path: path.to_owned(), expected, found }
}

/// What all files together are about.
fn tasks_of(files: &[(&PathBuf, Predictions)]) -> Vec<Task> {
    let told: Option<Vec<Task>> = files.iter().map(|(_, predictions)| predictions.task).collect();
    let is_told = |task: &&Task| told.as_ref().is_none_or(|told| told.contains(task));
    Task::ALL.iter().filter(is_told).copied().collect()
}

/// The samples of a split and of tasks in the order in which prepare read them, with those whose volume is missing: others' files have
/// predictions of them too.
fn in_table_order(dataset: &Dataset, split: Split, tasks: &[Task]) -> Result<Vec<SampleRow>, TrainerError> {
    let mut rows = Vec::new();
    for shard in dataset.sample_shards() {
        let shard = shard?;
        for batch in shard.read(&[])? {
            let all = sample::from_batch(&batch).map_err(ShardError::schema(shard.path()))?;
            rows.extend(all.into_iter().filter(|row| row.split == split && tasks.contains(&row.task)));
        }
    }
    Ok(rows)
}

fn without_prediction(config: &ScoreConfig, selected: &Samples, scored: &[(&SampleRow, String)]) -> TrainerError {
    let has = |at: &usize| scored.binary_search_by_key(&selected.id(*at), |(sample, _)| sample.sample_id).is_ok();
    let first = (0..selected.len()).find(|at| !has(at));
    let first = first.map(|at| format!(", such as {} ({})", selected.id(at), selected.task(at)));
    let (count, absent) = (selected.len(), selected.len() - scored.len());
    let hint = if scored.is_empty() { "" } else { "\nhint: --partial scores those that are there" };
    TrainerError::File {
        path: config.predictions[0].clone(),
        expected: format!("a prediction of each of {count} samples of the split {}", config.split),
        found: format!("none of {absent}{}{hint}", first.unwrap_or_default()),
    }
}

/// Says what a person should know of how rows were taken.
fn say(counts: &Counts, missing: u64, absent: usize, without_volume: u64) {
    let lines = [
        (missing, "predictions are not there (empty, null, or nan in a table): scored 0"),
        (absent as u64, "samples have no prediction and are in no score"),
        (without_volume, "predictions of samples whose volume is missing are passed over"),
        (counts.repeated, "rows say again what a row of the same texts says and are passed over"),
        (
            counts.alike,
            "rows share their texts with others: which sample each is to, and so its case, its order alone tells",
        ),
        (counts.out_of_order, "rows are not in the dataset's order"),
    ];
    for (count, what) in lines.into_iter().filter(|(count, _)| *count > 0) {
        note(format_args!("note: {count} {what}"));
    }
}

/// Values as JSON lines.
fn lines(values: &[impl Serialize]) -> Vec<u8> {
    let line = |value| serde_json::to_string(value).expect("plain data can be written as JSON") + "\n";
    values.iter().map(line).collect::<String>().into_bytes()
}
