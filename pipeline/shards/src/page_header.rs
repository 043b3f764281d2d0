//! The header of a page.

use crate::thrift::{Compact, kind};

/// What a page holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Levels and values, compressed together.
    Data,
    /// Values that others refer to by number.
    Dictionary,
    /// Nothing that is read.
    Index,
}

/// The header of a page of a kind that shards have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageHeader {
    pub(crate) kind: Kind,
    /// Bytes when unfolded.
    pub(crate) unfolded: usize,
    /// Bytes in the file.
    pub(crate) stored: u64,
    /// Values, nulls included.
    pub(crate) values: u32,
    /// The format's numbers of encodings.
    pub(crate) encoding: i32,
    pub(crate) definition_levels: i32,
    pub(crate) repetition_levels: i32,
}

impl PageHeader {
    /// The header that the bytes start with, and how many it has; `None` for anything else.
    pub(crate) fn parse(bytes: &[u8]) -> Option<(PageHeader, usize)> {
        let mut compact = Compact::new(bytes);
        let (mut page, mut unfolded, mut stored) = (None, None, None);
        // Values, encoding, definition levels, repetition levels.
        let (mut data, mut dictionary) = ([None; 4], [None; 4]);
        compact.fields(|compact, number, kind| {
            match (number, kind) {
                (1, kind::I32) => page = Some(compact.i32()?),
                (2, kind::I32) => unfolded = Some(compact.i32()?),
                (3, kind::I32) => stored = Some(compact.i32()?),
                (5, kind::STRUCT) => numbers(compact, &mut data)?,
                (7, kind::STRUCT) => numbers(compact, &mut dictionary)?,
                _ => return Some(false),
            }
            Some(true)
        })?;
        let (kind, [values, encoding, definition_levels, repetition_levels]) = match page? {
            0 => (Kind::Data, data),
            1 => (Kind::Index, [Some(0); 4]),
            2 => (Kind::Dictionary, [dictionary[0], dictionary[1], Some(3), Some(3)]),
            _ => return None,
        };
        let header = PageHeader {
            kind,
            unfolded: usize::try_from(unfolded?).ok()?,
            stored: u64::try_from(stored?).ok()?,
            values: u32::try_from(values?).ok()?,
            encoding: encoding?,
            definition_levels: definition_levels?,
            repetition_levels: repetition_levels?,
        };
        Some((header, compact.position()))
    }
}

fn numbers(compact: &mut Compact<'_>, found: &mut [Option<i32>; 4]) -> Option<()> {
    compact.fields(|compact, number, kind| {
        let slot = usize::try_from(number - 1).ok().and_then(|at| found.get_mut(at));
        match slot {
            Some(slot) if kind == kind::I32 => *slot = Some(compact.i32()?),
            _ => return Some(false),
        }
        Some(true)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A data page of 300 values as PLAIN, 1,000 bytes in 100, and levels as RLE.
    const HEADER: [u8; 18] =
        [0x15, 0, 0x15, 0xd0, 0x0f, 0x15, 0xc8, 0x01, 0x2c, 0x15, 0xd8, 0x04, 0x15, 0, 0x15, 6, 0x15, 6];

    #[test]
    fn a_header_is_read_and_its_every_cut_refused() {
        let whole = [HEADER.as_slice(), &[0, 0]].concat();
        let expected = PageHeader {
            kind: Kind::Data,
            unfolded: 1000,
            stored: 100,
            values: 300,
            encoding: 0,
            definition_levels: 3,
            repetition_levels: 3,
        };
        assert_eq!(PageHeader::parse(&whole), Some((expected, whole.len())));
        (0..whole.len()).for_each(|cut| assert_eq!(PageHeader::parse(&whole[..cut]), None));
        // A negative size; a page of the second version.
        for (at, byte) in [(3, 0xd1), (1, 6)] {
            let mut other = whole.clone();
            other[at] = byte;
            assert_eq!(PageHeader::parse(&other), None);
        }
        // Structs in structs without end.
        assert_eq!(PageHeader::parse(&[0x9c; 100_000]), None);
    }
}
