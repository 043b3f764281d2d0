//! Where an answer's words differ from the expected ones.

use maud::{Markup, html};

/// Words of a text that are compared; longer texts are shown without marks.
const MOST_WORDS: usize = 600;

/// The expected text with the words marked that the answer lacks, and the answer with those that are not expected. The words that both have
/// in the same order, as many as there can be, are not marked; case and marks around a word do not matter.
pub fn differences(expected: &str, answer: &str) -> [Markup; 2] {
    let [expected_words, answer_words] = [expected, answer].map(|text| text.split_whitespace().collect::<Vec<_>>());
    if expected_words.len().max(answer_words.len()) > MOST_WORDS {
        return [html! { (expected) }, html! { (answer) }];
    }
    let kept = common(&expected_words, &answer_words);
    let is_kept = |at: usize, side: fn(&(usize, usize)) -> usize| kept.iter().any(|pair| side(pair) == at);
    let missing: Vec<bool> = (0..expected_words.len()).map(|at| !is_kept(at, |pair| pair.0)).collect();
    let extra: Vec<bool> = (0..answer_words.len()).map(|at| !is_kept(at, |pair| pair.1)).collect();
    [marked(&expected_words, &missing, "missing"), marked(&answer_words, &extra, "extra")]
}

fn marked(words: &[&str], is_marked: &[bool], class: &str) -> Markup {
    html! { @for (at, word) in words.iter().enumerate() {
        @if at > 0 { " " }
        @if is_marked[at] { mark class=(class) { (word) } } @else { (word) }
    } }
}

fn normal(word: &str) -> String {
    let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
    if bare.is_empty() { word.to_owned() } else { bare.to_lowercase() }
}

/// Places of a longest common subsequence.
fn common(one: &[&str], other: &[&str]) -> Vec<(usize, usize)> {
    let [one, other] = [one, other].map(|words| words.iter().map(|word| normal(word)).collect::<Vec<_>>());
    // `most[i][j]` is how many words from place i of the one and place j of the other can be kept.
    let mut most = vec![vec![0u16; other.len() + 1]; one.len() + 1];
    for i in (0..one.len()).rev() {
        for j in (0..other.len()).rev() {
            most[i][j] = if one[i] == other[j] { most[i + 1][j + 1] + 1 } else { most[i + 1][j].max(most[i][j + 1]) };
        }
    }
    let (mut i, mut j, mut pairs) = (0, 0, Vec::new());
    while i < one.len() && j < other.len() {
        if one[i] == other[j] {
            pairs.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if most[i + 1][j] >= most[i][j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(expected: &str, answer: &str) -> [String; 2] {
        differences(expected, answer).map(maud::PreEscaped::into_string)
    }

    #[test]
    fn words_that_differ_are_marked() {
        let [expected, answer] = shown("A coronal series.", "an axial series");
        assert_eq!(expected, "<mark class=\"missing\">A</mark> <mark class=\"missing\">coronal</mark> series.");
        assert_eq!(answer, "<mark class=\"extra\">an</mark> <mark class=\"extra\">axial</mark> series");
        assert_eq!(shown("The liver.", "the LIVER"), ["The liver.", "the LIVER"]);
        assert_eq!(shown("", "<b>"), ["", "<mark class=\"extra\">&lt;b&gt;</mark>"]);
    }

    #[test]
    fn long_texts_are_shown_as_they_are() {
        let long = "word ".repeat(100_000);
        assert!(!shown(&long, "word")[0].contains("<mark"));
    }
}
