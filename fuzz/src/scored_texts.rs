//! The metrics on arbitrary texts: scores within their ranges, tokens that are parts of the text, letters that were offered.

use med2e3_metric::bleu::bleu;
use med2e3_metric::closed::{is_correct, is_correct_strict, read};
use med2e3_metric::meteor::{Release, word_tokenize};
use med2e3_metric::rouge::{Words, rouge};

/// Scores the text before `|` against the one behind it.
pub fn scored_texts(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (prediction, reference) = text.split_once('|').unwrap_or((&text, ""));
    for text in [prediction, reference] {
        for release in [Release::V3_8_1, Release::V3_10] {
            let tokens = word_tokenize(text, release);
            // Quotes are turned into two characters each; everything else is kept, but for space.
            assert!(tokens.iter().all(|token| !token.is_empty()));
            let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).count();
            assert_eq!(tokens.iter().map(|token| letters(token)).sum::<usize>(), letters(text));
        }
    }
    let within = |score: f64| assert!((0.0..=1.0).contains(&score), "{score}");
    let found = bleu(prediction, reference);
    [found.bleu1, found.bleu4].into_iter().for_each(within);
    for words in [Words::Plain, Words::Stemmed] {
        let found = rouge(prediction, reference, words);
        [found.rouge1, found.rouge2, found.rouge_l, found.rouge_lsum].into_iter().for_each(within);
    }
    // Choices of the reference's lines.
    let choices: Vec<Option<&str>> =
        reference.lines().take(6).map(|line| Some(line).filter(|l| !l.is_empty())).collect();
    if let Some(letter) = read(prediction, &choices).choice() {
        let place = usize::from(letter as u8 - b'A');
        // Without choices the letters A to D are read.
        assert!(if choices.is_empty() { place < 4 } else { choices[place].is_some() });
        assert!(is_correct_strict(prediction, &letter.to_string(), &choices));
    }
    let _ = is_correct(prediction, "A");
}
