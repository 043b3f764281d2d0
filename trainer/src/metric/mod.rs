//! Scores of answers against references, and of retrieval: texts or similarities in, numbers out. Nothing here knows of
//! tensors or files.
//!
//! Each row is scored by itself and rows are averaged arithmetically; there is no corpus-level score. METEOR and
//! BERTScore need WordNet and roberta-large, and are not computed.
//!
//! # Layout
//! - `answer_metric`: what a metric of an answer is; a new one is one file that implements it and one line in
//!   [`ANSWER_METRICS`]
//! - [`bleu`], [`rouge`]: for captions and open questions
//! - [`closed_accuracy`]: for questions with lettered choices
//! - [`retrieval`]: ranks and recalls, for volumes and their captions
//! - `averages`: means over rows; `text`: what metrics of texts share

mod answer_metric;
mod averages;
pub mod bleu;
pub mod closed_accuracy;
pub mod retrieval;
pub mod rouge;
mod text;

use std::collections::BTreeMap;

pub use answer_metric::{AnswerMetric, Judged};
pub use averages::Averages;

/// Every metric of an answer.
pub const ANSWER_METRICS: [&dyn AnswerMetric; 4] =
    [&bleu::Bleu1, &rouge::Rouge1, &closed_accuracy::Correct, &closed_accuracy::CorrectStrict];

/// The metrics that apply to an answer, by name.
pub fn measure(answer: &Judged<'_>) -> BTreeMap<String, f64> {
    let value = |metric: &dyn AnswerMetric| Some((metric.name().to_owned(), metric.value(answer)?));
    ANSWER_METRICS.into_iter().filter_map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use med2e3_schemas::sample::Task;

    /// Made by `golden/metrics.py` with the reference implementations.
    const GOLDEN: &str = include_str!("golden/metrics.json");

    #[test]
    fn scores_equal_the_reference_implementations() {
        let cases: serde_json::Value = serde_json::from_str(GOLDEN).unwrap();
        let cases = cases.as_array().unwrap();
        assert!(cases.len() >= 40);
        for case in cases {
            let (prediction, reference) = (case["prediction"].as_str().unwrap(), case["reference"].as_str().unwrap());
            let tokens: Vec<&str> = case["tokens"].as_array().unwrap().iter().map(|t| t.as_str().unwrap()).collect();
            assert_eq!(bleu::tokens(prediction), tokens, "tokens of {prediction:?}");
            let near = |score: f64, name: &str| {
                let expected = case[name].as_f64().unwrap();
                assert!((score - expected).abs() < 1e-12, "{name} of {case}: {score}, {expected} expected");
            };
            near(bleu::bleu1(prediction, reference), "bleu1");
            near(rouge::rouge1(prediction, reference), "rouge1");
        }
    }

    #[test]
    fn each_task_has_its_metrics() {
        let names = |task| {
            let judged = Judged { answer: "A. liver", expected: "A. the liver", choice: Some("A"), task };
            measure(&judged).into_iter().map(|(name, value)| format!("{name} {value:.2}")).collect::<Vec<_>>()
        };
        assert_eq!(names(Task::Caption), ["bleu1 0.72", "rouge1 0.80"]);
        assert_eq!(names(Task::OpenVqa), names(Task::Caption));
        assert_eq!(names(Task::ClosedVqa), ["correct 1.00", "correct_strict 1.00"]);
        let without_choice = Judged { answer: "A.", expected: "A.", choice: None, task: Task::ClosedVqa };
        assert_eq!(measure(&without_choice)["correct"], 0.0);
    }
}
