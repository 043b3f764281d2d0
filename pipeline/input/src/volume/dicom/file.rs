//! One DICOM file in memory: its transfer syntax and the few elements that the reader needs.
//!
//! `dicom-parser` walks the data set. Values are slices of the file, and only those of the requested tags are kept, so
//! that names, dates and descriptions are skipped without being decoded, and no length in the file decides the size of
//! an allocation.
//!
//! Source: DICOM PS3.5 (data set encoding) and PS3.10 (file format).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Cursor;

use dicom_core::Tag;
use dicom_parser::dataset::LazyDataToken;
use dicom_parser::dataset::lazy_read::LazyDataSetReader;
use dicom_parser::stateful::decode::StatefulDecode;
use dicom_transfer_syntax_registry::entries;
use libdeflater::{DecompressionError, Decompressor};

use super::error::DicomError;

/// Bytes before the magic `DICM` of a file with a preamble.
const PREAMBLE: usize = 128;

/// Bytes that [`is_dicom`] needs: the preamble, the magic and the header of an element.
pub(in crate::volume) const HEAD: usize = PREAMBLE + 12;

/// The pixels, the last element that is read.
pub(super) const PIXEL_DATA: Tag = Tag(0x7fe0, 0x0010);

/// How the elements of the data set are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Syntax {
    ImplicitLittle,
    ExplicitLittle,
    ExplicitBig,
    Deflated,
}

/// Whether a file that starts with `head` is DICOM: the magic after a preamble or at the start, a meta group without
/// the magic, or a data set alone that starts with group 8, as some programs write it.
pub(in crate::volume) fn is_dicom(head: &[u8]) -> bool {
    part10(head).is_some() || bare_syntax(head).is_some()
}

/// Byte offset of the meta group.
fn part10(head: &[u8]) -> Option<usize> {
    let meta = [2, 0, 0, 0, b'U', b'L', 4, 0];
    if head.get(PREAMBLE..PREAMBLE + 4) == Some(b"DICM") {
        Some(PREAMBLE + 4)
    } else if head.starts_with(b"DICM") {
        Some(4)
    } else if head.starts_with(&meta) {
        Some(0)
    } else {
        None
    }
}

/// The syntax of a data set without a meta group, by its first element, which must be one of the first elements of
/// group 8 and have a short value. Files of other formats do not start in this way.
fn bare_syntax(head: &[u8]) -> Option<Syntax> {
    let [8, 0, element, 0, rest @ ..] = head.first_chunk::<8>()? else { return None };
    // Group length, character set, image type, creation date, creator, SOP class, SOP instance.
    if !matches!(element, 0x00 | 0x05 | 0x08 | 0x12 | 0x13 | 0x14 | 0x16 | 0x18) {
        return None;
    }
    match rest {
        [b'U', b'L', 4, 0] => Some(Syntax::ExplicitLittle),
        [b'C' | b'D' | b'T' | b'U', b'S' | b'A' | b'M' | b'I', length, 0] if length % 2 == 0 => {
            Some(Syntax::ExplicitLittle)
        }
        [length, 0, 0, 0] if length % 2 == 0 => Some(Syntax::ImplicitLittle),
        _ => None,
    }
}

/// A file's transfer syntax and the data set after its meta group.
pub(super) struct File<'a> {
    /// The transfer syntax's UID, without padding.
    pub(super) transfer_syntax: String,
    syntax: Syntax,
    dataset: Cow<'a, [u8]>,
    /// Byte offset of the data set in the file; `None` where it was deflated.
    start: Option<usize>,
}

/// The requested elements, as the file stores them.
pub(super) struct Elements<'a> {
    values: BTreeMap<Tag, &'a [u8]>,
    /// The pixel data, if it was requested.
    pub(super) pixels: Option<Pixels<'a>>,
    /// Whether 16-bit words are big-endian.
    pub(super) big_endian: bool,
}

/// The value of the pixel data element.
pub(super) enum Pixels<'a> {
    /// Uncompressed samples; `words` where the element consists of 16-bit words; `missing` bytes are cut off.
    Native { bytes: &'a [u8], words: bool, missing: u64 },
    /// Compressed data, with its fragments concatenated.
    Encapsulated(Cow<'a, [u8]>),
}

impl<'a> File<'a> {
    /// Reads the meta group, and inflates a deflated data set to at most `max_bytes` and 1 MiB.
    pub(super) fn parse(bytes: &'a [u8], max_bytes: u64) -> Result<File<'a>, DicomError> {
        let Some(meta_start) = part10(bytes) else {
            let syntax = bare_syntax(bytes)
                .ok_or_else(|| DicomError::unsupported("a DICOM file", format!("a file of {} bytes", bytes.len())))?;
            let uid = if syntax == Syntax::ImplicitLittle { "1.2.840.10008.1.2" } else { "1.2.840.10008.1.2.1" };
            return Ok(File { transfer_syntax: uid.into(), syntax, dataset: Cow::Borrowed(bytes), start: Some(0) });
        };
        let (uid, end) = meta_group(bytes, meta_start)?;
        let syntax = match uid.as_str() {
            "1.2.840.10008.1.2" => Syntax::ImplicitLittle,
            "1.2.840.10008.1.2.2" => Syntax::ExplicitBig,
            "1.2.840.10008.1.2.1.99" => Syntax::Deflated,
            _ => Syntax::ExplicitLittle,
        };
        let rest = &bytes[end..];
        let (dataset, start) = match syntax {
            Syntax::Deflated => (Cow::Owned(inflate(rest, max_bytes)?), None),
            _ => (Cow::Borrowed(rest), Some(end)),
        };
        Ok(File { transfer_syntax: uid, syntax, dataset, start })
    }

    /// Byte offset in the file of an offset in the data set.
    fn offset(&self, at: usize) -> Option<u64> {
        self.start.map(|start| (start + at) as u64)
    }

    /// Byte offset of the file's end; `None` where the data set was deflated.
    pub(super) fn end(&self) -> Option<u64> {
        self.offset(self.dataset.len())
    }

    /// The elements of `tags` at the top level of the data set, and the pixel data if `pixels`.
    pub(super) fn elements(&self, tags: &[Tag], pixels: bool) -> Result<Elements<'_>, DicomError> {
        let data: &[u8] = &self.dataset;
        let syntax = match self.syntax {
            Syntax::ImplicitLittle => entries::IMPLICIT_VR_LITTLE_ENDIAN.erased(),
            Syntax::ExplicitLittle | Syntax::Deflated => entries::EXPLICIT_VR_LITTLE_ENDIAN.erased(),
            Syntax::ExplicitBig => entries::EXPLICIT_VR_BIG_ENDIAN.erased(),
        };
        let broken =
            |at: u64| DicomError::bad("data set", "elements as PS3.5 lays them out", format!("none at byte {at}"));
        let mut reader = LazyDataSetReader::new_with_ts(Cursor::new(data), &syntax).map_err(|_| broken(0))?;
        let mut found =
            Elements { values: BTreeMap::new(), pixels: None, big_endian: self.syntax == Syntax::ExplicitBig };
        let mut depth = 0usize;
        let mut fragments: Option<Vec<&[u8]>> = None;
        let mut last_start = 0;
        while let Some(token) = reader.advance() {
            match token.map_err(|_| broken(last_start))? {
                LazyDataToken::ElementHeader(header) if depth == 0 && header.tag >= PIXEL_DATA && !pixels => break,
                LazyDataToken::ElementHeader(header) if depth == 0 && header.tag > PIXEL_DATA => break,
                LazyDataToken::PixelSequenceStart if depth == 0 => {
                    if !pixels {
                        break;
                    }
                    fragments = Some(Vec::new());
                    depth += 1;
                }
                LazyDataToken::PixelSequenceStart => depth += 1,
                LazyDataToken::SequenceStart { tag, .. } => {
                    if depth == 0 && tags.contains(&tag) {
                        found.values.insert(tag, &[]);
                    }
                    depth += 1;
                }
                // An empty item, such as an empty offset table, has no value token.
                LazyDataToken::ItemStart { .. } => fragments.iter_mut().for_each(|fragments| fragments.push(&[])),
                LazyDataToken::SequenceEnd => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 && fragments.is_some() {
                        break;
                    }
                }
                LazyDataToken::LazyValue { header, decoder } => {
                    let start = decoder.position();
                    last_start = start;
                    let length = header.len.get().map_or(0, u64::from);
                    let end = start + length;
                    let held = data.get(start as usize..end.min(data.len() as u64) as usize).unwrap_or(&[]);
                    let missing = length - held.len() as u64;
                    if depth == 0 && header.tag == PIXEL_DATA {
                        let words = header.vr != dicom_core::VR::OB;
                        found.pixels = Some(Pixels::Native { bytes: held, words, missing });
                        break;
                    }
                    if missing > 0 {
                        let (expected, found) = (end, data.len() as u64);
                        return Err(DicomError::LyingHeader { expected, found, offset: self.end() });
                    }
                    if depth == 0 && tags.contains(&header.tag) {
                        found.values.insert(header.tag, held);
                    }
                    decoder.skip_bytes(length as u32).map_err(|_| broken(start))?;
                }
                LazyDataToken::LazyItemValue { len, decoder } => {
                    let start = decoder.position();
                    last_start = start;
                    let end = start + u64::from(len);
                    let Some(held) = data.get(start as usize..end as usize) else {
                        let (expected, found) = (end, data.len() as u64);
                        return Err(DicomError::LyingHeader { expected, found, offset: self.end() });
                    };
                    if let Some(fragment) = fragments.as_mut().and_then(|fragments| fragments.last_mut()) {
                        *fragment = held;
                    }
                    decoder.skip_bytes(len).map_err(|_| broken(start))?;
                }
                _ => {}
            }
        }
        if let Some(fragments) = fragments {
            found.pixels = Some(Pixels::Encapsulated(join(&fragments)));
        }
        Ok(found)
    }
}

/// The fragments of a single frame: all items after the first, which is the offset table.
fn join<'a>(items: &[&'a [u8]]) -> Cow<'a, [u8]> {
    match items {
        [_, fragment] => Cow::Borrowed(fragment),
        _ => Cow::Owned(items.get(1..).unwrap_or_default().concat()),
    }
}

/// Reads the meta group, which is always explicit little-endian, element by element to its end, since its stated length
/// is often wrong. Returns the transfer syntax and the byte offset of the data set.
fn meta_group(bytes: &[u8], start: usize) -> Result<(String, usize), DicomError> {
    let cut = || DicomError::LyingHeader { expected: bytes.len() as u64 + 1, found: bytes.len() as u64, offset: None };
    let mut at = start;
    let mut uid = None;
    while bytes.get(at..at + 2) == Some(&[2, 0]) {
        let head: [u8; 8] = *bytes.get(at..).and_then(<[u8]>::first_chunk).ok_or_else(cut)?;
        let long = matches!(&head[4..6], b"OB" | b"OW" | b"SQ" | b"UN" | b"UT");
        let (length, value) = if long {
            let length: [u8; 4] = *bytes.get(at + 8..).and_then(<[u8]>::first_chunk).ok_or_else(cut)?;
            (u32::from_le_bytes(length) as usize, at + 12)
        } else {
            (usize::from(u16::from_le_bytes([head[6], head[7]])), at + 8)
        };
        let value_bytes = bytes.get(value..value.saturating_add(length)).ok_or_else(cut)?;
        if head[2..4] == [0x10, 0] {
            uid = text(value_bytes);
        }
        at = value + length;
    }
    let expected = "the UID of a transfer syntax";
    let uid = uid.ok_or_else(|| DicomError::bad("TransferSyntaxUID (0002,0010)", expected, "none"))?;
    Ok((uid.to_owned(), at))
}

/// Inflates a data set of unknown size, with a buffer that grows to at most `max_bytes` and 1 MiB.
fn inflate(bytes: &[u8], max_bytes: u64) -> Result<Vec<u8>, DicomError> {
    let most = max_bytes.saturating_add(1 << 20);
    let mut out = vec![0; (bytes.len() * 4 + (1 << 16)).min(most as usize)];
    loop {
        match Decompressor::new().deflate_decompress(bytes, &mut out) {
            Ok(length) => {
                out.truncate(length);
                return Ok(out);
            }
            Err(DecompressionError::InsufficientSpace) if (out.len() as u64) < most => {
                out.resize((out.len() as u64 * 2).min(most) as usize, 0);
            }
            Err(DecompressionError::InsufficientSpace) => {
                return Err(DicomError::TooLarge { limit: max_bytes, found: out.len() as u64 });
            }
            Err(DecompressionError::BadData) => {
                return Err(DicomError::bad("data set", "a sound deflate stream", "damaged or cut data"));
            }
        }
    }
}

/// A text value without its padding; `None` where it is empty or not ASCII (all elements that are read here are ASCII).
fn text(value: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(value).ok().filter(|text| text.is_ascii())?;
    Some(text.trim_matches([' ', '\0'])).filter(|text| !text.is_empty())
}

impl Elements<'_> {
    /// A text element without its padding; `None` where it is absent or empty.
    pub(super) fn text(&self, tag: Tag) -> Option<&str> {
        self.values.get(&tag).and_then(|value| text(value))
    }

    /// A 16-bit element (US, or SS by its bits).
    pub(super) fn word(&self, tag: Tag) -> Option<u16> {
        let bytes: [u8; 2] = *self.values.get(&tag)?.first_chunk()?;
        Some(if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    /// The numbers of a decimal text element (DS or IS); `None` where it is absent or empty.
    ///
    /// # Errors
    /// [`DicomError::BadHeader`] with the name `field` where there are not `N` finite numbers.
    pub(super) fn numbers<const N: usize>(
        &self,
        tag: Tag,
        field: &'static str,
    ) -> Result<Option<[f64; N]>, DicomError> {
        let Some(text) = self.text(tag) else { return Ok(None) };
        let mut numbers = [0.0; N];
        let mut count = 0;
        for part in text.split('\\') {
            let number = part.trim().parse::<f64>().ok().filter(|number| number.is_finite());
            let number = number.ok_or_else(|| DicomError::bad(field, "finite decimal numbers", "text that is none"))?;
            if let Some(slot) = numbers.get_mut(count) {
                *slot = number;
            }
            count += 1;
        }
        if count != N {
            return Err(DicomError::bad(field, "as many numbers as the standard states", format!("{count}")));
        }
        Ok(Some(numbers))
    }

    /// Whether there is an element of this tag, even an empty one.
    pub(super) fn has(&self, tag: Tag) -> bool {
        self.values.contains_key(&tag)
    }
}
