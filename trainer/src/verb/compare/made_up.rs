//! Evaluations of a few made-up answers, for tests.

use med2e3_schemas::comparison::ComparedRun;
use med2e3_schemas::evaluation::{Answer, EvaluateReport};
use med2e3_schemas::sample::{Split, Task};

use super::evaluated::Evaluated;

/// An answer to the first turn of a sample; all are of one volume.
pub(in crate::verb) fn answer(id: &str, case: &str, task: Task, metrics: &[(&str, f64)]) -> Answer {
    Answer {
        sample_id: id.into(),
        volume_id: "volume".into(),
        case_id: case.into(),
        task,
        topic: None,
        turn: 1,
        question: "Where?".into(),
        expected: "left".into(),
        answer: "right".into(),
        answer_choice: None,
        metrics: metrics.iter().map(|(name, score)| ((*name).to_owned(), *score)).collect(),
        is_cut: false,
        scores: vec![],
    }
}

/// The report of a test split.
pub(super) fn report(answers: Vec<Answer>) -> EvaluateReport {
    EvaluateReport {
        split: Split::Test,
        checkpoint: "run".into(),
        samples_without_volume: 0,
        meteor: None,
        bert_score: None,
        leaked: None,
        scores: vec![],
        matched: None,
        samples_without_prediction: 0,
        predictions_missing: 0,
        focus: None,
        controls: vec![],
        turns_not_asked: 0,
        answers_cut: 0,
        answers,
        seconds: 1.0,
    }
}

/// An evaluation whose folder states nothing more.
pub(super) fn evaluated(path: &str, answers: Vec<Answer>) -> Evaluated {
    let run = ComparedRun {
        path: path.into(),
        checkpoint: "run".into(),
        checkpoint_hash: None,
        dataset: None,
        dataset_hash: None,
        selection_hash: None,
        decoding: None,
        meteor: None,
        bert_score: None,
        answers: answers.len() as u64,
        answers_cut: None,
        samples_without_volume: 0,
        turns_not_asked: 0,
        leaked: None,
        without_leaked: vec![],
    };
    Evaluated { run, report: report(answers), notes: vec![] }
}
