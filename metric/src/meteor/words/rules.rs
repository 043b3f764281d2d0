//! NLTK's word rules: substitutions that put spaces around what is a word of its own, one after the other, each of which reads
//! the spaces of those before it. A substitution is skipped where the sentence lacks the characters that it looks for.

use super::characters::is_digit;
use crate::meteor::Release;

/// Characters of a sentence that rules look for.
mod holds {
    pub(super) const QUOTE: u16 = 1;
    pub(super) const TICK: u16 = 1 << 1;
    pub(super) const APOSTROPHE: u16 = 1 << 2;
    pub(super) const POINT: u16 = 1 << 3;
    pub(super) const COLON: u16 = 1 << 4;
    pub(super) const SIGN: u16 = 1 << 5;
    pub(super) const QUESTION: u16 = 1 << 6;
    pub(super) const STAR: u16 = 1 << 7;
    pub(super) const BRACKET: u16 = 1 << 8;
    pub(super) const DASH: u16 = 1 << 9;
    pub(super) const BEYOND_ASCII: u16 = 1 << 10;
    /// A letter that `cannot`, `gimme` or `gotta` has twice in a row.
    pub(super) const TWICE: u16 = 1 << 11;
}

const HOLDS: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b'"' => holds::QUOTE,
            b'`' => holds::TICK,
            b'\'' => holds::APOSTROPHE,
            b'.' => holds::POINT,
            b':' | b',' => holds::COLON,
            b';' | b'@' | b'#' | b'$' | b'%' | b'&' => holds::SIGN,
            b'?' | b'!' => holds::QUESTION,
            b'*' => holds::STAR,
            b'[' | b']' | b'(' | b')' | b'{' | b'}' | b'<' | b'>' => holds::BRACKET,
            b'-' => holds::DASH,
            128.. => holds::BEYOND_ASCII,
            _ => 0,
        };
        byte += 1;
    }
    table
};

/// Words that are cut in two, at the bar. All but the last need an end of a word behind them, the last white space.
const CONTRACTIONS: [(&str, &str); 8] = [
    ("can", "not"),
    ("d", "'ye"),
    ("gim", "me"),
    ("gon", "na"),
    ("got", "ta"),
    ("lem", "me"),
    ("more", "'n"),
    ("wan", "na"),
];
/// The same behind a space.
const AFTER_SPACE: [(&str, &str); 2] = [("'t", "is"), ("'t", "was")];

/// The rules of one release, with room for a sentence.
pub(super) struct Rules {
    release: Release,
    text: String,
    spare: String,
}

impl Rules {
    pub(super) fn new(release: Release) -> Rules {
        Rules { release, text: String::new(), spare: String::new() }
    }

    /// The sentence with white space between its words.
    pub(super) fn pad(&mut self, sentence: &str) -> &str {
        let release = self.release;
        let newer = release == Release::V3_10;
        let held = held(sentence);
        let has = |any: u16| held & any != 0;
        self.text.clear();
        self.text.push_str(sentence);

        // Quotes that open.
        if has(holds::TICK | holds::BEYOND_ASCII) {
            self.rewrite(|text, out| pad_runs(text, out, |c| matches!(c, '«' | '“' | '‘' | '„'), '`', 1));
        }
        if has(holds::QUOTE | holds::TICK) {
            if self.text.starts_with('"') {
                self.text.replace_range(..1, "``");
            }
            self.rewrite(|text, out| pad_all(text, out, "``", " `` "));
        }
        if has(holds::QUOTE | holds::APOSTROPHE) {
            self.rewrite(open_quotes);
        }
        if has(holds::APOSTROPHE) {
            self.rewrite(|text, out| part_apostrophe(text, out, release));
        }

        // Punctuation.
        if has(holds::POINT) {
            self.rewrite(|text, out| last_point(text, out, release, true));
        }
        if has(holds::COLON) {
            self.rewrite(colons);
            self.rewrite(last_colon);
        }
        if has(holds::POINT) {
            self.rewrite(|text, out| pad_runs(text, out, |_| false, '.', 2));
        }
        if has(holds::SIGN) {
            self.rewrite(|text, out| pad_each(text, out, |c| matches!(c, ';' | '@' | '#' | '$' | '%' | '&')));
        }
        if newer && has(holds::BEYOND_ASCII) {
            self.rewrite(|text, out| pad_each(text, out, |c| matches!(c, '\u{2012}'..='\u{2015}')));
        }
        if has(holds::POINT) {
            self.rewrite(|text, out| last_point(text, out, release, false));
        }
        if has(holds::QUESTION) {
            self.rewrite(|text, out| pad_each(text, out, |c| matches!(c, '?' | '!')));
        }
        if has(holds::APOSTROPHE) {
            self.rewrite(|text, out| {
                endings(text, out, |before| before != '\'', |rest| rest.starts_with("' ").then_some(1))
            });
        }
        if has(holds::STAR) {
            self.rewrite(|text, out| pad_each(text, out, |c| c == '*'));
        }
        if has(holds::BRACKET) {
            self.rewrite(|text, out| {
                pad_each(text, out, |c| matches!(c, '[' | ']' | '(' | ')' | '{' | '}' | '<' | '>'))
            });
        }
        if has(holds::DASH) {
            self.rewrite(|text, out| pad_all(text, out, "--", " -- "));
        }

        // Quotes that close, and what is written together.
        if has(holds::APOSTROPHE | holds::TWICE) {
            self.rewrite(|text, out| *out = format!(" {text} "));
        }
        if has(holds::BEYOND_ASCII) {
            self.rewrite(|text, out| pad_each(text, out, |c| matches!(c, '»' | '”' | '’')));
        }
        if has(holds::APOSTROPHE) {
            self.rewrite(|text, out| pad_all(text, out, "''", " '' "));
        }
        if has(holds::QUOTE) {
            self.rewrite(|text, out| pad_all(text, out, "\"", " '' "));
        }
        if has(holds::APOSTROPHE) {
            if newer {
                self.rewrite(single_spaces);
            }
            let open = |before: char| before != '\'' && before != ' ';
            self.rewrite(|text, out| endings(text, out, open, genitive));
            self.rewrite(|text, out| endings(text, out, open, auxiliary));
        }
        if has(holds::APOSTROPHE | holds::TWICE) {
            for (first, second) in CONTRACTIONS {
                self.rewrite(|text, out| part(text, out, first, second));
            }
            for (first, second) in AFTER_SPACE {
                self.rewrite(|text, out| part(text, out, first, second));
            }
        }
        &self.text
    }

    fn rewrite(&mut self, rule: impl FnOnce(&str, &mut String)) {
        self.spare.clear();
        rule(&self.text, &mut self.spare);
        std::mem::swap(&mut self.text, &mut self.spare);
    }
}

fn held(sentence: &str) -> u16 {
    let mut held = 0;
    let mut before = 0;
    for byte in sentence.bytes() {
        held |= HOLDS[byte as usize];
        let letter = byte | 0x20;
        if letter == before && matches!(letter, b'm' | b'n' | b't') {
            held |= holds::TWICE;
        }
        before = letter;
    }
    held
}

/// Spaces around each such character.
fn pad_each(text: &str, out: &mut String, is: impl Fn(char) -> bool) {
    for c in text.chars() {
        if is(c) { out.extend([' ', c, ' ']) } else { out.push(c) }
    }
}

/// Spaces around each such character, and around each run of at least `least` marks.
fn pad_runs(text: &str, out: &mut String, is: impl Fn(char) -> bool, mark: char, least: usize) {
    let mut rest = text;
    while let Some(at) = rest.find(|c| c == mark || is(c)) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let run = rest.bytes().take_while(|byte| *byte == mark as u8).count();
        let length = if run == 0 { rest.chars().next().map_or(0, char::len_utf8) } else { run };
        let (piece, after) = rest.split_at(length);
        if run == 0 || run >= least {
            out.extend([" ", piece, " "])
        } else {
            out.push_str(piece)
        }
        rest = after;
    }
    out.push_str(rest);
}

fn pad_all(text: &str, out: &mut String, what: &str, by: &str) {
    let mut from = 0;
    for (at, _) in text.match_indices(what) {
        out.push_str(&text[from..at]);
        out.push_str(by);
        from = at + what.len();
    }
    out.push_str(&text[from..]);
}

/// A quote behind a space or an opening bracket opens.
fn open_quotes(text: &str, out: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.find([' ', '(', '[', '{', '<']) {
        let (before, after) = rest.split_at(at + 1);
        out.push_str(before);
        rest = after;
        if let Some(after) = rest.strip_prefix('"').or_else(|| rest.strip_prefix("''")) {
            out.push_str(" `` ");
            rest = after;
        }
    }
    out.push_str(rest);
}

/// An apostrophe is parted from what it opens: 3.8.1, a single letter; 3.10, a word that is none of `'s`, `'re` and so on.
fn part_apostrophe(text: &str, out: &mut String, release: Release) {
    let mut before = None;
    for (at, c) in text.char_indices() {
        out.push(c);
        let rest = &text[at + c.len_utf8()..];
        if c == '\'' && release.is_word(rest.chars().next().unwrap_or(' ')) {
            let clitic = ["re", "ve", "ll", "m", "t", "s", "d", "n"].iter().any(|clitic| {
                let after = strip_letters(rest, clitic);
                after.is_some_and(|after| !after.starts_with(|c| release.is_word(c)))
            });
            let opens = match release {
                Release::V3_8_1 => !rest.chars().nth(1).is_some_and(|c| release.is_word(c)),
                Release::V3_10 => !before.is_some_and(|c| release.is_word(c)),
            };
            if opens && !clitic {
                out.push(' ');
            }
        }
        before = Some(c);
    }
}

/// The point that ends the sentence, marks that close and white space behind it at most; at first `curly` ones and spaces too.
fn last_point(text: &str, out: &mut String, release: Release, curly: bool) {
    let closing =
        |c: char| matches!(c, ']' | ')' | '}' | '>' | '"' | '\'') || curly && matches!(c, '»' | '”' | '’' | ' ');
    let found = text.rsplit_once('.').filter(|(before, after)| {
        let rest = after.trim_start_matches(closing);
        !before.is_empty() && !before.ends_with('.') && rest.chars().all(|c| release.is_space(c))
    });
    let Some((before, after)) = found else {
        out.push_str(text);
        return;
    };
    let marks = &after[..after.len() - after.trim_start_matches(closing).len()];
    out.extend([before, " .", if curly { " " } else { "" }, marks, " "]);
}

/// Spaces around a colon or comma that no digit follows.
fn colons(text: &str, out: &mut String) {
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        if matches!(c, ':' | ',')
            && let Some(after) = characters.clone().next()
            && !is_digit(after)
        {
            out.extend([' ', c, ' ', after]);
            characters.next();
        } else {
            out.push(c);
        }
    }
}

/// Spaces around a colon or comma at the end.
fn last_colon(text: &str, out: &mut String) {
    let line = text.strip_suffix('\n').unwrap_or(text);
    match line.strip_suffix([':', ',']) {
        Some(before) => out.extend([before, " ", &line[before.len()..], " ", &text[line.len()..]]),
        None => out.push_str(text),
    }
}

/// A space before an ending with an apostrophe: `ending` gives its bytes where one begins with the text, a space behind it.
fn endings(text: &str, out: &mut String, open: impl Fn(char) -> bool, ending: impl Fn(&str) -> Option<usize>) {
    let mut from = 0;
    let mut places = text.match_indices('\'').flat_map(|(at, _)| [at.checked_sub(1), Some(at)]).flatten();
    let mut next = || places.find(|at| text.is_char_boundary(*at));
    while let Some(at) = next() {
        // The character before it must not be part of the last one found.
        let Some(before) = text.get(from..at).and_then(|text| text.chars().next_back()) else { continue };
        if let Some(length) = ending(&text[at..]).filter(|_| open(before)) {
            out.extend([&text[from..at], " ", &text[at..at + length], " "]);
            from = at + length + 1;
        }
    }
    out.push_str(&text[from..]);
}

/// `'s`, `'m`, `'d` and a lone apostrophe.
fn genitive(text: &str) -> Option<usize> {
    match text.as_bytes() {
        [b'\'', b's' | b'S' | b'm' | b'M' | b'd' | b'D', b' ', ..] => Some(2),
        [b'\'', b' ', ..] => Some(1),
        _ => None,
    }
}

/// `'ll`, `'re`, `'ve` and `n't`, all small or all capital.
fn auxiliary(text: &str) -> Option<usize> {
    let forms = ["'ll ", "'LL ", "'re ", "'RE ", "'ve ", "'VE ", "n't ", "N'T "];
    forms.iter().any(|form| text.starts_with(form)).then_some(3)
}

fn single_spaces(text: &str, out: &mut String) {
    let mut before = false;
    for c in text.chars() {
        let space = c.is_whitespace();
        if !space {
            out.push(c);
        } else if !before {
            out.push(' ');
        }
        before = space;
    }
}

/// Cuts the word `first` + `second` in two wherever it stands alone, in whatever case.
fn part(text: &str, out: &mut String, first: &str, second: &str) {
    // NLTK 3.10 asks `re` here still.
    let release = Release::V3_8_1;
    let begin = first.as_bytes()[0];
    let after_space = begin == b'\'';
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte | 0x20 != begin | 0x20 || at < from {
            continue;
        }
        let Some(middle) = strip_letters(&text[at..], first) else { continue };
        let Some(after) = strip_letters(middle, second) else { continue };
        let before = text[..at].chars().next_back();
        let stands = if after_space {
            // The space is taken along: it must not be part of the last one found.
            before == Some(' ') && at > from
        } else {
            !before.is_some_and(|c| release.is_word(c))
        };
        let next = after.chars().next();
        let ends = match first {
            "wan" => next.is_some_and(|c| release.is_space(c)),
            _ => !next.is_some_and(|c| release.is_word(c)),
        };
        if stands && ends {
            let (middle, end) = (text.len() - middle.len(), text.len() - after.len());
            let start = at - usize::from(after_space);
            out.extend([&text[from..start], " ", &text[at..middle], " ", &text[middle..end], " "]);
            from = end;
        }
    }
    out.push_str(&text[from..]);
}

/// What follows small letters and apostrophes at the front, in whatever case. Python takes some letters for one another.
fn strip_letters<'a>(text: &'a str, letters: &str) -> Option<&'a str> {
    let mut characters = text.chars();
    let same = |letter: char, c: char| match letter {
        'i' => matches!(c, 'i' | 'I' | 'İ' | 'ı'),
        's' => matches!(c, 's' | 'S' | 'ſ'),
        _ => c.eq_ignore_ascii_case(&letter),
    };
    let begins = letters.chars().all(|letter| characters.next().is_some_and(|c| same(letter, c)));
    begins.then_some(characters.as_str())
}
