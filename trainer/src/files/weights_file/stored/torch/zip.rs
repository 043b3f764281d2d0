//! The directory of a zip archive whose entries are all stored, as torch writes it; with zip64, since weights pass 4 GB.
//!
//! Every other feature of zip is refused, so this is small. The crates for zip bring what never occurs here (codecs,
//! encryption), and take the last of two entries with one name. Checksums of entries are not computed: that would
//! read every byte twice.

use std::collections::BTreeMap;
use std::ops::Range;

use super::super::StoredError;

/// How a file with at least one entry begins.
pub(super) const MAGIC: [u8; 4] = *b"PK\x03\x04";

const CENTRAL: [u8; 4] = *b"PK\x01\x02";
const END: [u8; 4] = *b"PK\x05\x06";
const END64: [u8; 4] = *b"PK\x06\x06";
const LOCATOR64: [u8; 4] = *b"PK\x06\x07";

const LOCAL_LEN: usize = 30;
const CENTRAL_LEN: usize = 46;
const END_LEN: usize = 22;
const END64_LEN: usize = 56;
const LOCATOR64_LEN: usize = 20;

/// Encrypted, strongly encrypted, or with a hidden directory.
const ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;

/// Id of the extra field with 64-bit sizes.
const ZIP64_FIELD: u16 = 1;

/// An entry of the directory.
struct Entry {
    name: String,
    header: usize,
    length: usize,
}

/// The range of each entry's bytes in the file, by name.
pub(super) fn read(file: &[u8]) -> Result<BTreeMap<String, Range<usize>>, StoredError> {
    let directory = directory(file)?;
    let mut entries = entries(file, &directory)?;
    entries.sort_by_key(|entry| entry.header);
    let mut ranges = BTreeMap::new();
    let mut free = 0;
    for entry in entries {
        if entry.header < free {
            return Err(refused(&entry.name, "bytes of its own", "bytes of the entry before it".into()));
        }
        let range = data(file, &entry)?;
        if range.end > directory.bytes.start {
            let found = format!("bytes {range:?}, directory at {}", directory.bytes.start);
            return Err(refused(&entry.name, "bytes before the directory", found));
        }
        free = range.end;
        if ranges.contains_key(&entry.name) {
            return Err(refused(&entry.name, "one entry of this name", "another one".into()));
        }
        ranges.insert(entry.name, range);
    }
    Ok(ranges)
}

fn refused(entry: &str, expected: &'static str, found: String) -> StoredError {
    StoredError::Entry { entry: entry.to_owned(), expected, found }
}

fn damaged(expected: &'static str, found: String) -> StoredError {
    StoredError::Archive { expected, found }
}

/// The central directory: its bytes and how many entries it holds.
struct Directory {
    bytes: Range<usize>,
    count: u64,
}

fn directory(file: &[u8]) -> Result<Directory, StoredError> {
    let cut = || damaged("an archive with its directory at the end", "no directory; the file may be cut short".into());
    // A comment may follow; the end record states its length.
    let first = file.len().saturating_sub(END_LEN + usize::from(u16::MAX));
    let is_end = |&at: &usize| {
        file[at..].starts_with(&END)
            && u16_at(file, at + 20).is_some_and(|n| at + END_LEN + usize::from(n) == file.len())
    };
    let end = (first..=file.len().saturating_sub(END_LEN)).rev().find(is_end).ok_or_else(cut)?;
    let short = |at: usize| u16_at(file, end + at).ok_or_else(cut);
    let long = |at: usize| u32_at(file, end + at).ok_or_else(cut);
    let (mut disk, mut count, mut size, mut start) =
        (u32::from(short(4)?), u64::from(short(10)?), u64::from(long(12)?), u64::from(long(16)?));
    let mut limit = end;
    let locator = end.checked_sub(LOCATOR64_LEN).filter(|&at| file[at..].starts_with(&LOCATOR64));
    if let Some(locator) = locator {
        let at = u64_at(file, locator + 8).and_then(|at| usize::try_from(at).ok());
        let fits = |&at: &usize| at <= locator.saturating_sub(END64_LEN) && file[at..].starts_with(&END64);
        let at = at.filter(fits).ok_or_else(cut)?;
        disk = u32_at(file, at + 16).ok_or_else(cut)?;
        count = u64_at(file, at + 32).ok_or_else(cut)?;
        size = u64_at(file, at + 40).ok_or_else(cut)?;
        start = u64_at(file, at + 48).ok_or_else(cut)?;
        limit = at;
    }
    if disk != 0 {
        return Err(damaged("an archive in one file", format!("part {disk} of several")));
    }
    let stop = start.checked_add(size).filter(|&stop| stop <= limit as u64);
    let stop = stop.ok_or_else(|| {
        damaged("a directory within the file", format!("{size} bytes at {start} of {} bytes", file.len()))
    })?;
    Ok(Directory { bytes: start as usize..stop as usize, count })
}

fn entries(file: &[u8], directory: &Directory) -> Result<Vec<Entry>, StoredError> {
    let bytes = &file[directory.bytes.clone()];
    let cut = |at: usize| damaged("a directory of entries", format!("something else at byte {at} of it"));
    let (mut at, mut entries) = (0, Vec::new());
    while at < bytes.len() {
        if !bytes[at..].starts_with(&CENTRAL) {
            return Err(cut(at));
        }
        let short = |field: usize| u16_at(bytes, at + field).ok_or_else(|| cut(at));
        let long = |field: usize| u32_at(bytes, at + field).ok_or_else(|| cut(at));
        let (flags, method, disk) = (short(8)?, short(10)?, short(34)?);
        let [name_len, extra_len, comment_len] = [short(28)?, short(30)?, short(32)?].map(usize::from);
        let (mut packed, mut length, mut header) = (u64::from(long(20)?), u64::from(long(24)?), u64::from(long(42)?));
        let (name_at, extra_at) = (at + CENTRAL_LEN, at + CENTRAL_LEN + name_len);
        let name = bytes.get(name_at..extra_at).ok_or_else(|| cut(at))?;
        let extra = bytes.get(extra_at..extra_at + extra_len).ok_or_else(|| cut(at))?;
        let name = std::str::from_utf8(name).map_err(|_| cut(at))?.to_owned();
        // Only the numbers that do not fit 32 bits are in the extra field, in this order.
        let mut wide = zip64(extra).into_iter();
        for number in [&mut length, &mut packed, &mut header] {
            if *number == u64::from(u32::MAX) {
                let missing = || refused(&name, "its 64-bit sizes", "none in its extra field".into());
                *number = wide.next().ok_or_else(missing)?;
            }
        }
        if flags & ENCRYPTED != 0 {
            return Err(refused(&name, "a stored entry", "an encrypted one".into()));
        }
        if method != 0 || packed != length {
            return Err(refused(&name, "a stored entry", format!("one compressed by method {method}")));
        }
        if disk != 0 {
            return Err(refused(&name, "an archive in one file", format!("an entry in part {disk}")));
        }
        let inside = |n: u64| usize::try_from(n).ok().filter(|&n| n <= file.len());
        let (Some(header), Some(length)) = (inside(header), inside(length)) else {
            return Err(refused(&name, "bytes within the file", format!("{length} bytes at {header}")));
        };
        entries.push(Entry { name, header, length });
        at = extra_at + extra_len + comment_len;
    }
    if at != bytes.len() || entries.len() as u64 != directory.count {
        return Err(damaged("a directory of the stated length", format!("{} entries", entries.len())));
    }
    Ok(entries)
}

/// The numbers of a zip64 extra field.
fn zip64(mut extra: &[u8]) -> Vec<u64> {
    while let (Some(id), Some(length)) = (u16_at(extra, 0), u16_at(extra, 2)) {
        let Some(field) = extra.get(4..4 + usize::from(length)) else { break };
        if id == ZIP64_FIELD {
            return (0..field.len() / 8).filter_map(|n| u64_at(field, 8 * n)).collect();
        }
        extra = &extra[4 + usize::from(length)..];
    }
    Vec::new()
}

/// The range of an entry's bytes: after its own header, which must agree with the directory.
fn data(file: &[u8], entry: &Entry) -> Result<Range<usize>, StoredError> {
    let other = || refused(&entry.name, "its own header", format!("something else at byte {}", entry.header));
    if !file[entry.header..].starts_with(&MAGIC) {
        return Err(other());
    }
    let number = |field: usize| u16_at(file, entry.header + field).ok_or_else(other);
    let name_at = entry.header + LOCAL_LEN;
    let extra_at = name_at + usize::from(number(26)?);
    if number(8)? != 0 || file.get(name_at..extra_at) != Some(entry.name.as_bytes()) {
        return Err(other());
    }
    // Padding that aligns the data is an extra field too.
    let start = extra_at + usize::from(number(28)?);
    let range = start..start + entry.length;
    file.get(range.clone()).map(|_| range).ok_or_else(other)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
