//! Accuracy on questions with lettered choices, in the published sense and in a strict one. Report both: the published
//! one forgives an answer that lists several choices.

use med2e3_input::text::pandas;
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

/// Whether the prediction begins with the right letter as a word of its own, and names no other: "A. liver", "(A)" and "A" are
/// right for A; "Axial", "B. Not A." and "A and B" are not.
///
/// A bare `A` before more than two words is an article ("A large mass is seen"), as VLMEvalKit's `can_infer_option` has it; with
/// a mark behind it ("A. A large mass") it is a choice.
pub fn is_correct_strict(prediction: &str, choice: &str) -> bool {
    let words = words(prediction);
    let Some(first) = words.first().and_then(Word::letter) else { return false };
    let is_article = first == 'A' && !words[0].is_marked && words.len() > 3;
    let others = words.iter().enumerate().skip(1).filter(|(at, _)| names_choice(&words, *at));
    Some(first) == letter(choice)
        && !is_article
        && others.filter_map(|(_, word)| word.letter()).all(|other| other == first)
}

/// A run of letters and digits.
struct Word<'a> {
    text: &'a str,
    /// Whether what comes before the next word holds a mark other than a space.
    is_marked: bool,
}

impl Word<'_> {
    /// The letter of a choice, where the word is one.
    fn letter(&self) -> Option<char> {
        let mut letters = self.text.chars();
        letters.next().filter(|letter| letter.is_alphanumeric() && letters.next().is_none())
    }
}

fn words(text: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut rest = text.trim_start_matches(|c: char| !c.is_alphanumeric());
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let next = after.find(char::is_alphanumeric).unwrap_or(after.len());
        words.push(Word { text: word, is_marked: after[..next].contains(|c: char| !c.is_whitespace()) });
        rest = &after[next..];
    }
    words
}

/// Whether a later word is the letter of another choice: A to D, joined to one before it ("A or B", "A, B"), or marked and
/// followed by more ("A. liver B. spleen"). "B. Type A dissection" and "B. Not A." name B alone.
fn names_choice(words: &[Word<'_>], at: usize) -> bool {
    let (before, word) = (&words[at - 1], &words[at]);
    let joins = ["and", "or", "und", "et"].contains(&before.text) || (before.letter().is_some() && before.is_marked);
    let is_letter = word.letter().is_some_and(|letter| ('A'..='D').contains(&letter));
    is_letter && (joins || (word.is_marked && at + 1 < words.len()))
}

/// The expected accuracy of guessing among the choices that are there, 0 to 1: the mean over the questions of one over their
/// number. `None` where no question has one.
pub fn chance_of<'a>(questions: impl Iterator<Item = &'a [String]>) -> Option<f64> {
    let there = questions.map(|choices| choices.iter().filter(|choice| !is_missing(choice)).count());
    let (sum, count) =
        there.filter(|count| *count > 0).fold((0.0, 0), |(sum, n), count| (sum + 1.0 / count as f64, n + 1));
    (count > 0).then(|| sum / f64::from(count))
}

/// Whether a choice stands for a missing one: M3D's tables write `NA`, and M3D's prompts and `nan_as_pandas` make `nan` of
/// all that pandas takes for missing. `None` as a text is a choice that one can make.
fn is_missing(choice: &str) -> bool {
    let choice = choice.trim();
    pandas::is_missing(choice) && choice != "None"
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
        let right = |prediction: &str| {
            ["A", "B", "C", "D"].into_iter().filter(|choice| is_correct_strict(prediction, choice)).collect::<String>()
        };
        for (prediction, expected) in [
            ("A large mass is seen in the liver", ""),
            ("A and B", ""),
            ("A or C.", ""),
            ("B, C", ""),
            ("A. liver B. spleen", ""),
            ("A/B", ""),
            ("Both A and B", ""),
            ("A", "A"),
            ("A.", "A"),
            ("**C**", "C"),
            ("(B)", "B"),
            ("[D] kidney", "D"),
            ("A liver", "A"),
            ("A. A large mass is seen in the liver", "A"),
            ("A: a large mass is seen", "A"),
            ("C large mass in the liver", "C"),
            ("B. Type A dissection", "B"),
            ("B. Not A.", "B"),
            ("D. Hepatitis B", "D"),
            ("An organ", ""),
            ("a liver", ""),
        ] {
            assert_eq!(right(prediction), expected, "{prediction}");
        }
    }

    #[test]
    fn a_missing_choice_is_no_choice() {
        let chance = |questions: &[[&str; 4]]| {
            let questions: Vec<Vec<String>> =
                questions.iter().map(|choices| choices.map(str::to_owned).to_vec()).collect();
            chance_of(questions.iter().map(Vec::as_slice))
        };
        let four = ["axial", "coronal", "sagittal", "oblique"];
        // Four of four and one of two: (4 / 4 + 1 / 2) / 5.
        for missing in ["nan", "NA", "", " nan ", "NaN", "N/A", "<NA>", "null"] {
            let found = chance(&[four, four, four, four, ["Yes", "No", missing, missing]]).unwrap();
            assert!((found - 0.3).abs() < 1e-12, "{missing}: {found}");
        }
        assert_eq!(chance(&[["Left", "Right", "Both", "None"]]), Some(0.25));
        assert_eq!(chance(&[["nan", "nan", "nan", "a"], ["a", "b", "nan", "nan"]]), Some(0.75));
        // A question without choices is not guessed at.
        assert_eq!(chance(&[["nan"; 4], four]), Some(0.25));
        assert_eq!((chance(&[["nan"; 4]]), chance(&[])), (None, None));
    }
}
