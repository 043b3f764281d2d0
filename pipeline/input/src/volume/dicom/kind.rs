//! Kind: what a DICOM file is, by its first bytes: enough for a listing, which opens every file of a tree.
//!
//! The storage class is in the meta group (PS3.10, 7.1) or, in a file without one, among the first elements; classes are those
//! of PS3.4, annex B.

use super::file::is_dicom;

/// What a DICOM file is, as far as a listing must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::volume) enum Kind {
    /// One image; also where no class is found.
    Image,
    /// Several frames in one file, a volume of its own.
    Frames,
    /// A table of contents of other files.
    Directory,
    /// A report, a structure set, a presentation state or another object without a picture.
    WithoutImage,
}

/// Media storage directory.
const DIRECTORY: &str = "1.2.840.10008.1.3.10";

/// The start of storage classes.
const STORAGE: &str = "1.2.840.10008.5.1.4.1.1.";

/// Enhanced CT and its legacy converted form.
const FRAMES: [&str; 2] = ["2.1", "2.2"];

/// Structured reports, presentation states, radiotherapy, raw data with registrations and segmentations, value maps, documents,
/// waveforms, surgical and prescription objects.
const WITHOUT_IMAGE: [&str; 12] =
    ["88.", "11.", "481.", "66", "67", "104.", "9.", "68.", "78.", "79.", "80.", "131"];

/// What the file that starts with `head` is; `None` where it is no DICOM.
pub(in crate::volume) fn kind_of(head: &[u8]) -> Option<Kind> {
    if !is_dicom(head) {
        return None;
    }
    let Some(class) = class(head) else { return Some(Kind::Image) };
    let Some(storage) = class.strip_prefix(STORAGE) else {
        return Some(if class == DIRECTORY { Kind::Directory } else { Kind::Image });
    };
    Some(if FRAMES.contains(&storage) {
        Kind::Frames
    } else if WITHOUT_IMAGE.iter().any(|start| storage.starts_with(start)) {
        Kind::WithoutImage
    } else {
        Kind::Image
    })
}

/// The storage class, where one of its two elements is within the head.
fn class(head: &[u8]) -> Option<&str> {
    let meta = [2, 0, 2, 0, b'U', b'I'];
    let explicit = [8, 0, 0x16, 0, b'U', b'I'];
    let implicit = [8, 0, 0x16, 0];
    let after = |start: &[u8]| head.windows(start.len()).position(|window| window == start).map(|at| at + start.len());
    let (at, length_bytes) = match (after(&meta).or_else(|| after(&explicit)), after(&implicit)) {
        (Some(at), _) => (at, 2),
        (None, Some(at)) => (at, 4),
        (None, None) => return None,
    };
    let length = usize::from(u16::from_le_bytes(head.get(at..at + 2)?.try_into().ok()?));
    let value = head.get(at + length_bytes..at + length_bytes + length)?;
    Some(std::str::from_utf8(value).ok()?.trim_end_matches(['\0', ' ']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part10(class: &str) -> Vec<u8> {
        let mut head = vec![0; 128];
        head.extend(b"DICM\x02\0\0\0UL\x04\0\xb0\0\0\0\x02\0\x01\0OB\0\0\x02\0\0\0\0\x01\x02\0\x02\0UI");
        let padded = class.len().next_multiple_of(2);
        head.extend((padded as u16).to_le_bytes());
        head.extend(class.bytes().chain(std::iter::repeat_n(0, padded - class.len())));
        head
    }

    #[test]
    fn classes_are_told_apart() {
        for (class, kind) in [
            ("1.2.840.10008.1.3.10", Kind::Directory),
            ("1.2.840.10008.5.1.4.1.1.2", Kind::Image),
            ("1.2.840.10008.5.1.4.1.1.2.1", Kind::Frames),
            ("1.2.840.10008.5.1.4.1.1.7", Kind::Image),
            ("1.2.840.10008.5.1.4.1.1.88.67", Kind::WithoutImage),
            ("1.2.840.10008.5.1.4.1.1.481.3", Kind::WithoutImage),
            ("1.2.840.10008.5.1.4.1.1.66.4", Kind::WithoutImage),
            ("1.3.6.1.4.1.5962", Kind::Image),
        ] {
            assert_eq!(kind_of(&part10(class)), Some(kind), "{class}");
        }
        assert_eq!(kind_of(b"no DICOM at all"), None);
        let bare = [&[8, 0, 0x16, 0][..], &[26, 0, 0, 0], b"1.2.840.10008.5.1.4.1.1.2\0"].concat();
        assert_eq!(kind_of(&bare), Some(Kind::Image));
    }
}
