//! What Python calls a space, a digit and a part of a word.
//!
//! NLTK 3.8.1 asks Python's `re`, NLTK 3.10 the package `regex`; the two differ in combining marks, joiners and numbers that
//! are no digits. Letters and digits are those of the Unicode version of this build, which may be newer than a Python's.

use unicode_normalization::char::is_combining_mark;

use crate::meteor::Release;
use crate::text::is_space;

/// The first of each run of ten decimal digits past ASCII: Unicode 17's category Nd holds nothing else.
#[rustfmt::skip]
const DIGITS: [u32; 76] = [
    0x660, 0x6F0, 0x7C0, 0x966, 0x9E6, 0xA66, 0xAE6, 0xB66, 0xBE6, 0xC66, 0xCE6, 0xD66, 0xDE6, 0xE50, 0xED0, 0xF20,
    0x1040, 0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1A90, 0x1B50, 0x1BB0, 0x1C40, 0x1C50, 0xA620, 0xA8D0,
    0xA900, 0xA9D0, 0xA9F0, 0xAA50, 0xABF0, 0xFF10, 0x104A0, 0x10D30, 0x10D40, 0x11066, 0x110F0, 0x11136, 0x111D0,
    0x112F0, 0x11450, 0x114D0, 0x11650, 0x116C0, 0x116D0, 0x116DA, 0x11730, 0x118E0, 0x11950, 0x11BF0, 0x11C50, 0x11D50,
    0x11DA0, 0x11DE0, 0x11F50, 0x16130, 0x16A60, 0x16AC0, 0x16B50, 0x16D70, 0x1CCF0, 0x1D7CE, 0x1D7D8, 0x1D7E2, 0x1D7EC,
    0x1D7F6, 0x1E140, 0x1E2F0, 0x1E4F0, 0x1E5F1, 0x1E950, 0x1FBF0,
];

/// `\d`, Unicode's decimal digits.
pub(super) fn is_digit(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_digit();
    }
    let runs_up_to = DIGITS.partition_point(|first| *first <= c as u32);
    runs_up_to.checked_sub(1).is_some_and(|run| c as u32 - DIGITS[run] < 10)
}

impl Release {
    /// `\s`.
    pub(super) fn is_space(self, c: char) -> bool {
        match self {
            Release::V3_8_1 => is_space(c),
            Release::V3_10 => c.is_whitespace(),
        }
    }

    /// `\w`.
    pub(super) fn is_word(self, c: char) -> bool {
        if c.is_ascii() {
            return c.is_ascii_alphanumeric() || c == '_';
        }
        match self {
            // Letters and numbers: `is_alphanumeric` has vowel signs and letters in circles too, which Unicode calls
            // alphabetic.
            Release::V3_8_1 => c.is_alphanumeric() && !is_combining_mark(c) && !is_enclosed_letter(c),
            Release::V3_10 => c.is_alphabetic() || is_combining_mark(c) || is_digit(c) || is_joining(c),
        }
    }
}

fn is_enclosed_letter(c: char) -> bool {
    let (circled, squared) = ('\u{24b6}'..='\u{24e9}', ['\u{1f130}'..='\u{1f149}', '\u{1f150}'..='\u{1f169}']);
    circled.contains(&c) || squared.iter().any(|range| range.contains(&c)) || ('\u{1f170}'..='\u{1f189}').contains(&c)
}

/// Joiners, and punctuation that connects.
fn is_joining(c: char) -> bool {
    matches!(
        c,
        '\u{200c}' | '\u{200d}' | '\u{203f}' | '\u{2040}' | '\u{2054}' | '\u{fe33}' | '\u{fe34}' | '\u{fe4d}'
            ..='\u{fe4f}' | '\u{ff3f}'
    )
}
