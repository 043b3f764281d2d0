//! Texts of strangers on a terminal: what it would obey rather than show is written as `\u{1b}`.
//!
//! Control characters move the cursor, set the title or clear the screen; marks of writing direction let a text read as
//! another; a line break in a name forges a line of the program's own. Everything that the programs print passes here.

use std::borrow::Cow;

/// Characters that a terminal or a reader of the text obeys: all controls, marks of writing direction, separators of lines.
pub fn is_obeyed(c: char) -> bool {
    const DIRECTIONS: [char; 14] = [
        '\u{61c}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}', '\u{202e}', '\u{2066}',
        '\u{2067}', '\u{2068}', '\u{2069}', '\u{2028}', '\u{2029}',
    ];
    c.is_control() || DIRECTIONS.contains(&c)
}

/// A value within a line: nothing that is obeyed, no line break either.
pub fn value(text: &str) -> Cow<'_, str> {
    replaced(text, is_obeyed, |c, to| to.extend(c.escape_default()))
}

/// Lines of the program's own: as [`value`], line breaks kept.
pub fn lines(text: &str) -> Cow<'_, str> {
    replaced(text, |c| c != '\n' && is_obeyed(c), |c, to| to.extend(c.escape_default()))
}

/// A message: as [`lines`], and lines after the first begin with two spaces, so that none passes for a message of its own.
pub fn message(text: &str) -> String {
    lines(text.trim_end()).replace('\n', "\n  ")
}

/// JSON: the same value, with what is obeyed as JSON's own escapes. In valid JSON such characters are within strings only; line
/// breaks between values are kept.
pub fn json(text: &str) -> Cow<'_, str> {
    // All of them are below 2^16.
    replaced(text, |c| c != '\n' && is_obeyed(c), |c, to| to.push_str(&format!("\\u{:04x}", c as u32)))
}

/// A cell of a CSV file: as [`lines`], and a text that a spreadsheet would take for a formula begins with `'`; numbers stay.
pub fn cell(text: &str) -> Cow<'_, str> {
    let shown = lines(text);
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']) && text.parse::<f64>().is_err();
    if is_formula { format!("'{shown}").into() } else { shown }
}

fn replaced(text: &str, is: impl Fn(char) -> bool, replace: impl Fn(char, &mut String)) -> Cow<'_, str> {
    if !text.contains(&is) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 16);
    text.chars().for_each(|c| if is(c) { replace(c, &mut shown) } else { shown.push(c) });
    shown.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_obeyed_is_shown() {
        assert_eq!(value("a\x1b]0;t\x07\u{9b}2J\x7f\r\n\tb\u{202e}"), r"a\u{1b}]0;t\u{7}\u{9b}2J\u{7f}\r\n\tb\u{202e}");
        assert_eq!(lines("a\x08\nb\u{2028}c"), "a\\u{8}\nb\\u{2028}c");
        assert_eq!(message("a\nb\n"), "a\n  b");
        assert!(matches!(value("Größe 5 µm, 診断"), Cow::Borrowed(_)));
        assert!((0..=0x10ffff).filter_map(char::from_u32).filter(|c| is_obeyed(*c)).all(|c| (c as u32) < 1 << 16));
    }

    #[test]
    fn json_stays_the_same_value() {
        let text = "a\x1b\x7f\u{85}\u{202e}\n\"\\";
        let json_text = serde_json::to_string(text).unwrap();
        let shown = json(&json_text);
        assert!(!shown.contains(is_obeyed));
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
    }

    #[test]
    fn a_cell_is_no_formula() {
        for formula in ["=1+1", "+a1", "-1-1", "@SUM(A1)", "\t=1", "\r=1"] {
            assert!(cell(formula).starts_with('\''), "{formula}");
        }
        for plain in ["a=1", "-1.5", "-3e-7", ""] {
            assert_eq!(cell(plain), plain);
        }
        assert_eq!(cell("\x1b=1"), "\\u{1b}=1");
    }
}
