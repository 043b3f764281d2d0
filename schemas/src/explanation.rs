//! What is measured of one explained question, and of all of a run.

use serde::{Deserialize, Serialize};

/// How the scores of one question are spread over slices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuestionFocus {
    /// The scores in times an even share: 1 is what an indifferent scorer gives to each slice; their mean is 1.
    pub times_even: Vec<f32>,
    /// `exp` of the scores' entropy: from 1, one slice alone, to the number of slices, all the same.
    pub effective_slices: f64,
    /// The slice with the highest score, from 0; the first of equal ones.
    pub peak: u32,
    /// Share of the five highest scores, 0 to 1.
    pub highest_5: f64,
}

/// How likely the expected answer to one question is while slices count nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuestionDeletion {
    /// Tokens of the expected answer.
    pub tokens: u64,
    /// Log-probability of the expected answer with the question's own scores, in nats for each token.
    pub own: f64,
    /// With fewer slices.
    pub steps: Vec<DeletionStep>,
}

/// The same with some scores set to 0, the others raised in proportion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeletionStep {
    /// Slices whose scores are 0.
    pub slices: u32,
    /// Log-probability in nats for each token without those of the highest scores.
    pub best: f64,
    /// The same without as many drawn ones, the mean of all draws.
    pub random: f64,
}

/// What deletion of slices says over all questions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeletionScore {
    /// Slices whose scores are 0.
    pub slices: u32,
    /// Questions.
    pub count: u64,
    /// Cases that they are of.
    pub cases: u64,
    /// By how much the log-probability falls without the highest scores, the mean of questions in nats for each token.
    pub best: f64,
    /// The same without as many drawn slices.
    pub random: f64,
    /// The former less the latter: above 0 where slices with high scores matter more than others.
    pub difference: f64,
    /// The ends of its 95 % confidence interval over cases; absent where no resample of cases differs.
    pub interval: Option<[f64; 2]>,
}

/// Where the tokens of an answer look in one block of the language model: shares of their attention, on average over them and over heads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttentionMap {
    /// The block, from 0.
    pub layer: u32,
    /// Tokens of the answer.
    pub tokens: u64,
    /// The 3D tokens along D, H and W.
    pub grid_dhw: [u32; 3],
    /// The share of each 3D token, D slowest.
    pub weights: Vec<f64>,
    /// Of all 3D tokens together.
    pub tokens3d: f64,
    /// Of the 2D tokens.
    pub tokens2d: f64,
    /// Of the text.
    pub rest: f64,
    /// The slice that the picture shows, from 0: the one with the highest score.
    pub slice: u32,
    /// A PNG picture of that slice under the map of the 3D tokens that cover it, relative to the run.
    pub picture: String,
}
