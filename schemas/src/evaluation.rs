//! What an evaluation says: answers, scores with intervals, controls, how scores of slices are spread.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::sample::{Split, Task, Topic};

/// One answered sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Key of the sample.
    pub sample_id: String,
    /// Key of its volume.
    pub volume_id: String,
    /// The case of its volume; empty in reports of earlier versions.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub case_id: String,
    /// Kind of pair.
    pub task: Task,
    /// Question type.
    pub topic: Option<Topic>,
    /// The turn of its conversation that was asked, from 1.
    #[serde(default = "first_turn")]
    pub turn: u32,
    /// The instruction; of a later turn the text that led to its answer.
    pub question: String,
    /// The expected text.
    pub expected: String,
    /// The model's text.
    pub answer: String,
    /// The right letter.
    pub answer_choice: Option<String>,
    /// Metric by name: `bleu1`, `bleu4` of captions, `rouge1`, `rouge2`, `rougeL`, `rougeLsum`, where asked for
    /// `meteor`, `bertscore_p`, `bertscore_r` and `bertscore_f1`, or `correct`, `correct_strict` and, of a model's own answer, `likelihood`;
    /// what another program computed begins with `imported.`.
    pub metrics: BTreeMap<String, f64>,
    /// Whether it was ended by the most tokens that were allowed, not by an end token; in reports of earlier versions that is not
    /// known, and false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_cut: bool,
    /// The slice scores, one a slice.
    pub scores: Vec<f32>,
}

fn first_turn() -> u32 {
    1
}

/// One row of the result table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Kind of pair.
    pub task: Task,
    /// Question type, or `None` for all of the task.
    pub topic: Option<Topic>,
    /// Metric's name.
    pub metric: String,
    /// Samples.
    pub count: u64,
    /// Cases that have these samples; 0 in reports that do not state it.
    #[serde(default)]
    pub cases: u64,
    /// Mean over the samples (micro).
    pub micro: f64,
    /// Mean over the topics' means (macro); equal to `micro` in a topic's own row.
    pub macro_mean: f64,
    /// Half the width of `interval`, which need not lie evenly around `micro`.
    pub half_interval: f64,
    /// The ends of the 95 % confidence interval of `micro`, within 0 to 1: of cases, not of rows, which depend on each other.
    #[serde(default)]
    pub interval: [f64; 2],
    /// The ends of the same of `macro_mean`.
    #[serde(default)]
    pub macro_interval: [f64; 2],
    /// What guessing reaches, where that is known: one over the number of choices.
    pub chance: Option<f64>,
    /// Shares of samples that the mean does not tell of: `unread` (no choice can be read from the answer) and `several` (it lists several
    /// letters) of closed questions; `empty` (answer or expected text) of others, `short` (either has under 4 tokens) of `bleu4`.
    #[serde(default)]
    pub shares: BTreeMap<String, f64>,
    /// The same without the samples that share something with the training split; absent where none does, or all do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without_leaked: Option<UnleakedMean>,
}

/// A mean without the samples that share something with the training split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnleakedMean {
    /// Samples that are left.
    pub count: u64,
    /// Cases that they are of.
    pub cases: u64,
    /// Mean over the samples.
    pub micro: f64,
    /// Mean over the topics' means.
    pub macro_mean: f64,
    /// The ends of the 95 % confidence interval of `micro`, over cases.
    pub interval: [f64; 2],
}

/// Samples that share a case, a report, voxels or a look with the training split, so that an answer may be remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeakedSamples {
    /// Samples that share anything.
    pub samples: u64,
    /// Samples that were looked at.
    pub of: u64,
    /// Those that share each kind: `case`, `report`, `voxels`, `look`.
    pub by_kind: BTreeMap<String, u64>,
}

impl LeakedSamples {
    /// The share of samples that share anything.
    pub fn share(&self) -> f64 {
        if self.of == 0 { 0.0 } else { self.samples as f64 / self.of as f64 }
    }
}

/// What an evaluation's answers come to where they are asked for in another way, and what that says of the evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ControlScore {
    /// `shuffled`: about a volume of another case; `blank`: about a volume of zeros; `question_only`: without a volume;
    /// `choices_rotated`: each choice by the letter before its own; `scores_uniform`, `scores_of_other_question`,
    /// `scores_of_other_volume`, `scores_top_1`: slices counting in another way; `majority`: the most frequent answer of the training split,
    /// without a model.
    pub control: String,
    /// Kind of pair.
    pub task: Task,
    /// Metric's name.
    pub metric: String,
    /// Samples that were asked both ways.
    pub count: u64,
    /// Cases that they are of.
    pub cases: u64,
    /// Mean of the evaluation's own answers to them.
    pub real: f64,
    /// Mean of the control's answers.
    pub control_mean: f64,
    /// The former less the latter: how far the answers rest on what the control takes away.
    pub difference: f64,
    /// The ends of its 95 % confidence interval, over cases.
    pub interval: [f64; 2],
    /// Share of answers that differ from the evaluation's own; with `choices_rotated`, of those that name another choice.
    pub changed: f64,
}

/// Over how many slices scores are spread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TopicFocus {
    /// Question type, or `None` for all questions.
    pub topic: Option<Topic>,
    /// Answers with scores.
    pub count: u64,
    /// Cases that they are of.
    pub cases: u64,
    /// Mean over answers of `exp` of the scores' entropy: from 1, one slice alone, to the number of slices, all the same.
    pub effective_slices: f64,
    /// The ends of its 95 % confidence interval, over cases.
    pub interval: [f64; 2],
    /// Mean share of the five highest scores.
    pub highest_5: f64,
}

/// How far the scores of two answers lie apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoreDistance {
    /// `other_form`: the same topic asked for openly and with choices; `other_question`: another question about the volume;
    /// `other_volume`: the same topic's question about another case.
    pub between: String,
    /// Pairs of answers.
    pub count: u64,
    /// Mean Jensen-Shannon divergence in bits: from 0, the same slices count, to 1, none counts in both.
    pub bits: f64,
    /// The ends of its 95 % confidence interval, over cases.
    pub interval: [f64; 2],
}

/// Whether scores repeat a pattern in each group of neighbouring slices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupPattern {
    /// Slices of a group.
    pub group: u64,
    /// Answers whose groups have ranks to compare.
    pub count: u64,
    /// Cases that they are of.
    pub cases: u64,
    /// Mean over answers of the mean Spearman correlation of each two groups of its scores: from -1 to 1, 0 for no pattern in common.
    pub correlation: f64,
    /// The ends of its 95 % confidence interval, over cases; absent where no resample of cases differs.
    pub interval: Option<[f64; 2]>,
}

/// How the scores of slices are spread over an evaluation's answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoreFocus {
    /// Slices of a volume.
    pub slices: u64,
    /// All questions, then those of each topic.
    pub topics: Vec<TopicFocus>,
    /// Distances of pairs.
    pub distances: Vec<ScoreDistance>,
    /// Whether groups of slices that share their 3D tokens have a pattern in common; absent where there are no two whole groups, and in
    /// reports of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<GroupPattern>,
}

/// How predictions that other programs wrote were matched with samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Matched {
    /// By the ids of samples.
    Id,
    /// By question and expected text, in order where several samples have the same.
    Order,
}

impl std::fmt::Display for Matched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Matched::Id => "id",
            Matched::Order => "order",
        })
    }
}

/// The metric by which one number stands for the answers of a task.
pub fn main_metric(task: Task) -> &'static str {
    match task {
        Task::Caption | Task::OpenVqa => "rouge1",
        Task::ClosedVqa => "correct",
    }
}

impl EvaluateReport {
    /// The controls by the main metric of their task.
    pub fn main_controls(&self) -> impl Iterator<Item = &ControlScore> {
        self.controls.iter().filter(|score| score.metric == main_metric(score.task))
    }
}

/// `report.json` of `med2e3 evaluate`, and of `med2e3 score` for predictions that other programs wrote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluateReport {
    /// Part of the study.
    pub split: Split,
    /// The checkpoint, as configured; of others' predictions their files.
    pub checkpoint: String,
    /// How others' predictions were matched with samples; `None` for answers of a checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matched: Option<Matched>,
    /// Samples without a prediction, which are in no score.
    #[serde(default)]
    pub samples_without_prediction: u64,
    /// Predictions that are not there (empty, `null`, `nan` in a table), scored 0.
    #[serde(default)]
    pub predictions_missing: u64,
    /// Samples left out because their volume is in quarantine.
    pub samples_without_volume: u64,
    /// Which METEOR was computed; absent where none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meteor: Option<String>,
    /// Which BERTScore was computed, with the hash of its model and the layer; absent where none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bert_score: Option<String>,
    /// What the samples share with the training split; absent where the dataset has no training samples, and in reports of earlier
    /// versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaked: Option<LeakedSamples>,
    /// The result table.
    pub scores: Vec<Score>,
    /// The controls, each on a part of the samples or all.
    #[serde(default)]
    pub controls: Vec<ControlScore>,
    /// How the scores of slices are spread; absent where the model has none, and in reports of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub focus: Option<ScoreFocus>,
    /// Later turns of conversations that were not asked.
    #[serde(default)]
    pub turns_not_asked: u64,
    /// Answers that the most tokens that were allowed ended.
    #[serde(default)]
    pub answers_cut: u64,
    /// Every answer.
    pub answers: Vec<Answer>,
    /// Wall seconds.
    pub seconds: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_of_earlier_versions_are_read() {
        let old = r#"{"task":"caption","topic":null,"metric":"bleu1","count":2,"micro":0.5,"macro_mean":0.5,"half_interval":0.1,"interval":[0.4,0.6],"chance":null}"#;
        let score: Score = serde_json::from_str(old).unwrap();
        assert_eq!((score.cases, score.macro_interval, score.interval[1]), (0, [0.0; 2], 0.6));
        assert!(score.shares.is_empty() && score.without_leaked.is_none());
    }
}
