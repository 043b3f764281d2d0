//! Ends of sentences in English, by what Punkt learned of abbreviations, collocations and capitals (Kiss and Strunk, 2006,
//! "Unsupervised Multilingual Sentence Boundary Detection").
//!
//! Only where a point, a question or an exclamation mark stands before white space or certain marks is anything decided: from
//! the word before it and the word after it. What was learned is in `punkt.txt`, which says where it comes from.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;

use super::characters::is_digit;
use crate::meteor::Release;
use crate::text::is_space;

/// What stands for every number.
const NUMBER: &str = "##number##";

/// How a word was seen while Punkt learned: bits of a context. Those of unknown places are the remaining bits.
mod seen {
    pub(super) const MIDDLE_UPPER: u8 = 1 << 2;
    pub(super) const ANY_UPPER: u8 = 1 << 1 | MIDDLE_UPPER | 1 << 3;
    pub(super) const START_LOWER: u8 = 1 << 4;
    pub(super) const ANY_LOWER: u8 = START_LOWER | 1 << 5 | 1 << 6;
}

/// What Punkt learned of English; each list is sorted by bytes.
#[derive(Default)]
struct Learned {
    abbreviations: Vec<&'static str>,
    collocations: Vec<(&'static str, &'static str)>,
    starters: Vec<&'static str>,
    contexts: Vec<(&'static str, u8)>,
}

static LEARNED: LazyLock<Learned> = LazyLock::new(|| Learned::read(include_str!("punkt.txt")));

impl Learned {
    /// Reads `KIND<TAB>WORD[<TAB>SECOND]` lines; a line that begins with `# ` is a comment.
    fn read(text: &'static str) -> Learned {
        let mut learned = Learned::default();
        for line in text.lines().filter(|line| !line.starts_with("# ")) {
            let (kind, rest) = line.split_once('\t').expect("a line has a kind");
            match kind {
                "abbreviation" => learned.abbreviations.push(rest),
                "collocation" => learned.collocations.push(rest.split_once('\t').expect("a collocation has two words")),
                "starter" => learned.starters.push(rest),
                bits => learned.contexts.push((rest, bits.parse().expect("a context is a number"))),
            }
        }
        learned
    }

    fn context(&self, word: &str) -> u8 {
        let found = self.contexts.binary_search_by_key(&word, |(word, _)| word);
        found.map_or(0, |at| self.contexts[at].1)
    }
}

/// Where a sentence may end.
struct Candidate {
    /// Where the word before the mark begins.
    word: usize,
    /// The mark, one byte.
    mark: usize,
    /// Where what follows ends: one mark, or white space and a word.
    end: usize,
    /// Where the next sentence would begin.
    next: usize,
}

/// Calls `sentence` with the place of each sentence; between two is white space at most.
pub(super) fn for_each_sentence(text: &str, release: Release, mut sentence: impl FnMut(Range<usize>)) {
    let mut start = 0;
    // The sentence before the one at hand, which takes over closing marks that this one begins with.
    let mut held: Option<Range<usize>> = None;
    let mut give = |next: Option<Range<usize>>| {
        let Some(mut this) = held.take() else {
            held = next;
            return;
        };
        held = next;
        if let Some(next) = &mut held {
            let closing = closing_marks(&text[next.clone()], release);
            if let Some((marks, consumed)) = closing {
                this.end = next.start + marks;
                sentence(this);
                next.start += consumed;
                return;
            }
        }
        if this.start < this.end {
            sentence(this);
        }
    };
    for_each_candidate(text, release, |candidate| {
        if breaks(&text[candidate.word..candidate.end], release) {
            give(Some(start..candidate.mark + 1));
            start = candidate.next;
        }
    });
    let end = text.trim_end_matches(is_space).len();
    give(Some(start..end.max(start)));
    give(None);
}

/// Closing marks at the begin of a sentence that belong to the one before: their bytes, and those with the space after them.
fn closing_marks(sentence: &str, release: Release) -> Option<(usize, usize)> {
    let newer = |c: char| release == Release::V3_10 && is_curly(c);
    let rest = sentence.trim_start_matches(|c: char| matches!(c, '"' | '\'' | ')' | ']' | '}') || newer(c));
    let marks = sentence.len() - rest.len();
    let after = rest.trim_start_matches(|c| release.is_space(c));
    let ends = after.len() < rest.len() || rest.is_empty() || rest.starts_with("--");
    (marks > 0 && ends).then(|| (marks, sentence.len() - after.len()))
}

/// Of candidates that share a word, as in `word!!!`, the last.
fn for_each_candidate(text: &str, release: Release, mut candidate: impl FnMut(Candidate)) {
    let bytes = text.as_bytes();
    let mut last: Option<Candidate> = None;
    for mark in memchr::memchr3_iter(b'.', b'?', b'!', bytes) {
        let after = &text[mark + 1..];
        let Some(first) = after.chars().next() else { break };
        let (end, next) = if release.is_space(first) {
            let word = after.trim_start_matches(|c| release.is_space(c));
            let next = text.len() - word.len();
            let length = word.find(|c| release.is_space(c)).unwrap_or(word.len());
            if length == 0 {
                break;
            }
            (next + length, next)
        } else if is_no_word(first, release) {
            (mark + 1 + first.len_utf8(), mark + 1)
        } else {
            continue;
        };
        let (from, word_before) = last.as_ref().map_or((0, 0), |last| (last.mark, last.word));
        let space = bytes[from..mark].iter().rposition(|byte| matches!(byte, b' ' | b'\t'..=b'\r'));
        let word = match space {
            // A space at the very front counts as none.
            None | Some(0) => word_before,
            Some(space) => from + space + 1,
        };
        if let Some(last) = last.take_if(|last| last.mark <= word) {
            candidate(last);
        }
        last = Some(Candidate { word, mark, end, next });
    }
    last.into_iter().for_each(candidate);
}

/// Whether a sentence ends within a piece of text: at one of its words but the last.
fn breaks(piece: &str, release: Release) -> bool {
    let lines = piece.split('\n').filter(|line| !line.trim_matches(is_space).is_empty());
    let mut tokens = lines.flat_map(|line| Tokens { line, release });
    let Some(mut token) = tokens.next() else { return false };
    for next in tokens {
        if ends_before(token, next, release) {
            return true;
        }
        token = next;
    }
    false
}

/// What a word is, looked at alone.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    End,
    Abbreviation,
    Ellipsis,
    Other,
}

fn kind(token: &str) -> Kind {
    let Some(word) = token.strip_suffix('.') else {
        return if matches!(token, "?" | "!") { Kind::End } else { Kind::Other };
    };
    if word.is_empty() {
        return Kind::End;
    }
    if word.ends_with('.') {
        return if word.bytes().all(|byte| byte == b'.') { Kind::Ellipsis } else { Kind::Other };
    }
    let word = word.to_lowercase();
    let last = word.rsplit('-').next().unwrap_or(&word);
    let known = |word: &str| LEARNED.abbreviations.binary_search(&word).is_ok();
    if known(&word) || known(last) { Kind::Abbreviation } else { Kind::End }
}

/// Whether a sentence ends with `token`, which `next` follows.
fn ends_before(token: &str, next: &str, release: Release) -> bool {
    let kind_alone = kind(token);
    if !token.ends_with('.') {
        return kind_alone == Kind::End;
    }
    let class = class(token);
    let class = without_point(&class);
    let next_class = self::class(next);
    let next_class = if kind(next) == Kind::End { without_point(&next_class) } else { &next_class };
    if LEARNED.collocations.binary_search(&(class, next_class)).is_ok() {
        return false;
    }
    let upper = next.starts_with(char::is_uppercase);
    let initial = is_initial(token, release);
    if matches!(kind_alone, Kind::Abbreviation | Kind::Ellipsis) && !initial {
        let starter = upper && LEARNED.starters.binary_search(&next_class).is_ok();
        if starter || starts_sentence(next, next_class) == Some(true) {
            return true;
        }
    }
    if initial || class == NUMBER {
        match starts_sentence(next, next_class) {
            Some(false) => return false,
            None if initial && upper && LEARNED.context(next_class) & seen::ANY_LOWER == 0 => return false,
            _ => {}
        }
    }
    kind_alone == Kind::End
}

/// Whether a word begins a sentence, as far as its first letter and how it was seen elsewhere tell.
fn starts_sentence(token: &str, class: &str) -> Option<bool> {
    if matches!(token, ";" | ":" | "," | "." | "!" | "?") {
        return Some(false);
    }
    let seen = LEARNED.context(class);
    if token.starts_with(char::is_uppercase) && seen & seen::ANY_LOWER != 0 && seen & seen::MIDDLE_UPPER == 0 {
        return Some(true);
    }
    let often_upper = seen & seen::ANY_UPPER != 0 || seen & seen::START_LOWER == 0;
    (token.starts_with(char::is_lowercase) && often_upper).then_some(false)
}

/// The word in lower case; one name for all numbers.
fn class(token: &str) -> Cow<'_, str> {
    let number = token.strip_prefix('-').unwrap_or(token);
    let number = number.strip_prefix(['.', ',']).unwrap_or(number);
    if number.starts_with(is_digit) && number.chars().all(|c| is_digit(c) || matches!(c, ',' | '.' | '-')) {
        return NUMBER.into();
    }
    token.to_lowercase().into()
}

fn without_point(class: &str) -> &str {
    class.strip_suffix('.').filter(|word| !word.is_empty()).unwrap_or(class)
}

/// One letter and a point.
fn is_initial(token: &str, release: Release) -> bool {
    let letter = token.strip_suffix('.').map(str::chars).and_then(|mut letters| letters.next().xor(letters.next()));
    letter.is_some_and(|letter| release.is_word(letter) && !is_digit(letter))
}

/// Punkt's own words, of one line.
struct Tokens<'a> {
    line: &'a str,
    release: Release,
}

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.line = self.line.trim_start_matches(|c| self.release.is_space(c));
        let first = self.line.chars().next()?;
        let end = match run_of_marks(self.line, self.release) {
            Some(end) => end,
            None if begins_no_word(first) => first.len_utf8(),
            None => self.word_end(first.len_utf8()),
        };
        let (token, rest) = self.line.split_at(end);
        self.line = rest;
        Some(token)
    }
}

impl Tokens<'_> {
    fn word_end(&self, from: usize) -> usize {
        let places = self.line[from..].char_indices().map(|(at, _)| from + at);
        places.into_iter().find(|at| self.ends_word(&self.line[*at..])).unwrap_or(self.line.len())
    }

    /// Whether a word ends before what follows; a comma ends it only where the word ends behind the comma too.
    fn ends_word(&self, rest: &str) -> bool {
        let at_mark = |rest: &str| {
            rest.starts_with(|c| self.release.is_space(c) || is_no_word(c, self.release))
                || run_of_marks(rest, self.release).is_some()
        };
        at_mark(rest) || rest.strip_prefix(',').is_some_and(|rest| rest.is_empty() || at_mark(rest))
    }
}

/// The bytes of two or more dashes or points at the front; of three or more points with one space between each.
fn run_of_marks(text: &str, release: Release) -> Option<usize> {
    let mark = *text.as_bytes().first().filter(|byte| matches!(byte, b'-' | b'.'))?;
    let run = text.bytes().take_while(|byte| *byte == mark).count();
    if run > 1 {
        return Some(run);
    }
    let (mut points, mut end, mut rest) = (1, 1, &text[1..]);
    while mark == b'.'
        && let Some(space) = rest.chars().next().filter(|c| release.is_space(*c))
        && let Some(after) = rest[space.len_utf8()..].strip_prefix('.')
    {
        (points, end, rest) = (points + 1, text.len() - after.len(), after);
    }
    (points > 2).then_some(end)
}

/// Marks that are never within a word.
fn is_no_word(c: char, release: Release) -> bool {
    matches!(c, ')' | '"' | ';' | '}' | ']' | '*' | ':' | '@' | '\'' | '(' | '{' | '[' | '?' | '!')
        || release == Release::V3_10 && is_curly(c)
}

fn begins_no_word(c: char) -> bool {
    matches!(c, '(' | '"' | '`' | '{' | '[' | ':' | ';' | '&' | '#' | '*' | '@' | ')' | '}' | ']' | '-' | ',')
}

fn is_curly(c: char) -> bool {
    matches!(c, '‘' | '’' | '“' | '”' | '«' | '»')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_learned_is_whole_and_sorted() {
        let Learned { abbreviations, collocations, starters, contexts } = &*LEARNED;
        assert_eq!([abbreviations.len(), collocations.len(), starters.len(), contexts.len()], [156, 37, 39, 20_366]);
        assert!(abbreviations.is_sorted() && collocations.is_sorted() && starters.is_sorted());
        assert!(contexts.is_sorted_by_key(|(word, _)| word));
    }

    #[test]
    fn sentences_end_where_punkt_says() {
        let sentences = |text: &str, release| {
            let mut found = Vec::new();
            for_each_sentence(text, release, |place| found.push(text[place].to_string()));
            found
        };
        for release in Release::ALL {
            assert_eq!(sentences("Seen by Dr. Li at 5 p.m. today. No mass.", release).len(), 2);
            assert_eq!(sentences("(No mass.) A cyst?! Yes", release), ["(No mass.)", "A cyst?!", "Yes"]);
        }
        assert_eq!(sentences("“No mass.” A cyst.", Release::V3_8_1), ["“No mass.” A cyst."]);
        assert_eq!(sentences("“No mass.” A cyst.", Release::V3_10), ["“No mass.”", "A cyst."]);
    }
}
