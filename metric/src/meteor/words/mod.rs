//! Words of a text as NLTK's `word_tokenize` cuts them: sentences by Punkt, then its word rules on each sentence.

pub(crate) mod characters;
mod punkt;
mod rules;

use crate::text::is_space;
use std::ops::Range;

use super::Release;
use rules::Rules;

/// The words of a text, one after the other.
///
/// Neither white space at the ends is cut nor case changed: [`Meteor::score`](super::Meteor::score) does both.
pub fn word_tokenize(text: &str, release: Release) -> Vec<String> {
    let mut words = Vec::new();
    for_each_word(text, release, |word| words.push(word.to_string()));
    words
}

/// Words in lower case, all of one text in one string.
#[derive(Default)]
pub(super) struct Words {
    text: String,
    places: Vec<Range<usize>>,
}

impl Words {
    /// The words of a text.
    pub(super) fn of(text: &str, release: Release) -> Words {
        let mut words =
            Words { text: String::with_capacity(text.len() + 16), places: Vec::with_capacity(text.len() / 4) };
        for_each_word(text, release, |word| words.push(word));
        words
    }

    /// Each word is made lower on its own: a capital sigma ends a word or does not.
    fn push(&mut self, word: &str) {
        let start = self.text.len();
        if word.is_ascii() {
            self.text.push_str(word);
            self.text[start..].make_ascii_lowercase();
        } else {
            self.text.push_str(&word.to_lowercase());
        }
        self.places.push(start..self.text.len());
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn get(&self, index: usize) -> &str {
        &self.text[self.places[index].clone()]
    }
}

fn for_each_word(text: &str, release: Release, mut word: impl FnMut(&str)) {
    let mut rules = Rules::new(release);
    punkt::for_each_sentence(text, release, |sentence| {
        let padded = rules.pad(&text[sentence]);
        padded.split(is_space).filter(|piece| !piece.is_empty()).for_each(&mut word);
    });
}
