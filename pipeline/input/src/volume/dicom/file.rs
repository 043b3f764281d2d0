//! One DICOM file in memory: its transfer syntax and its data set.
//!
//! Source: DICOM PS3.5 (data set encoding), PS3.10 (file format).

use std::borrow::Cow;

use super::deflated;
use super::elements::{DataSet, Elements, Form, Pixels, Tag, text};
use super::error::DicomError;
use super::transfer_syntax::TransferSyntax;

/// Bytes before the magic `DICM` of a file with a preamble.
const PREAMBLE: usize = 128;

/// Bytes that [`is_dicom`] needs: the preamble, the magic and the header of an element.
pub(in crate::volume) const HEAD: usize = PREAMBLE + 12;

/// 64-bit offsets of the frames among the fragments, and the frames' lengths.
const EXTENDED_OFFSET_TABLE: Tag = Tag(0x7fe0, 0x0001);

/// Whether a file that starts with `head` is DICOM: the magic after a preamble or at the start, a meta group without
/// the magic, or a data set alone that starts with group 8, as some programs write it.
pub(in crate::volume) fn is_dicom(head: &[u8]) -> bool {
    part10(head).is_some() || bare_form(head).is_some()
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

/// The form of a data set without a meta group, by its first element, which must be one of the first elements of
/// group 8 and have a short value. Files of other formats do not start in this way.
fn bare_form(head: &[u8]) -> Option<Form> {
    let [8, 0, element, 0, rest @ ..] = head.first_chunk::<8>()? else { return None };
    // Group length, character set, image type, creation date, creator, SOP class, SOP instance.
    if !matches!(element, 0x00 | 0x05 | 0x08 | 0x12 | 0x13 | 0x14 | 0x16 | 0x18) {
        return None;
    }
    match rest {
        [b'U', b'L', 4, 0] => Some(Form::EXPLICIT_LITTLE),
        [b'C' | b'D' | b'T' | b'U', b'S' | b'A' | b'M' | b'I', length, 0] if length % 2 == 0 => {
            Some(Form::EXPLICIT_LITTLE)
        }
        [length, 0, 0, 0] if length % 2 == 0 => Some(Form::IMPLICIT_LITTLE),
        _ => None,
    }
}

/// A file's transfer syntax and the data set after its meta group.
pub(super) struct File {
    pub(super) syntax: TransferSyntax,
    /// Whether the elements are in another form than the transfer syntax states.
    pub(super) is_other_form: bool,
    form: Form,
    /// The file, or the inflated data set.
    bytes: Vec<u8>,
    /// Byte offset of the data set.
    start: usize,
    is_inflated: bool,
}

/// The pixel data's element and what tells its frames apart.
pub(super) struct PixelData {
    pub(super) pixels: Pixels,
    /// Offsets of the frames' fragments from the first fragment's item, each larger than the one before; empty where
    /// the file states none.
    offsets: Vec<u64>,
}

impl File {
    /// Reads the meta group, and inflates a deflated data set within `max_bytes` and what its own header states.
    pub(super) fn parse(bytes: Vec<u8>, max_bytes: u64) -> Result<File, DicomError> {
        let Some(meta) = part10(&bytes) else {
            let form = bare_form(&bytes)
                .ok_or_else(|| DicomError::unsupported("a DICOM file", format!("a file of {} bytes", bytes.len())))?;
            let syntax = TransferSyntax::of_form(form);
            return Ok(File { syntax, is_other_form: false, form, bytes, start: 0, is_inflated: false });
        };
        let Meta { syntax, end: start, .. } = Meta::read(&bytes, meta)?;
        let stated = syntax.form();
        // A data set that is not deflated although the syntax says so starts as any other.
        if syntax.is_deflated() && bare_form(&bytes[start..]).is_none() {
            let bytes = deflated::inflate(&bytes[start..], stated, max_bytes)?;
            let form = Form::of(&bytes, stated);
            return Ok(File { syntax, is_other_form: form != stated, form, bytes, start: 0, is_inflated: true });
        }
        let form = Form::of(&bytes[start..], stated);
        let is_other_form = syntax.is_stated() && (form != stated || syntax.is_deflated());
        Ok(File { syntax, is_other_form, form, bytes, start, is_inflated: false })
    }

    fn data_set(&self) -> DataSet<'_> {
        DataSet::new(&self.bytes, self.start, self.form, !self.is_inflated)
    }

    /// The elements of `tags` at the top level of the data set, before the pixel data.
    pub(super) fn elements(&self, tags: &[Tag]) -> Result<Elements<'_>, DicomError> {
        self.data_set().elements(tags).map_err(|error| match error {
            DicomError::BadHeader { field, expected, found } => DicomError::BadHeader {
                field,
                expected,
                found: format!("{found}, where the file states {}", self.syntax),
            },
            error => error,
        })
    }

    /// Byte offset of the file's end; `None` where the data set was deflated.
    pub(super) fn end(&self) -> Option<u64> {
        (!self.is_inflated).then_some(self.bytes.len() as u64)
    }

    /// Where the pixel data is; `None` where there is none.
    pub(super) fn pixel_data(&self) -> Result<Option<PixelData>, DicomError> {
        let elements = self.elements(&[EXTENDED_OFFSET_TABLE])?;
        let Some(pixels) = elements.pixels()? else { return Ok(None) };
        let mut offsets: Vec<u64> = elements.longs(EXTENDED_OFFSET_TABLE);
        if let (Pixels::Encapsulated { table, .. }, true) = (&pixels, offsets.is_empty()) {
            let words = self.bytes[table.0..table.1].as_chunks().0;
            offsets = words.iter().map(|word| u32::from_le_bytes(*word).into()).collect();
        }
        if offsets.windows(2).any(|pair| pair[0] >= pair[1]) {
            offsets.clear();
        }
        Ok(Some(PixelData { pixels, offsets }))
    }

    /// Bytes of the file, or of the inflated data set.
    pub(super) fn bytes(&self, start: usize, end: usize) -> &[u8] {
        &self.bytes[start..end]
    }

    /// The compressed stream of a frame, from 0, of `frames`.
    pub(super) fn frame_stream(
        &self,
        data: &PixelData,
        frame: usize,
        frames: usize,
    ) -> Result<Option<Cow<'_, [u8]>>, DicomError> {
        let Pixels::Encapsulated { fragments, .. } = &data.pixels else { return Ok(None) };
        let of_frame = if frames == 1 {
            &fragments[..]
        } else if fragments.len() == frames {
            &fragments[frame..=frame]
        } else if data.offsets.len() == frames {
            // Offsets count from the first fragment's item, whose header has 8 bytes.
            let first = fragments.first().map_or(0, |first| first.0);
            let at = |offset: u64| fragments.partition_point(|start| ((start.0 - first) as u64) < offset);
            let end = data.offsets.get(frame + 1).map_or(fragments.len(), |offset| at(*offset));
            &fragments[at(data.offsets[frame])..end]
        } else {
            let expected = "a fragment for each frame, or an offset table";
            let found = format!("{} fragments, {} offsets and {frames} frames", fragments.len(), data.offsets.len());
            return Err(DicomError::damaged(expected, found));
        };
        let part = |(start, end): &(usize, usize)| &self.bytes[*start..*end];
        Ok(Some(match of_frame {
            [fragment] => Cow::Borrowed(part(fragment)),
            fragments => Cow::Owned(fragments.iter().map(part).collect::<Vec<_>>().concat()),
        }))
    }
}

/// The kind of object (SOP class) by the meta group in a file's first bytes, and the data set there; `None` where the
/// file is not DICOM. No data set where it is deflated.
pub(super) fn first_part(head: &[u8]) -> Option<(Option<String>, Option<DataSet<'_>>)> {
    let Some(start) = part10(head) else {
        return bare_form(head).map(|form| (None, Some(DataSet::new(head, 0, form, true))));
    };
    let (Meta { syntax, sop_class, end }, whole) = Meta::read_first(head, start);
    let plain = whole.is_ok() && !syntax.is_deflated();
    let set = plain.then(|| DataSet::new(head, end, Form::of(&head[end..], syntax.form()), true));
    Some((sop_class, set))
}

/// The meta group of a file.
struct Meta {
    syntax: TransferSyntax,
    /// The kind of object in the file.
    sop_class: Option<String>,
    /// Byte offset of the data set.
    end: usize,
}

impl Meta {
    /// Reads the meta group, element by element to its end, since its stated length is often wrong. It is always
    /// explicit little-endian; elements without a VR are read too, as pydicom does.
    fn read(bytes: &[u8], start: usize) -> Result<Meta, DicomError> {
        let cut = |_| DicomError::LyingHeader {
            expected: bytes.len() as u64 + 1,
            found: bytes.len() as u64,
            offset: Some(bytes.len() as u64),
        };
        let (meta, end) = Meta::read_first(bytes, start);
        end.map_err(cut)?;
        Ok(meta)
    }

    /// As [`read`](Self::read), of the bytes that are there; the error says that the group is cut.
    fn read_first(bytes: &[u8], start: usize) -> (Meta, Result<(), ()>) {
        let mut meta = Meta { syntax: TransferSyntax::unstated(), sop_class: None, end: start };
        while bytes.get(meta.end..meta.end + 2) == Some(&[2, 0]) {
            let group = DataSet::new(bytes, meta.end, Form::EXPLICIT_LITTLE, true);
            let Some((tag, value, end)) = group.next_element() else { return (meta, Err(())) };
            match tag {
                Tag(_, 0x0002) => meta.sop_class = text(value).map(str::to_owned),
                Tag(_, 0x0010) => meta.syntax = TransferSyntax::of_uid(text(value)),
                _ => {}
            }
            meta.end = end;
        }
        (meta, Ok(()))
    }
}
