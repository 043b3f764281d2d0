//! BLEU@1 of one answer (Papineni et al., 2002): clipped unigram precision times a brevity penalty, unsmoothed.
//!
//! Tokens are those of mteval-v13a, the default of Hugging Face's `bleu`: entities are decoded, punctuation is split
//! off except inside numbers, case is kept.

use med2e3_schemas::sample::Task;

use super::answer_metric::{AnswerMetric, Judged};
use super::text::{is_space, overlap};

/// [`bleu1`] of captions and open answers.
pub struct Bleu1;

impl AnswerMetric for Bleu1 {
    fn name(&self) -> &'static str {
        "bleu1"
    }

    fn value(&self, answer: &Judged<'_>) -> Option<f64> {
        matches!(answer.task, Task::Caption | Task::OpenVqa).then(|| bleu1(answer.answer, answer.expected))
    }
}

/// Between 0 and 1. An empty prediction scores 0, where the reference implementation fails.
pub fn bleu1(prediction: &str, reference: &str) -> f64 {
    let prediction = tokens(prediction.trim_matches(is_space));
    let reference = tokens(reference.trim_matches(is_space));
    let matches = overlap(&prediction, &reference);
    if matches == 0 {
        return 0.0;
    }
    let length = prediction.len() as f64;
    let brevity = (1.0 - reference.len() as f64 / length).min(0.0).exp();
    brevity * matches as f64 / length
}

/// Splits a text as mteval-v13a does. The steps are substitutions, one after the other: each reads the result of the one
/// before it, spaces included.
pub(super) fn tokens(text: &str) -> Vec<String> {
    let mut text = text.replace("<skipped>", "").replace("-\n", "").replace('\n', " ");
    // In this order `&amp;lt;` becomes `<`: the reference decodes twice.
    for (entity, character) in [("&quot;", "\""), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">")] {
        text = text.replace(entity, character);
    }

    let mut spaced = vec![' '];
    for c in text.chars() {
        if is_punctuation(c) { spaced.extend([' ', c, ' ']) } else { spaced.push(c) }
    }
    spaced.push(' ');

    let spaced = replace_pairs(&spaced, |a, b| !a.is_ascii_digit() && is_point(b), |a, b| [a, ' ', b, ' ']);
    let spaced = replace_pairs(&spaced, |a, b| is_point(a) && !b.is_ascii_digit(), |a, b| [' ', a, ' ', b]);
    let spaced = replace_pairs(&spaced, |a, b| a.is_ascii_digit() && b == '-', |a, b| [a, ' ', b, ' ']);
    spaced.split(|c| is_space(*c)).filter(|token| !token.is_empty()).map(|token| token.iter().collect()).collect()
}

/// ASCII punctuation without the apostrophe and what numbers hold: comma, dash and point.
fn is_punctuation(c: char) -> bool {
    matches!(c, '{'..='~' | '['..='`' | ' '..='&' | '('..='+' | ':'..='@' | '/')
}

fn is_point(c: char) -> bool {
    matches!(c, '.' | ',')
}

/// Replaces each pair of adjacent characters that `fits`, from left to right and without overlap, as a regex substitution does.
fn replace_pairs(text: &[char], fits: fn(char, char) -> bool, replacement: fn(char, char) -> [char; 4]) -> Vec<char> {
    let mut replaced = Vec::with_capacity(text.len() * 2);
    let mut rest = text;
    loop {
        match rest {
            [a, b, tail @ ..] if fits(*a, *b) => {
                replaced.extend(replacement(*a, *b));
                rest = tail;
            }
            [a, tail @ ..] => {
                replaced.push(*a);
                rest = tail;
            }
            [] => return replaced,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_whole_and_sentences_end() {
        assert_eq!(tokens("a 2.5 cm lesion, 1,000 HU."), ["a", "2.5", "cm", "lesion", ",", "1,000", "HU", "."]);
        assert_eq!(tokens("T1-2 isn't"), ["T1", "-", "2", "isn't"]);
    }

    #[test]
    fn repeating_a_right_word_is_clipped() {
        assert_eq!(bleu1("liver liver liver liver", "the liver"), 0.25);
    }

    #[test]
    fn short_answers_are_penalized() {
        assert!((bleu1("the liver", "the liver is enlarged") - (-1.0_f64).exp()).abs() < 1e-12);
    }

    #[test]
    fn nothing_scores_nothing() {
        assert_eq!(bleu1("", "liver"), 0.0);
        assert_eq!(bleu1(" \n ", "liver"), 0.0);
        assert_eq!(bleu1("liver", ""), 0.0);
    }
}
