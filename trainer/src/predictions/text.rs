//! The bytes of a file as text: UTF-8 or, where its mark says so, UTF-16.

use med2e3_input::text::encoding;
use med2e3_input::text::tokenizer::{GIT_LFS_POINTER, is_git_lfs_pointer};

use super::Unread;

/// The text without its byte-order mark.
///
/// # Errors
/// Another encoding, by name or by the place of the first byte that is not UTF-8; half a character; a pointer of Git LFS.
pub fn decoded(bytes: Vec<u8>) -> Result<String, Unread> {
    const EXPECTED: &str = "text in UTF-8, or in UTF-16 with its mark";
    if is_git_lfs_pointer(&bytes) {
        return Err(Unread::new(EXPECTED, GIT_LFS_POINTER));
    }
    let unit: fn([u8; 2]) -> u16 = match bytes.as_slice() {
        // The mark of UTF-32 begins as that of UTF-16 does.
        [0xff, 0xfe, rest @ ..] if !rest.starts_with(&[0, 0]) => u16::from_le_bytes,
        [0xfe, 0xff, ..] => u16::from_be_bytes,
        _ => return encoding::utf8(bytes).map_err(|error| without_found(&error.to_string(), EXPECTED)),
    };
    let pairs = bytes[2..].chunks(2).map(|pair| <[u8; 2]>::try_from(pair).map(unit).unwrap_or(LONE));
    let text: Result<String, _> = char::decode_utf16(pairs).collect();
    text.map_err(|_| Unread::new(EXPECTED, "UTF-16 with half a character in it"))
}

/// Stands for a last byte without its partner: no text in UTF-16 has it alone.
const LONE: u16 = 0xd800;

fn without_found(message: &str, expected: &str) -> Unread {
    Unread::new(expected, message.strip_prefix("found ").unwrap_or(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_tell_the_encoding() {
        let utf16 = |unit: fn(u16) -> [u8; 2]| "\u{feff}Lésion 肝 \u{1f600}".encode_utf16().flat_map(unit).collect();
        for bytes in [utf16(u16::to_le_bytes), utf16(u16::to_be_bytes), "\u{feff}Lésion 肝 \u{1f600}".into()] {
            assert_eq!(decoded(bytes).unwrap(), "Lésion 肝 \u{1f600}");
        }
        let said = |bytes: &[u8]| decoded(bytes.to_vec()).unwrap_err().found;
        assert!(said(b"L\xe9sion").starts_with("a byte that is not UTF-8 at byte 1,"), "{}", said(b"L\xe9sion"));
        assert!(said(&[0xff, 0xfe, 0, 0, 65, 0, 0, 0]).starts_with("UTF-32"));
        assert!(said(&[65, 0, 66, 0]).starts_with("UTF-16"), "without a mark");
        assert_eq!(said(&[0xff, 0xfe, 65, 0, 66]), "UTF-16 with half a character in it");
        assert!(said(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n").contains("git-lfs"));
    }
}
