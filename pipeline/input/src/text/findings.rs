//! Findings: the part of an M3D-Cap `text.txt` that becomes the caption.
//!
//! As in the official preparation (M3D's `m3d_cap_data_prepare.py`): the text after the first `study_findings:`; where
//! that has fewer than 5 characters, the text after the first `discussion:`; where that does too, the whole text. Each
//! line break becomes one space and the ends are trimmed. A byte-order mark at a start is no part of the text.

use std::path::Path;

use super::encoding;
use crate::error::InputError;
use crate::reading;

/// Texts with fewer characters, not counting spaces and line breaks, are treated as empty.
const MIN_CHARACTERS: usize = 5;

/// Reads a text file of at most so many bytes and extracts its findings.
///
/// # Errors
/// [`InputError::TextUnreadable`] where the file is missing, unreadable or not UTF-8, [`InputError::TooLarge`] where it is
/// longer.
pub fn read_findings(path: &Path, most: u64) -> Result<String, InputError> {
    let unreadable = |source| InputError::TextUnreadable { path: path.to_owned(), source };
    let text = reading::read_at_most(path, most).map_err(unreadable)?;
    if text.len() as u64 > most {
        let found = reading::metadata(path).map_or(text.len() as u64, |file| file.len());
        return Err(InputError::TooLarge { path: path.to_owned(), expected: most, found });
    }
    Ok(findings(&encoding::utf8(text).map_err(unreadable)?))
}

/// The findings of a report's text, on one line; the whole text where it has neither key.
pub fn findings(text: &str) -> String {
    // Python's text mode converts all line breaks to "\n".
    let text = encoding::trimmed(text).replace("\r\n", "\n").replace('\r', "\n");
    let after = |key: &str| one_line(text.split_once(key).map_or(text.as_str(), |(_, after)| after));
    [after("study_findings:"), after("discussion:")]
        .into_iter()
        .find(|part| part.chars().filter(|character| *character != ' ').count() >= MIN_CHARACTERS)
        .unwrap_or_else(|| one_line(&text))
}

fn one_line(text: &str) -> String {
    encoding::trimmed(&text.replace('\n', " ")).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_follow_the_first_key_on_one_line() {
        let text = "Title: x\n\ndiscussion:\nlong talk\n\nstudy_findings:\nLiver is\r\nnormal. study_findings: again\n";
        assert_eq!(findings(text), "Liver is normal. study_findings: again");
    }

    #[test]
    fn short_findings_fall_back_to_the_discussion_and_then_to_the_whole_text() {
        assert_eq!(findings("discussion:\nA talk.\nstudy_findings:\n - \n"), "A talk. study_findings:  -");
        assert_eq!(findings("discussion: ab\nstudy_findings: cd"), "ab study_findings: cd");
        assert_eq!(findings("a discussion:  \n b"), "a discussion:    b");
        assert_eq!(findings("discussion: ok\nstudy_findings:"), "ok study_findings:");
        assert_eq!(findings("study_findings: x"), "study_findings: x");
        assert_eq!(findings("No key at all"), "No key at all");
        assert_eq!(findings(" ab\n"), "ab");
    }

    #[test]
    fn a_byte_order_mark_is_not_learned() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("text.txt");
        for text in [
            "\u{feff}Liver is normal.",
            "\u{feff}\u{feff} Liver is normal.\r\n",
            "study_findings:\n\u{feff}Liver is normal.",
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(read_findings(&path, 1 << 20).unwrap(), "Liver is normal.");
        }
        // A mark within the text is a character of it.
        std::fs::write(&path, "Liver\u{feff} is normal.\u{200b}").unwrap();
        assert_eq!(read_findings(&path, 1 << 20).unwrap(), "Liver\u{feff} is normal.\u{200b}");
    }

    #[test]
    fn the_error_of_a_text_that_is_not_utf8_names_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("text.txt");
        std::fs::write(&path, [0x66, 0xff, 0xfe]).unwrap();
        let error = read_findings(&path, 1 << 20).unwrap_err();
        assert_eq!(error.reason().as_str(), "text_unreadable");
        assert!(error.to_string().contains("text.txt"));
    }
}
