//! The elements of a data set, found one by one in the bytes of a file.
//!
//! Values are ranges of the file, and only those of the requested tags are kept, so that names, dates and descriptions
//! are skipped without being decoded, and no length in the file decides the size of an allocation. Sequences are
//! skipped by their length where they state one, and walked to their delimiter where they do not, to a bounded depth.
//!
//! - A value of VR UN and undefined length is a sequence in implicit VR little endian, whatever the data set's form
//!   (PS3.5 6.2.2). Where it can't be read so, it is read in the form of the data set, as older toolkits wrote it.
//! - The first element shows the form of a data set, as for pydicom and GDCM: a file may state another one.
//! - An element without a VR amid elements with one is implicit, as for pydicom.
//! - Markers of items and their ends are recognized in either byte order; an end that is missing before another marker
//!   is supplied.
//!
//! Own code, since dicom-parser 0.10.1 takes the undefined length of VR UN for a length of 4 GiB, gives no elements
//! within sequences without decoding all of them, and takes the form from its caller.
//!
//! Source: DICOM PS3.5, sections 6.2 (VRs), 7.1 (elements), 7.5 (sequences) and annex A.4 (fragments).

use std::collections::BTreeMap;

use super::error::DicomError;

/// The pixels, the last element that is read.
pub(super) const PIXEL_DATA: Tag = Tag(0x7fe0, 0x0010);

/// The size of the pixels.
pub(super) const NUMBER_OF_FRAMES: Tag = Tag(0x0028, 0x0008);
pub(super) const ROWS: Tag = Tag(0x0028, 0x0010);
pub(super) const COLUMNS: Tag = Tag(0x0028, 0x0011);
pub(super) const BITS_ALLOCATED: Tag = Tag(0x0028, 0x0100);

const ITEM: Tag = Tag(0xfffe, 0xe000);
const ITEM_END: Tag = Tag(0xfffe, 0xe00d);
const SEQUENCE_END: Tag = Tag(0xfffe, 0xe0dd);

/// Greater than any tag.
const NO_TAG: Tag = Tag(0xffff, 0xffff);

/// The length that stands for an end that a delimiter marks.
const UNDEFINED: u32 = u32::MAX;

/// Most sequences within each other. Structured reports, which nest deepest, have about 20.
const MAX_DEPTH: usize = 64;

/// Most items of a sequence, and fragments of pixel data: an item takes 8 bytes of a file and several times as much memory.
const MAX_ITEMS: usize = 1 << 20;

/// Longest text that is read, of which the standard allows 64 characters a value: texts are looked at once a frame.
pub(super) const LONGEST_TEXT: usize = 1024;

/// Group and element number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tag(pub(super) u16, pub(super) u16);

/// How elements are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    /// Whether each element has its VR.
    pub(super) explicit: bool,
    pub(super) big_endian: bool,
}

impl Form {
    pub(super) const IMPLICIT_LITTLE: Form = Form { explicit: false, big_endian: false };
    pub(super) const EXPLICIT_LITTLE: Form = Form { explicit: true, big_endian: false };
    pub(super) const EXPLICIT_BIG: Form = Form { explicit: true, big_endian: true };

    /// The form of a data set by its first element; `stated` where that shows nothing.
    pub(super) fn of(data: &[u8], stated: Form) -> Form {
        let Some([a, b, _, _, v, w]) = data.first_chunk() else { return stated };
        // The first groups have numbers below 256; read in the other byte order they are multiples of 256.
        let big_endian = match [*a, *b] {
            [0, 4..=255] => true,
            [4..=255, 0] => false,
            _ => stated.big_endian,
        };
        // As a length, two capital letters would be more than 16,000 bytes.
        Form { explicit: is_vr([*v, *w]), big_endian }
    }

    fn word(self, [a, b]: [u8; 2]) -> u16 {
        if self.big_endian { u16::from_be_bytes([a, b]) } else { u16::from_le_bytes([a, b]) }
    }

    fn tag_and_long(self, [a, b, c, d, e, f, g, h]: [u8; 8]) -> (Tag, u32) {
        let long = [e, f, g, h];
        let long = if self.big_endian { u32::from_be_bytes(long) } else { u32::from_le_bytes(long) };
        (Tag(self.word([a, b]), self.word([c, d])), long)
    }
}

fn is_vr(vr: [u8; 2]) -> bool {
    vr.iter().all(u8::is_ascii_uppercase)
}

/// Whether a VR's length has 16 bits: only those that the standard lists; all VRs that it adds later have 32.
fn is_short(vr: [u8; 2]) -> bool {
    const SHORT: &[u8] = b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US";
    SHORT.split(|byte| *byte == b' ').any(|short| short == vr)
}

/// Why elements can't be walked; offsets are those in the bytes of the file.
#[derive(Clone, Copy)]
enum Fault {
    /// No element or item at this offset.
    Broken(usize),
    /// A value that ends at this offset, beyond the data.
    Short(usize),
    /// Sequences within each other beyond [`MAX_DEPTH`].
    Deep,
    /// Items beyond [`MAX_ITEMS`].
    Many,
}

/// The header of an element.
struct Entry {
    tag: Tag,
    vr: [u8; 2],
    /// The form of what the value consists of.
    form: Form,
    start: usize,
    /// `None` where a delimiter marks the end.
    length: Option<usize>,
}

/// Elements one after the other, in a range of a file's bytes.
#[derive(Clone, Copy)]
pub(super) struct DataSet<'a> {
    /// The bytes of the file, or of the inflated data set.
    bytes: &'a [u8],
    start: usize,
    end: usize,
    form: Form,
    /// Whether the offsets are those in the file, so that errors state them.
    is_file: bool,
}

impl<'a> DataSet<'a> {
    /// The elements from byte `start` to the end. `is_file` says whether `bytes` are the file's, not inflated ones.
    pub(super) fn new(bytes: &'a [u8], start: usize, form: Form, is_file: bool) -> DataSet<'a> {
        DataSet { bytes, start, end: bytes.len(), form, is_file }
    }

    /// The elements of `tags`, and where the pixel data starts.
    ///
    /// # Errors
    /// [`DicomError::BadHeader`] where there is no element where one is due, [`DicomError::LyingHeader`] where a value
    /// ends beyond the data.
    pub(super) fn elements(&self, tags: &[Tag]) -> Result<Elements<'a>, DicomError> {
        self.find(tags, PIXEL_DATA).map_err(|fault| self.error(fault))
    }

    /// As [`elements`](Self::elements), of an item, in which pixel data is an element as others.
    pub(super) fn all_elements(&self, tags: &[Tag]) -> Result<Elements<'a>, DicomError> {
        self.find(tags, NO_TAG).map_err(|fault| self.error(fault))
    }

    /// As [`elements`](Self::elements), of the elements before the first whose tag is `until` or greater; what follows may be cut.
    pub(super) fn elements_before(&self, tags: &[Tag], until: Tag) -> Result<Elements<'a>, DicomError> {
        self.find(tags, until).map_err(|fault| self.error(fault))
    }

    /// As [`elements`](Self::elements), of the elements before the first that is cut or broken.
    pub(super) fn first_elements(&self, tags: &[Tag]) -> Elements<'a> {
        let mut found = Elements { values: BTreeMap::new(), set: *self, pixels_at: None };
        // What comes behind a cut is not asked.
        let _ = self.find_into(&mut found, tags, PIXEL_DATA);
        found
    }

    /// The first element: its tag, its value and the offset behind it; `None` where it is cut or of undefined length.
    pub(super) fn next_element(&self) -> Option<(Tag, &'a [u8], usize)> {
        let entry = self.entry(self.start).ok()?;
        let end = entry.start + entry.length?;
        Some((entry.tag, self.bytes.get(entry.start..end)?, end))
    }

    fn find(&self, tags: &[Tag], until: Tag) -> Result<Elements<'a>, Fault> {
        let mut found = Elements { values: BTreeMap::new(), set: *self, pixels_at: None };
        self.find_into(&mut found, tags, until)?;
        Ok(found)
    }

    /// Adds the elements of `tags` before the first whose tag is `until` or greater.
    fn find_into(&self, found: &mut Elements<'a>, tags: &[Tag], until: Tag) -> Result<(), Fault> {
        let mut at = self.start;
        while at < self.end {
            if self.bytes[at..self.end].iter().take(4).all(|byte| *byte == 0) {
                // No element of a file has this tag, but some writers fill a file up with zeros.
                let filled = self.bytes[at..self.end].iter().all(|byte| *byte == 0);
                return if filled { Ok(()) } else { Err(Fault::Broken(at)) };
            }
            let entry = self.entry(at)?;
            if matches!(entry.tag, ITEM_END | SEQUENCE_END) {
                // Left over behind a sequence that stated its length.
                at = entry.start;
                continue;
            }
            if entry.tag >= until {
                found.pixels_at = (entry.tag == PIXEL_DATA).then_some(at);
                break;
            }
            at = self.end_of(&entry, 0)?;
            if tags.contains(&entry.tag) {
                found.values.insert(entry.tag, (entry, at));
            }
        }
        Ok(())
    }

    /// The header of the element at an offset.
    fn entry(&self, at: usize) -> Result<Entry, Fault> {
        let bytes = self.bytes.get(at..self.end).ok_or(Fault::Broken(at))?;
        let head: [u8; 8] = *bytes.first_chunk().ok_or(Fault::Broken(at))?;
        let (tag, long) = self.form.tag_and_long(head);
        let vr = [head[4], head[5]];
        let length_of = |long: u32| (long != UNDEFINED).then_some(long as usize);
        let with_vr = self.form.explicit && tag.0 != ITEM.0 && (is_vr(vr) || vr == *b"??");
        if !with_vr {
            let form = Form { explicit: false, ..self.form };
            return Ok(Entry { tag, vr: [0; 2], form, start: at + 8, length: length_of(long) });
        }
        let form = if vr == *b"UN" { Form::IMPLICIT_LITTLE } else { self.form };
        // Of an unknown VR, bytes that the standard reserves as zeros are a length where they are not.
        let known_long = matches!(&vr, b"OB" | b"OD" | b"OF" | b"OL" | b"OV" | b"OW" | b"SQ" | b"UN" | b"UC" | b"UT");
        let short = is_short(vr) || (!known_long && head[6..] != [0, 0]);
        if short {
            let length = Some(usize::from(self.form.word([head[6], head[7]])));
            return Ok(Entry { tag, vr, form, start: at + 8, length });
        }
        let wide: [u8; 8] = *bytes.get(4..).and_then(<[u8]>::first_chunk).ok_or(Fault::Broken(at))?;
        Ok(Entry { tag, vr, form, start: at + 12, length: length_of(self.form.tag_and_long(wide).1) })
    }

    /// The offset behind an element's value and its delimiter.
    fn end_of(&self, entry: &Entry, depth: usize) -> Result<usize, Fault> {
        if let Some(length) = entry.length {
            let end = entry.start + length;
            return if end <= self.end { Ok(end) } else { Err(Fault::Short(end)) };
        }
        let end = DataSet { start: entry.start, form: entry.form, ..*self }.items_end(None, depth + 1, None);
        if end.is_err() && entry.vr == *b"UN" {
            // No UN is within implicit elements, so the first attempt takes a time linear in the size, at each depth.
            return DataSet { start: entry.start, ..*self }.items_end(None, depth + 1, None).or(end);
        }
        end
    }

    /// The offset behind the items that start here: `stop`, or behind the delimiter of the sequence. Adds each item's
    /// contents to `items`.
    fn items_end(
        &self,
        stop: Option<usize>,
        depth: usize,
        mut items: Option<&mut Vec<DataSet<'a>>>,
    ) -> Result<usize, Fault> {
        if depth > MAX_DEPTH {
            return Err(Fault::Deep);
        }
        let mut at = self.start;
        loop {
            if stop.is_some_and(|stop| at >= stop) {
                return Ok(at);
            }
            let head: [u8; 8] = *self.bytes.get(at..self.end).and_then(<[u8]>::first_chunk).ok_or(Fault::Broken(at))?;
            let form = Form { big_endian: head[0] == 0xff, ..self.form };
            let start = at + 8;
            let item = match form.tag_and_long(head) {
                (ITEM, UNDEFINED) => {
                    let (end, next) = DataSet { start, form, ..*self }.item_end(depth)?;
                    at = next;
                    DataSet { start, end, form, ..*self }
                }
                (ITEM, length) => {
                    let end = start + length as usize;
                    if end > self.end {
                        return Err(Fault::Short(end));
                    }
                    at = end;
                    DataSet { start, end, form, ..*self }
                }
                (SEQUENCE_END, _) => return Ok(start),
                (ITEM_END, _) => {
                    at = start;
                    continue;
                }
                _ => return Err(Fault::Broken(at)),
            };
            if let Some(items) = &mut items {
                if items.len() == MAX_ITEMS {
                    return Err(Fault::Many);
                }
                items.push(item);
            }
        }
    }

    /// Where the contents of an item of undefined length end, and the offset behind its delimiter.
    fn item_end(&self, depth: usize) -> Result<(usize, usize), Fault> {
        let mut at = self.start;
        loop {
            let entry = self.entry(at)?;
            match entry.tag {
                ITEM_END => return Ok((at, entry.start)),
                ITEM | SEQUENCE_END => return Ok((at, at)),
                _ => at = self.end_of(&entry, depth)?,
            }
        }
    }

    fn error(&self, fault: Fault) -> DicomError {
        const EXPECTED: &str = "elements as PS3.5 lays them out";
        match fault {
            Fault::Broken(at) => DicomError::bad("data set", EXPECTED, format!("none at byte {at}")),
            Fault::Deep => DicomError::bad("data set", EXPECTED, format!("more than {MAX_DEPTH} nested sequences")),
            Fault::Many => DicomError::bad("data set", EXPECTED, format!("more than {MAX_ITEMS} items of a sequence")),
            Fault::Short(end) => {
                let (expected, found) = (end as u64, self.bytes.len() as u64);
                DicomError::LyingHeader { expected, found, offset: self.is_file.then_some(found) }
            }
        }
    }
}

/// The requested elements, as the file stores them.
pub(super) struct Elements<'a> {
    /// With the offset behind the element.
    values: BTreeMap<Tag, (Entry, usize)>,
    set: DataSet<'a>,
    /// Where the pixel data's element starts.
    pixels_at: Option<usize>,
}

/// Where the pixel data is, as ranges of the bytes of a [`DataSet`].
pub(super) enum Pixels {
    /// Uncompressed samples; `words` where the element consists of 16-bit words; `missing` bytes are cut off.
    Native { start: usize, end: usize, words: bool, big_endian: bool, missing: usize },
    /// Compressed data: the offset table, which may be empty, and the fragments. Each as start and end.
    Encapsulated { table: (usize, usize), fragments: Vec<(usize, usize)> },
}

impl<'a> Elements<'a> {
    /// Where the pixel data is.
    pub(super) fn pixels(&self) -> Result<Option<Pixels>, DicomError> {
        let Some(at) = self.pixels_at else { return Ok(None) };
        self.pixels_from(at).map(Some).map_err(|fault| self.set.error(fault))
    }

    fn pixels_from(&self, at: usize) -> Result<Pixels, Fault> {
        let entry = self.set.entry(at)?;
        if let Some(length) = entry.length {
            let end = (entry.start + length).min(self.set.end);
            let missing = entry.start + length - end;
            let (words, big_endian) = (entry.vr != *b"OB", entry.form.big_endian);
            return Ok(Pixels::Native { start: entry.start, end, words, big_endian, missing });
        }
        let mut items = Vec::new();
        DataSet { start: entry.start, form: entry.form, ..self.set }.items_end(None, 1, Some(&mut items))?;
        let mut ranges = items.iter().map(|item| (item.start, item.end));
        let table = ranges.next().unwrap_or((entry.start, entry.start));
        Ok(Pixels::Encapsulated { table, fragments: ranges.collect() })
    }

    /// The items of a sequence; none where it is absent.
    pub(super) fn items(&self, tag: Tag) -> Result<Vec<DataSet<'a>>, DicomError> {
        let mut items = Vec::new();
        if let Some((entry, end)) = self.values.get(&tag) {
            let stop = entry.length.map(|_| *end);
            let value = DataSet { start: entry.start, end: *end, form: entry.form, ..self.set };
            let found = value.items_end(stop, 1, Some(&mut items));
            if found.is_err() && entry.vr == *b"UN" {
                items.clear();
                let value = DataSet { form: self.set.form, ..value };
                value.items_end(stop, 1, Some(&mut items)).map_err(|fault| self.set.error(fault))?;
            } else {
                found.map_err(|fault| self.set.error(fault))?;
            }
        }
        Ok(items)
    }

    /// The elements of `tags` in the first item of a sequence; `None` where there is none.
    pub(super) fn first_item(&self, sequence: Tag, tags: &[Tag]) -> Result<Option<Elements<'a>>, DicomError> {
        self.items(sequence)?.first().map(|item| item.all_elements(tags)).transpose()
    }

    /// The bytes of a value as they are, with its padding.
    pub(super) fn value(&self, tag: Tag) -> Option<&'a [u8]> {
        let (entry, end) = self.values.get(&tag)?;
        Some(&self.set.bytes[entry.start..*end])
    }

    /// A text element without its padding; `None` where it is absent, empty, longer than 1024 bytes or not ASCII (all
    /// elements that are read here are ASCII).
    pub(super) fn text(&self, tag: Tag) -> Option<&'a str> {
        self.value(tag).and_then(text)
    }

    /// The `n`-th of the values of a text element, from 0; `None` where there is none or it is empty.
    pub(super) fn term(&self, tag: Tag, n: usize) -> Option<&'a str> {
        self.text(tag)?.split('\\').nth(n).map(str::trim).filter(|term| !term.is_empty())
    }

    /// A 16-bit element (US, or SS by its bits); its first value where there are several.
    pub(super) fn word(&self, tag: Tag) -> Option<u16> {
        let (entry, _) = self.values.get(&tag)?;
        Some(entry.form.word(*self.value(tag)?.first_chunk()?))
    }

    /// As [`word`](Self::word), of an element that has this one value.
    pub(super) fn only_word(&self, tag: Tag) -> Option<u16> {
        self.word(tag).filter(|_| self.value(tag).is_some_and(|value| value.len() == 2))
    }

    /// A list of 64-bit integers (OV); empty where it is absent.
    pub(super) fn longs(&self, tag: Tag) -> Vec<u64> {
        let big_endian = self.values.get(&tag).is_some_and(|(entry, _)| entry.form.big_endian);
        let longs = self.value(tag).unwrap_or_default().as_chunks().0.iter();
        longs.map(|long| if big_endian { u64::from_be_bytes(*long) } else { u64::from_le_bytes(*long) }).collect()
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
        let not_numbers = || DicomError::bad(field, "finite decimal numbers", "text that is none");
        let Some(text) = self.text(tag) else {
            let is_empty = self.value(tag).is_none_or(|value| value.iter().all(|byte| matches!(byte, b' ' | 0)));
            return if is_empty { Ok(None) } else { Err(not_numbers()) };
        };
        let mut numbers = [0.0; N];
        let mut count = 0;
        for part in text.split('\\') {
            let number = part.trim().parse::<f64>().ok().filter(|number| number.is_finite());
            let number = number.ok_or_else(not_numbers)?;
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

/// A text value without its padding; `None` where it is empty, longer than 1024 bytes or not ASCII.
pub(super) fn text(value: &[u8]) -> Option<&str> {
    let text = Some(value).filter(|value| value.len() <= LONGEST_TEXT)?;
    let text = std::str::from_utf8(text).ok().filter(|text| text.is_ascii())?;
    Some(text.trim_matches([' ', '\0'])).filter(|text| !text.is_empty())
}
