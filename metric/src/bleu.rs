//! BLEU@1 and BLEU-4 of one answer (Papineni et al., 2002): the geometric mean of the clipped precisions of n-grams, 1 to 1 and 1
//! to 4, times a brevity penalty, unsmoothed, as Hugging Face's `evaluate` 0.4.2 computes `bleu` of a single pair.
//!
//! Tokens are those of mteval-v13a, the default there: entities are decoded, punctuation is split off except inside numbers,
//! case is kept.

use crate::text::{Numbers, is_space, shared_runs, strip};

/// BLEU of one answer, each between 0 and 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bleu {
    /// With single tokens alone.
    pub bleu1: f64,
    /// With runs of 1 to 4 tokens; 0 where the answer or the reference has fewer than 4, even if they are equal.
    pub bleu4: f64,
    /// Tokens of the shorter text: under 4, `bleu4` says nothing.
    pub fewer_tokens: usize,
}

/// Scores a prediction. Where a text is empty both are 0; the reference implementation fails there.
pub fn bleu(prediction: &str, reference: &str) -> Bleu {
    let (prediction, reference) = (spaced(strip(prediction)), spaced(strip(reference)));
    let mut numbers = Numbers::default();
    let (prediction, reference) = (numbers.of(tokens(&prediction)), numbers.of(tokens(&reference)));
    let length = prediction.len() as f64;
    let brevity = (1.0 - reference.len() as f64 / length).min(0.0).exp();
    let precision = |n: usize| match shared_runs(&prediction, &reference, n) {
        0 => 0.0,
        shared => shared as f64 / (prediction.len() + 1 - n) as f64,
    };
    let bleu1 = precision(1);
    // Without a shared token there is no shared run, and without any token no length.
    if bleu1 == 0.0 {
        return Bleu { fewer_tokens: prediction.len().min(reference.len()), ..Bleu::default() };
    }
    let product = (2..=4).fold(bleu1, |product, n| product * precision(n));
    Bleu {
        bleu1: brevity * bleu1,
        bleu4: brevity * product.sqrt().sqrt(),
        fewer_tokens: prediction.len().min(reference.len()),
    }
}

/// A text with spaces where mteval-v13a splits it. The steps are substitutions, one after the other: each reads the result of the one
/// before it, spaces included.
fn spaced(text: &str) -> String {
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
    spaced.into_iter().collect()
}

/// The tokens of what [`spaced`] gives.
fn tokens(spaced: &str) -> impl Iterator<Item = &str> {
    spaced.split(is_space).filter(|token| !token.is_empty())
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
        let split = |text: &str| tokens(&spaced(text)).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(split("a 2.5 cm lesion, 1,000 HU."), ["a", "2.5", "cm", "lesion", ",", "1,000", "HU", "."]);
        assert_eq!(split("T1-2 isn't"), ["T1", "-", "2", "isn't"]);
        for case in crate::golden::texts() {
            assert_eq!(split(&case.prediction), case.tokens, "tokens of {:?}", case.prediction);
        }
    }

    #[test]
    fn scores_equal_the_reference_implementation() {
        for case in crate::golden::texts() {
            let found = bleu(&case.prediction, &case.reference);
            for (found, expected) in [(found.bleu1, case.bleu1), (found.bleu4, case.bleu4)] {
                assert!((found - expected).abs() < 1e-12, "{found}, {expected} expected: {}", case.prediction);
            }
        }
    }

    #[test]
    fn repeating_a_right_word_is_clipped() {
        assert_eq!(bleu("liver liver liver liver", "the liver").bleu1, 0.25);
    }

    #[test]
    fn short_answers_are_penalized() {
        let found = bleu("the liver", "the liver is enlarged");
        assert!((found.bleu1 - (-1.0_f64).exp()).abs() < 1e-12);
        assert_eq!((found.bleu4, found.fewer_tokens), (0.0, 2));
        assert_eq!((bleu("a b c", "a b c").bleu4, bleu("a b c d", "a b c d").bleu4), (0.0, 1.0));
    }

    #[test]
    fn nothing_scores_nothing() {
        for (prediction, reference) in [("", "liver"), (" \n ", "liver"), ("liver", ""), ("", "")] {
            assert_eq!(bleu(prediction, reference), Bleu::default());
        }
    }
}
