//! A sample's answer with its metrics.

use med2e3_input::text::pandas;
use med2e3_input::text::prompt::LETTERS;
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
    let mut metrics = measure(&reply.answer, expected, meteor);
    if let Some(likeliest) = reply.likeliest {
        let right = sample.answer_choice.as_deref().and_then(letter_place);
        metrics.insert("likelihood".into(), f64::from(right == Some(likeliest)));
    }
    Answer {
        metrics,
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

/// The place of a choice's letter among A, B, and so on.
pub(crate) fn letter_place(choice: &str) -> Option<usize> {
    LETTERS.iter().position(|letter| choice.trim().starts_with(letter))
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

    #[test]
    fn a_letter_has_a_place() {
        assert_eq!(["A", "B.", " D", "E", ""].map(letter_place), [Some(0), Some(1), Some(3), None, None]);
    }

    #[test]
    fn the_likeliest_letter_is_right_or_wrong_whatever_is_said() {
        let row = SampleRow {
            task: Task::ClosedVqa,
            choices: Some(["left", "right"].map(str::to_owned).to_vec()),
            answer_choice: Some("B".into()),
            ..SampleRow::of_ids(med2e3_schemas::Id::of_volume("row"), Vec::new(), vec![1, 2, 3], vec![(2, 3)])
        };
        let likelihood = |likeliest| {
            let reply = Reply { answer: "somewhere".into(), likeliest, ..Reply::default() };
            judged(&row, reply, None).metrics.get("likelihood").copied()
        };
        assert_eq!([Some(1), Some(0), None].map(likelihood), [Some(1.0), Some(0.0), None]);
    }
}
