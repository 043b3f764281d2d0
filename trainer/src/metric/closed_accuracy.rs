//! Accuracy on questions with lettered choices, in the published sense and in a strict one. Report both: the published
//! one forgives an answer that lists several choices.

use med2e3_schemas::sample::Task;

use super::answer_metric::{AnswerMetric, Judged};

/// [`is_correct`] as 0 or 1; 0 where the sample states no choice.
pub struct Correct;

impl AnswerMetric for Correct {
    fn name(&self) -> &'static str {
        "correct"
    }

    fn value(&self, answer: &Judged<'_>) -> Option<f64> {
        closed(answer, is_correct)
    }
}

/// [`is_correct_strict`] as 0 or 1; 0 where the sample states no choice.
pub struct CorrectStrict;

impl AnswerMetric for CorrectStrict {
    fn name(&self) -> &'static str {
        "correct_strict"
    }

    fn value(&self, answer: &Judged<'_>) -> Option<f64> {
        closed(answer, is_correct_strict)
    }
}

fn closed(answer: &Judged<'_>, is_right: fn(&str, &str) -> bool) -> Option<f64> {
    let value = || answer.choice.map_or(0.0, |choice| f64::from(is_right(answer.answer, choice)));
    (answer.task == Task::ClosedVqa).then(value)
}

/// Whether `X.` occurs anywhere in the prediction, X being the right letter (the first of `choice`): the published
/// sense. Case matters. "A. liver B. spleen" is right for A and for B, and "vitamin A." is right for A.
pub fn is_correct(prediction: &str, choice: &str) -> bool {
    letter(choice).is_some_and(|letter| prediction.contains(&format!("{letter}.")))
}

/// Whether the prediction's first letter is the right one and is a word of its own: "A. liver", "(A)" and "A" are right for A,
/// "Axial" and "B. Not A." are not.
pub fn is_correct_strict(prediction: &str, choice: &str) -> bool {
    let mut rest = prediction.chars().skip_while(|c| !c.is_alphanumeric());
    let first = rest.next();
    first.is_some() && first == letter(choice) && !rest.next().is_some_and(char::is_alphanumeric)
}

fn letter(choice: &str) -> Option<char> {
    choice.trim().chars().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_sense_looks_anywhere() {
        assert!(is_correct("A. liver", "A"));
        assert!(is_correct("The answer is B. spleen", "B"));
        assert!(is_correct("A. liver B. spleen", "B"));
        assert!(is_correct("lack of vitamin A.", "A"));
        assert!(!is_correct("a. liver", "A"));
        assert!(!is_correct("A) liver", "A"));
        assert!(!is_correct("", "A"));
        assert!(!is_correct("liver.", ""));
    }

    #[test]
    fn the_strict_sense_takes_the_first_letter() {
        assert!(is_correct_strict(" A. liver", "A"));
        assert!(is_correct_strict("(A) liver", "A."));
        assert!(is_correct_strict("A", "A"));
        assert!(!is_correct_strict("A. liver B. spleen", "B"));
        assert!(!is_correct_strict("Axial", "A"));
        assert!(!is_correct_strict("lack of vitamin A.", "A"));
        assert!(!is_correct_strict("", "A"));
        assert!(!is_correct_strict("...", ""));
    }
}
