//! Answers to questions with lettered choices, judged in the published sense and in a strict one. Report both: the published
//! one forgives an answer that lists several choices, and "A large mass" is no choice.

use crate::text::{is_space, strip};

/// What of an answer is read as a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// No choice.
    Unread,
    /// One choice.
    Choice(char),
    /// The answer lists several choices as letters with a point; the one that it begins with, if it begins with one.
    Several(Option<char>),
}

impl Reading {
    /// The letter that counts.
    pub fn choice(self) -> Option<char> {
        match self {
            Reading::Unread => None,
            Reading::Choice(letter) => Some(letter),
            Reading::Several(first) => first,
        }
    }
}

/// Whether `X.` occurs anywhere in the prediction, X being the right letter (the first of `choice`): the published
/// sense. Case matters. "A. liver B. spleen" is right for A and for B, and "vitamin A." is right for A.
pub fn is_correct(prediction: &str, choice: &str) -> bool {
    letter(choice).is_some_and(|letter| prediction.contains(&format!("{letter}.")))
}

/// Whether the right letter (the first of `choice`) is the choice that [`read`] finds: the strict sense.
pub fn is_correct_strict(prediction: &str, choice: &str, choices: &[Option<&str>]) -> bool {
    letter(choice).is_some_and(|letter| read(prediction, choices).choice() == Some(letter))
}

fn letter(choice: &str) -> Option<char> {
    choice.trim().chars().next()
}

/// Reads an answer. `choices` are the texts of A, B, and so on, `None` for one that is not offered; where a question
/// states none at all, the letters A to D are read.
///
/// The choice whose text the whole answer is counts first, if there is exactly one ("A mass"); case, marks around it and a
/// point behind it do not matter. Else a choice is read where the answer, after "The answer is", "Option" and the like and
/// after opening marks, begins with an offered letter in either case that ends there: the answer ends, one of
/// `. ) : , ] * " '` comes, a point, colon or dash comes after space, or the choice's own text and nothing else.
pub fn read(prediction: &str, choices: &[Option<&str>]) -> Reading {
    let offered = Offered(if choices.is_empty() { &[Some(""); 4] } else { choices });
    let first = offered.whole(prediction).or_else(|| offered.letter(prediction));
    let listed = offered.letters().filter(|(letter, _)| prediction.contains(&format!("{letter}."))).count();
    match first {
        first if listed > 1 => Reading::Several(first),
        Some(letter) => Reading::Choice(letter),
        None => Reading::Unread,
    }
}

/// What of a choice's text does not matter is gone: marks around it, the point behind it, case, and how wide space is.
fn normal(text: &str) -> String {
    let text = strip(text).trim_matches(['"', '\'', '*']).trim_end_matches('.').trim_matches(is_space);
    let spaced = text.split(is_space).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    // Both ways, so that letters with two small forms or none alone are equal too.
    spaced.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

/// The choices of a question.
struct Offered<'a>(&'a [Option<&'a str>]);

impl<'a> Offered<'a> {
    /// The offered letters with their texts.
    fn letters(&self) -> impl Iterator<Item = (char, &'a str)> {
        ('A'..='Z').zip(self.0).filter_map(|(letter, text)| Some((letter, (*text)?)))
    }

    /// The one choice whose text the answer is.
    fn whole(&self, prediction: &str) -> Option<char> {
        let prediction = normal(prediction);
        let mut equal = self.letters().filter(|(_, text)| !text.is_empty() && normal(text) == prediction);
        let (letter, _) = equal.next()?;
        equal.next().is_none().then_some(letter)
    }

    /// The letter that the answer begins with.
    fn letter(&self, prediction: &str) -> Option<char> {
        let text = without_marks(strip(prediction));
        let text = after_preamble(text).map_or(text, without_marks);
        let mut rest = text.chars();
        let first = rest.next()?.to_ascii_uppercase();
        let (letter, own) = self.letters().find(|(letter, _)| *letter == first)?;
        let rest = rest.as_str();
        let behind = rest.trim_start_matches(is_space);
        let is_marked = rest.starts_with(['.', ')', ':', ',', ']', '*', '"', '\'']);
        let is_apart = behind.len() < rest.len() && behind.starts_with(['.', ':', '-']);
        let is_own = !own.is_empty() && normal(rest) == normal(own);
        (rest.is_empty() || is_marked || is_apart || is_own).then_some(letter)
    }
}

fn without_marks(text: &str) -> &str {
    text.trim_start_matches([' ', '\t', '\n', '\r', '"', '\'', '*', '(', '[', '{'])
}

/// What comes after "The correct answer is:" and shorter forms of it; `None` where a text does not begin so.
fn after_preamble(text: &str) -> Option<&str> {
    let after_word = |text: &'_ str, word: &str| -> Option<usize> {
        text.get(..word.len())?.eq_ignore_ascii_case(word).then_some(word.len())
    };
    let after_space = |text: &str| text.len() - text.trim_start_matches(is_space).len();
    let mut rest = text;
    for word in ["the", "correct"] {
        if let Some(end) = after_word(rest, word).filter(|end| after_space(&rest[*end..]) > 0) {
            rest = rest[end..].trim_start_matches(is_space);
        }
    }
    rest = &rest[["answer", "option", "choice"].iter().find_map(|word| after_word(rest, word))?..];
    let spaced = rest.trim_start_matches(is_space);
    if let Some(end) = after_word(spaced, "is").filter(|_| spaced.len() < rest.len()) {
        rest = &spaced[end..];
    }
    rest = rest.trim_start_matches(is_space);
    Some(rest.strip_prefix(':').unwrap_or(rest).trim_start_matches(is_space))
}

/// The expected accuracy of guessing among the choices that are there, 0 to 1: the mean over the questions of one over their number,
/// which is given. Questions without a choice are left out; `None` where none has one.
pub fn chance_of(choices: impl IntoIterator<Item = usize>) -> Option<f64> {
    let there = choices.into_iter().filter(|count| *count > 0);
    let (sum, questions) = there.fold((0.0, 0_u64), |(sum, n), count| (sum + 1.0 / count as f64, n + 1));
    (questions > 0).then(|| sum / questions as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORGANS: [Option<&str>; 4] = [Some("liver"), Some("spleen"), Some("kidney"), Some("pancreas")];

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
    fn readings_equal_the_grammar() {
        let cases = crate::golden::closed();
        assert!(cases.len() >= 60);
        for case in cases {
            let choices: Vec<Option<&str>> = case.choices.iter().map(Option::as_deref).collect();
            let found = read(&case.prediction, &choices);
            let (read, several) = (case.read.as_deref().and_then(letter), case.several);
            assert_eq!((found.choice(), matches!(found, Reading::Several(_))), (read, several), "{}", case.prediction);
            assert_eq!(is_correct(&case.prediction, &case.answer_choice), case.released, "{}", case.prediction);
            let strict = is_correct_strict(&case.prediction, &case.answer_choice, &choices);
            assert_eq!(strict, read == letter(&case.answer_choice), "{}", case.prediction);
        }
    }

    #[test]
    fn an_article_and_two_letters_are_no_choice() {
        for prediction in ["A large mass is seen in the liver", "A and B", "Axial", "It is B.", "", "\u{410}. liver"] {
            assert_eq!(read(prediction, &ORGANS), Reading::Unread, "{prediction}");
        }
        assert_eq!(read("A. liver", &ORGANS), Reading::Choice('A'));
        assert_eq!(read("(B)", &ORGANS), Reading::Choice('B'));
        assert_eq!(read("The correct answer is: (c) kidney", &ORGANS), Reading::Choice('C'));
        assert_eq!(read("Either A. or B.", &ORGANS), Reading::Several(None));
        assert_eq!(read("A. liver B. spleen", &ORGANS), Reading::Several(Some('A')));
    }

    #[test]
    fn without_texts_letters_are_read() {
        assert_eq!(read("D. somewhere", &[]), Reading::Choice('D'));
        assert_eq!(read("D somewhere", &[]), Reading::Unread);
        assert_eq!(read("E. somewhere", &[]), Reading::Unread);
        assert_eq!(read("", &[]), Reading::Unread);
        assert!(!is_correct_strict("A", "", &ORGANS));
    }

    #[test]
    fn a_choice_is_its_text_whatever_its_case() {
        let choices = [Some("Gro\u{df}  x"), Some("left  lobe"), Some("left lobe."), None];
        assert_eq!(read("\"GROSS x\"", &choices), Reading::Choice('A'));
        // Two choices with this text: neither is meant.
        assert_eq!(read("Left lobe", &choices), Reading::Unread);
    }

    #[test]
    fn guessing_is_the_mean_over_questions() {
        assert_eq!(chance_of([4]), Some(0.25));
        assert!((chance_of([4, 4, 4, 4, 2]).unwrap() - 0.3).abs() < 1e-12);
        // A question without choices is not guessed at.
        assert_eq!(chance_of([0, 4]), Some(0.25));
        assert_eq!((chance_of([0]), chance_of([])), (None, None));
    }
}
