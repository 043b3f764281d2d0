//! The bytes of a text file: UTF-8, with or without the byte-order mark that editors of Windows put before it.

use std::io;

/// The byte-order mark. At the start of a text it says how the bytes are to be read, and is no part of the text.
pub const BYTE_ORDER_MARK: char = '\u{feff}';

/// A text without byte-order marks and white space at its start and without white space at its end. Other invisible characters
/// are part of the text, as they are to Python's `utf-8-sig`.
pub fn trimmed(text: &str) -> &str {
    text.trim_start_matches(|c: char| c == BYTE_ORDER_MARK || c.is_whitespace()).trim_end()
}

/// A file's bytes without the byte-order mark of UTF-8.
///
/// # Errors
/// What the bytes are where they are text of two or four bytes a character: by their mark, or by their zeros.
pub fn without_mark(bytes: &[u8]) -> Result<&[u8], &'static str> {
    let utf16 = "UTF-16 text; save it as UTF-8";
    match bytes {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Err("UTF-32 text; save it as UTF-8"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Err(utf16),
        // No mark, but ASCII in every second byte.
        [first, 0, second, 0, ..] | [0, first, 0, second, ..] if *first != 0 && *second != 0 => Err(utf16),
        [0xef, 0xbb, 0xbf, rest @ ..] => Ok(rest),
        _ => Ok(bytes),
    }
}

/// A file's bytes as text, without its byte-order mark.
///
/// # Errors
/// UTF-16 and UTF-32 by name; else the offset of the first byte that is not UTF-8.
pub fn utf8(bytes: Vec<u8>) -> Result<String, io::Error> {
    let error = |found: String| io::Error::new(io::ErrorKind::InvalidData, found);
    let start = bytes.len() - without_mark(&bytes).map_err(|found| error(format!("found {found}")))?.len();
    let mut text = String::from_utf8(bytes).map_err(|found| {
        let at = found.utf8_error().valid_up_to();
        error(format!("found a byte that is not UTF-8 at byte {at}, as in Latin-1 text; save it as UTF-8"))
    })?;
    text.drain(..start);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_mark_is_taken_off_and_other_encodings_are_named() {
        assert_eq!(utf8(b"\xef\xbb\xbfLiver.".to_vec()).unwrap(), "Liver.");
        assert_eq!(utf8(b"Liver.".to_vec()).unwrap(), "Liver.");
        assert_eq!(utf8(Vec::new()).unwrap(), "");
        let said = |bytes: &[u8]| utf8(bytes.to_vec()).unwrap_err().to_string();
        let utf16 = |unit: fn(u16) -> [u8; 2]| "Liver".encode_utf16().flat_map(unit).collect::<Vec<u8>>();
        for bytes in [utf16(u16::to_le_bytes), utf16(u16::to_be_bytes)] {
            assert!(said(&bytes).contains("UTF-16"));
        }
        assert!(said(&[&[0xff, 0xfe], utf16(u16::to_le_bytes).as_slice()].concat()).contains("UTF-16"));
        assert!(said(&[&[0xfe, 0xff], utf16(u16::to_be_bytes).as_slice()].concat()).contains("UTF-16"));
        assert!(said(&[0xff, 0xfe, 0, 0, b'L', 0, 0, 0]).contains("UTF-32"));
        for n in 0..40 {
            let text = [&vec![b'a'; n][..], b"L\xe9sion"].concat();
            assert!(said(&text).contains(&format!("at byte {},", n + 1)), "{}", said(&text));
        }
    }

    #[test]
    fn only_white_space_and_byte_order_marks_are_trimmed() {
        assert_eq!(trimmed(" \u{feff}\u{feff} Liver. \n"), "Liver.");
        assert_eq!(trimmed("\u{200b}Liver\u{feff}.\u{200b}"), "\u{200b}Liver\u{feff}.\u{200b}");
        assert_eq!(trimmed("\u{feff}"), "");
    }
}
