//! METEOR (Banerjee and Lavie, 2005) as NLTK computes it: the words of both texts are aligned, and their harmonic mean, in which
//! recall weighs nine times as much, is lowered by how often the order changes.
//!
//! Equal to `nltk.translate.meteor_score.single_meteor_score` over `nltk.word_tokenize`, which Hugging Face's `meteor` calls,
//! with WordNet 3.0. Which words are aligned depends on the release of NLTK, a [`Release`].

mod align;
pub mod porter;
#[cfg(test)]
mod tests;
mod wordnet;
mod words;

pub use wordnet::{Reason, WordNet, WordNetError};
pub use words::word_tokenize;

use align::align;
use words::Words;

use crate::text::strip;

/// The release of NLTK whose words and morphology are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Release {
    /// 3.8.1, which published tables used.
    #[default]
    V3_8_1,
    /// 3.10: dashes and curly quotes part words, suffixes of a word that WordNet lacks are cut once only.
    V3_10,
}

impl Release {
    /// The default first.
    pub const ALL: [Release; 2] = [Release::V3_8_1, Release::V3_10];

    /// As NLTK writes it, `3.8.1`; of 3.10, what its minor releases have in common.
    pub fn name(self) -> &'static str {
        match self {
            Release::V3_8_1 => "3.8.1",
            Release::V3_10 => "3.10",
        }
    }
}

/// METEOR of one release of NLTK. Scoring changes nothing in it, so that threads may share one.
pub struct Meteor {
    wordnet: WordNet,
    release: Release,
}

/// How a prediction compares with its reference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// METEOR, from 0 to below 1: equal texts have a penalty too. 0 where nothing is aligned, as with an empty text.
    pub value: f64,
    /// Aligned words by stage: equal, of one stem, synonyms.
    pub aligned: [usize; 3],
    /// Runs of aligned words that both texts have in the same order.
    pub chunks: usize,
}

impl Meteor {
    /// METEOR with this WordNet.
    pub fn new(wordnet: WordNet, release: Release) -> Meteor {
        Meteor { wordnet, release }
    }

    /// Scores a prediction against one reference, both without the white space at their ends. Takes time in proportion to
    /// their lengths.
    pub fn score(&self, prediction: &str, reference: &str) -> Score {
        let words = |text: &str| Words::of(strip(text), self.release);
        let (prediction, reference) = (words(prediction), words(reference));
        let alignment = align(&prediction, &reference, &self.wordnet, self.release);
        let (aligned, chunks) = (alignment.found, alignment.chunks());
        let value = value(aligned.iter().sum(), chunks, prediction.len(), reference.len());
        Score { value, aligned, chunks }
    }
}

fn value(matches: usize, chunks: usize, prediction: usize, reference: usize) -> f64 {
    const ALPHA: f64 = 0.9;
    const BETA: i32 = 3;
    const GAMMA: f64 = 0.5;
    if matches == 0 {
        return 0.0;
    }
    let matches = matches as f64;
    let (precision, recall) = (matches / prediction as f64, matches / reference as f64);
    let mean = precision * recall / (ALPHA * precision + (1.0 - ALPHA) * recall);
    (1.0 - GAMMA * (chunks as f64 / matches).powi(BETA)) * mean
}
