//! A sample's answer with its metrics.

use med2e3_schemas::report::Answer;
use med2e3_schemas::sample::SampleRow;

use super::answerer::Reply;
use crate::metric::{Judged, measure};

/// What is reported of a reply to a sample's first question.
pub(crate) fn judged(sample: &SampleRow, reply: Reply) -> Answer {
    let choice = sample.answer_choice.as_deref();
    let judged = Judged { answer: &reply.answer, expected: &sample.answer, choice, task: sample.task };
    Answer {
        metrics: measure(&judged),
        sample_id: sample.sample_id.to_string(),
        volume_id: sample.volume_ids.first().map(ToString::to_string).unwrap_or_default(),
        task: sample.task,
        topic: sample.topic,
        turn: 1,
        question: sample.question.clone(),
        expected: sample.answer.clone(),
        answer_choice: sample.answer_choice.clone(),
        answer: reply.answer,
        is_cut: reply.is_cut,
        scores: reply.scores,
    }
}
