//! ROUGE-1, 2, L and Lsum of one answer (Lin, 2004): the F-measures that the `rouge_score` package 0.1.2 computes, which Hugging
//! Face's `evaluate` calls.
//!
//! Words are runs of `a-z` and `0-9` in the lower-case text; all else separates, letters with accents too. For ROUGE-Lsum the lines
//! of a text are its sentences.

use std::borrow::Cow;

use crate::lcs::Columns;
use crate::meteor::porter::{Mode, stem};
use crate::text::{Numbers, shared_runs};

/// In which form words are compared.
#[derive(Clone, Copy, Debug)]
pub enum Words {
    /// As they stand: what published evaluations of reports use.
    Plain,
    /// Words over three letters by their stem, as `rouge_score` has it with `use_stemmer`.
    Stemmed,
}

/// F-measures of one answer, each between 0 and 1; 0 where either text has no word.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rouge {
    /// Of shared words.
    pub rouge1: f64,
    /// Of shared pairs of neighbours.
    pub rouge2: f64,
    /// Of the longest common subsequence of the whole texts.
    pub rouge_l: f64,
    /// Of the words of each of the reference's lines that are in a longest common subsequence with any line of the prediction.
    pub rouge_lsum: f64,
}

/// Scores a prediction.
pub fn rouge(prediction: &str, reference: &str, words: Words) -> Rouge {
    let (prediction, reference) = (prediction.to_lowercase(), reference.to_lowercase());
    let mut numbers = Numbers::default();
    let prediction = Text::of(&prediction, words, &mut numbers);
    let reference = Text::of(&reference, words, &mut numbers);
    let (predicted, expected) = (prediction.words.len(), reference.words.len());
    if predicted == 0 || expected == 0 {
        return Rouge::default();
    }
    let runs = |n| shared_runs(&prediction.words, &reference.words, n);
    let common = Columns::new(&prediction.words).length_with(&reference.words);
    let rouge_l = f_measure(common, predicted, expected);
    let one_line = prediction.lines.len() == 1 && reference.lines.len() == 1;
    Rouge {
        rouge1: f_measure(runs(1), predicted, expected),
        rouge2: f_measure(runs(2), predicted - 1, expected - 1),
        rouge_l,
        rouge_lsum: if one_line {
            rouge_l
        } else {
            f_measure(common_by_line(&prediction, &reference, numbers.count()), predicted, expected)
        },
    }
}

/// A text's words as numbers, and where each of its lines that has any ends.
struct Text {
    words: Vec<u32>,
    lines: Vec<usize>,
}

impl Text {
    fn of<'a>(text: &'a str, form: Words, numbers: &mut Numbers<Cow<'a, str>>) -> Self {
        let separates = |c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit();
        let formed = |word: &'a str| match form {
            Words::Stemmed if word.len() > 3 => Cow::Owned(stem(word, Mode::Nltk)),
            _ => Cow::Borrowed(word),
        };
        let (mut words, mut lines) = (Vec::new(), Vec::new());
        for line in text.split('\n') {
            let before = words.len();
            words.extend(numbers.of(line.split(separates).filter(|word| !word.is_empty()).map(formed)));
            if words.len() > before {
                lines.push(words.len());
            }
        }
        Self { words, lines }
    }

    fn lines(&self) -> impl Iterator<Item = &[u32]> {
        let starts = std::iter::once(&0).chain(&self.lines);
        starts.zip(&self.lines).map(|(start, end)| &self.words[*start..*end])
    }
}

/// Words of the reference that are common with a line of the prediction; a word counts as often as both texts have it at most.
fn common_by_line(prediction: &Text, reference: &Text, words_counted: usize) -> usize {
    let counts = |words: &[u32]| {
        let mut counts = vec![0_usize; words_counted];
        words.iter().for_each(|word| counts[*word as usize] += 1);
        counts
    };
    let (predicted, expected) = (counts(&prediction.words), counts(&reference.words));
    let mut left: Vec<usize> = predicted.iter().zip(&expected).map(|(one, other)| *one.min(other)).collect();
    let predicted: Vec<Columns> = prediction.lines().map(Columns::new).collect();
    let mut common = 0;
    for line in reference.lines() {
        let mut is_common = vec![false; line.len()];
        predicted.iter().for_each(|columns| columns.mark(line, &mut is_common));
        for (word, _) in line.iter().zip(is_common).filter(|(_, is_common)| *is_common) {
            let left = &mut left[*word as usize];
            common += usize::from(*left > 0);
            *left = left.saturating_sub(1);
        }
    }
    common
}

fn f_measure(shared: usize, predicted: usize, expected: usize) -> f64 {
    if shared == 0 {
        return 0.0;
    }
    let (precision, recall) = (shared as f64 / predicted as f64, shared as f64 / expected as f64);
    2.0 * precision * recall / (precision + recall)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_equal_the_reference_implementation() {
        for case in crate::golden::texts() {
            let plain = [case.rouge1, case.rouge2, case.rouge_l, case.rouge_lsum];
            for (words, expected) in [(Words::Plain, plain), (Words::Stemmed, case.stemmed)] {
                let found = rouge(&case.prediction, &case.reference, words);
                let found = [found.rouge1, found.rouge2, found.rouge_l, found.rouge_lsum];
                for (found, expected) in found.into_iter().zip(expected) {
                    assert!(
                        (found - expected).abs() < 1e-12,
                        "{words:?}: {found}, {expected} expected: {}",
                        case.prediction
                    );
                }
            }
        }
    }

    #[test]
    fn case_and_punctuation_do_not_count() {
        let found = rouge("The LIVER, enlarged.", "the liver enlarged", Words::Plain);
        assert_eq!(found, Rouge { rouge1: 1.0, rouge2: 1.0, rouge_l: 1.0, rouge_lsum: 1.0 });
    }

    #[test]
    fn precision_and_recall_are_balanced() {
        assert_eq!(rouge("liver", "the liver is", Words::Plain).rouge1, 0.5);
    }

    #[test]
    fn order_counts_within_a_line() {
        let found = rouge("b a\nd c", "a b\nc d", Words::Plain);
        assert_eq!((found.rouge1, found.rouge2, found.rouge_l, found.rouge_lsum), (1.0, 0.0, 0.5, 0.5));
        // The lines in another order are the same sentences.
        assert_eq!(rouge("c d\na b", "a b\nc d", Words::Plain).rouge_lsum, 1.0);
    }

    #[test]
    fn nothing_scores_nothing() {
        assert_eq!(rouge("", "liver", Words::Plain), Rouge::default());
        assert_eq!(rouge("...", "...", Words::Plain), Rouge::default());
    }
}
