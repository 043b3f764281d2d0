//! A sample's answer with its metrics.

use med2e3_input::text::pandas;
use med2e3_metric::meteor::Meteor;
use med2e3_metric::{Expected, measure};
use med2e3_schemas::evaluation::Answer;
use med2e3_schemas::sample::{SampleRow, Task};

use super::answerer::Reply;

/// What is reported of a reply to a sample's first question; METEOR where it is given.
pub(crate) fn judged(sample: &SampleRow, reply: Reply, meteor: Option<&Meteor>) -> Answer {
    let choices = offered(sample);
    let expected = match sample.task {
        Task::Caption => Expected::Caption(&sample.answer),
        Task::OpenVqa => Expected::Open(&sample.answer),
        Task::ClosedVqa => Expected::Closed { right: sample.answer_choice.as_deref(), choices: &choices },
    };
    Answer {
        metrics: measure(&reply.answer, expected, meteor),
        sample_id: sample.sample_id.to_string(),
        volume_id: sample.volume_ids.first().map(ToString::to_string).unwrap_or_default(),
        case_id: sample.case_id.clone(),
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

/// The texts of a sample's choices A, B, and so on, `None` for one that is not offered.
pub(crate) fn offered(sample: &SampleRow) -> Vec<Option<&str>> {
    let choices = sample.choices.as_deref().unwrap_or_default();
    choices.iter().map(|choice| (!is_missing(choice)).then_some(choice.as_str())).collect()
}

/// Whether a choice stands for a missing one: M3D's tables write `NA`, and M3D's prompts and `nan_as_pandas` make `nan` of
/// all that pandas takes for missing. `None` as a text is a choice that one can make.
fn is_missing(choice: &str) -> bool {
    let choice = choice.trim();
    pandas::is_missing(choice) && choice != "None"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_choice_is_no_choice() {
        for missing in ["nan", "NA", "", " nan ", "NaN", "N/A", "<NA>", "null"] {
            assert!(is_missing(missing), "{missing}");
        }
        for choice in ["Left", "None", "no", "nano"] {
            assert!(!is_missing(choice), "{choice}");
        }
    }
}
