//! `compare.json` of `med2e3 compare`: systems on the same samples, and what tells them apart. Scores and their differences are fractions.

use serde::{Deserialize, Serialize};

use crate::evaluation::{LeakedSamples, UnleakedMean};
use crate::sample::{Split, Task, Topic};

/// The whole file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CompareReport {
    /// Version of the program that compared.
    pub version: String,
    /// Part of the study, the same of each run.
    pub split: Split,
    /// The system that the others are compared with.
    pub baseline: String,
    /// Decides which cases are drawn for intervals and tests.
    pub seed: u64,
    /// The systems, the baseline among them, in the order in which they were given.
    pub systems: Vec<ComparedSystem>,
    /// Of each task, metric and topic that a system has scores of, its means.
    pub scores: Vec<SystemScore>,
    /// Of each of these that the baseline has too, what tells them apart.
    pub comparisons: Vec<ComparedScore>,
    /// What a reader of the numbers has to know, a sentence each.
    pub notes: Vec<String>,
}

/// One system: a run, or the runs of several seeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComparedSystem {
    /// What it is called.
    pub name: String,
    /// At least one.
    pub runs: Vec<ComparedRun>,
}

/// One evaluation. What its folder does not state is null.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComparedRun {
    /// Its folder, as it was given.
    pub path: String,
    /// The checkpoint, as configured.
    pub checkpoint: String,
    /// Hash of the checkpoint.
    pub checkpoint_hash: Option<String>,
    /// The dataset's folder, as configured.
    pub dataset: Option<String>,
    /// Hash of the dataset's index.
    pub dataset_hash: Option<String>,
    /// Hash of the ids of the samples that were asked.
    pub selection_hash: Option<String>,
    /// How answers' tokens were chosen and how many there could be, in words.
    pub decoding: Option<String>,
    /// Which METEOR was computed.
    #[serde(default)]
    pub meteor: Option<String>,
    /// Which BERTScore was computed; absent where none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bert_score: Option<String>,
    /// How many answers there are.
    pub answers: u64,
    /// Answers that the most tokens that were allowed ended; null where another program or an earlier version answered.
    pub answers_cut: Option<u64>,
    /// Samples left out because their volume is in quarantine.
    pub samples_without_volume: u64,
    /// Later turns of conversations that were not asked.
    pub turns_not_asked: u64,
    /// What the samples share with the training split; null where that is not known.
    #[serde(default)]
    pub leaked: Option<LeakedSamples>,
    /// Scores without these samples.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without_leaked: Vec<UnleakedScore>,
}

/// A run's mean without the samples that share something with the training split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnleakedScore {
    /// Kind of pair.
    pub task: Task,
    /// Metric's name.
    pub metric: String,
    /// Its mean over the samples that are left.
    pub mean: UnleakedMean,
}

/// A mean over a system's seeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeedMean {
    /// The mean.
    pub mean: f64,
    /// The ends of its 95 % confidence interval, over cases, and over seeds where there are several.
    pub interval: [f64; 2],
    /// Of each seed, in the order of the system's runs.
    pub each: Vec<f64>,
    /// The seeds' standard deviation, n - 1 in the denominator; null for one seed.
    pub deviation: Option<f64>,
}

/// A system's scores by one metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SystemScore {
    /// The system's name.
    pub system: String,
    /// Kind of pair.
    pub task: Task,
    /// Question type, or null for all of the task.
    pub topic: Option<Topic>,
    /// Metric's name.
    pub metric: String,
    /// Samples; a turn of a conversation counts as one.
    pub count: u64,
    /// Cases that have these samples.
    pub cases: u64,
    /// Mean over the samples.
    pub micro: SeedMean,
    /// Mean over the topics' means; equal to `micro` in a topic's own row.
    pub macro_mean: SeedMean,
}

/// How two means differ.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeanDifference {
    /// The baseline's mean.
    pub baseline: f64,
    /// The system's mean.
    pub system: f64,
    /// The system's less the baseline's.
    pub difference: f64,
    /// The ends of its 95 % confidence interval: the bootstrap over cases, and over seeds where a system has several.
    pub interval: [f64; 2],
}

/// McNemar's exact test of right and wrong answers, which ignores cases.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DiscordantAnswers {
    /// Questions that the baseline alone has right.
    pub baseline_alone: u64,
    /// Questions that the system alone has right.
    pub system_alone: u64,
    /// How likely counts at least as uneven are by chance.
    pub p: f64,
}

/// What a comparison comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The baseline has the higher mean, by interval and test.
    BaselineIsBetter,
    /// The system has the higher mean, by interval and test.
    SystemIsBetter,
    /// The interval holds 0, or the test finds the difference likely by chance.
    CannotBeToldApart,
}

/// A system and the baseline by one metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComparedScore {
    /// The system's name.
    pub system: String,
    /// Kind of pair.
    pub task: Task,
    /// Question type, or null for all of the task.
    pub topic: Option<Topic>,
    /// Metric's name.
    pub metric: String,
    /// Of the mean over samples.
    pub micro: MeanDifference,
    /// Of the mean over the topics' means.
    pub macro_mean: MeanDifference,
    /// How likely a difference of `micro` at least as large is by chance: sign flips of whole cases.
    pub p: f64,
    /// `p` after Holm's adjustment for all comparisons of its table: those over all topics are one table, those of single topics another.
    pub p_holm: f64,
    /// Sign flips that were drawn; null where all were tried.
    pub flips: Option<u64>,
    /// For right and wrong answers of one seed each.
    pub mcnemar: Option<DiscordantAnswers>,
    /// Of `micro`, by its interval and `p_holm`.
    pub verdict: Verdict,
}
