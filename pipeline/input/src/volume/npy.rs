//! NumPy arrays (`.npy`): prepared volumes such as M3D's, one array in each file, values unchanged.
//!
//! The header is a Python dictionary literal. Only the form that `numpy.save` writes is read: the three known keys with
//! a string, a boolean and a tuple of numbers. Nothing is evaluated, and arrays of Python objects, which are pickles,
//! are refused.
//!
//! Source: NumPy's format description (`numpy/lib/format.py`, versions 1.0 to 3.0).

use std::path::Path;

use super::buffers::Buffers;
use super::magic;
use super::source::{Extent, NumberType, Source};
use super::{Arrangement, ReadLimits, Rescale, Volume, VolumeReader};
use crate::error::InputError;

/// The first bytes of every `.npy` file.
const MAGIC: &[u8] = b"\x93NUMPY";

/// Longest dictionary that is read, the limit of `numpy.load`; a plain array's takes about 100 bytes.
const LONGEST_DICTIONARY: usize = 10_000;

/// Reads `.npy` files with an array of shape (D, H, W) or (1, D, H, W).
#[derive(Clone, Debug, Default)]
pub struct NpyReader {
    buffers: Buffers,
}

impl NpyReader {
    /// A reader whose volumes take their memory from a pool and return it there.
    pub fn with_buffers(buffers: &Buffers) -> NpyReader {
        NpyReader { buffers: buffers.clone() }
    }
}

/// Whether the bytes start as a `.npy` file does.
pub(super) fn is_npy(head: &[u8]) -> bool {
    head.starts_with(MAGIC)
}

impl VolumeReader for NpyReader {
    /// Spacing and orientation are unknown. Memory: the array.
    fn read(&self, path: &Path, limits: &ReadLimits) -> Result<Volume, InputError> {
        let mut source = Source::open(path, limits, &self.buffers)?;
        let head = source.head(12 + LONGEST_DICTIONARY)?;
        let header = Header::parse(path, &head)?;
        let shape_dhw = header.shape_dhw(path)?;
        let count = shape_dhw.iter().try_fold(1_u64, |count, dim| count.checked_mul(*dim as u64));
        let Some(count) = count else {
            return Err(bad(path, "shape", "fewer than 2^64 numbers", format!("{shape_dhw:?}")));
        };
        let (number_type, big_endian) = header.number_type(path)?;
        let extent = Extent { start: header.data_start as u64, count, number_type, big_endian };
        let samples = source.samples(&extent, limits, &self.buffers)?;
        let arrangement = if header.fortran_order { Arrangement::WHD } else { Arrangement::DHW };
        Ok(Volume { arrangement, ..Volume::plain(path, shape_dhw, samples, Rescale::IDENTITY) })
    }
}

/// The contents of the dictionary.
struct Header {
    descr: String,
    fortran_order: bool,
    shape: Vec<usize>,
    /// Byte offset at which the numbers start.
    data_start: usize,
}

impl Header {
    fn parse(path: &Path, head: &[u8]) -> Result<Header, InputError> {
        if !is_npy(head) {
            let (expected, found) = ("a .npy file", magic::found(head));
            return Err(InputError::UnsupportedFormat { path: path.to_owned(), expected, found });
        }
        let short = || bad(path, "header", "a whole dictionary", format!("the file's end after {} bytes", head.len()));
        let (length, start) = match head.get(6..8).ok_or_else(short)? {
            [1, 0] => {
                let length: [u8; 2] = head.get(8..10).ok_or_else(short)?.try_into().expect("two bytes");
                (usize::from(u16::from_le_bytes(length)), 10)
            }
            [2 | 3, 0] => {
                let length: [u8; 4] = head.get(8..12).ok_or_else(short)?.try_into().expect("four bytes");
                (u32::from_le_bytes(length) as usize, 12)
            }
            version => return Err(bad(path, "version", "1.0, 2.0 or 3.0", format!("{}.{}", version[0], version[1]))),
        };
        if length > LONGEST_DICTIONARY {
            return Err(bad(path, "header length", "at most 10000 bytes", length.to_string()));
        }
        let text = head.get(start..start + length).ok_or_else(short)?;
        let wrong = || {
            let expected = "descr, fortran_order and shape of one plain array";
            bad(path, "header", expected, format!("{length} bytes of another form"))
        };
        let text = str::from_utf8(text).map_err(|_| wrong())?;
        let (descr, fortran_order, shape) = Dictionary { rest: text }.read().ok_or_else(wrong)?;
        Ok(Header { descr, fortran_order, shape, data_start: start + length })
    }

    fn shape_dhw(&self, path: &Path) -> Result<[usize; 3], InputError> {
        match self.shape[..] {
            [d, h, w] | [1, d, h, w] if ![d, h, w].contains(&0) => Ok([d, h, w]),
            _ => {
                let expected = "an array of shape (D, H, W) or (1, D, H, W)";
                let found = match self.shape.len() {
                    axes @ 0..=8 => format!("shape {:?} of {axes} axes", self.shape),
                    axes => format!("{axes} axes"),
                };
                Err(InputError::UnsupportedFormat { path: path.to_owned(), expected, found })
            }
        }
    }

    /// The number type and whether it is big-endian.
    fn number_type(&self, path: &Path) -> Result<(NumberType, bool), InputError> {
        let unsupported = |found: String| {
            let expected = "numbers of type b1, u1 to u8, i1 to i8, f2, f4 or f8";
            Err(InputError::UnsupportedFormat { path: path.to_owned(), expected, found })
        };
        let descr = self.descr.as_str();
        let (big_endian, code) = match descr.as_bytes().first() {
            Some(b'>') => (true, &descr[1..]),
            Some(b'<' | b'|') => (false, &descr[1..]),
            Some(b'=') => (cfg!(target_endian = "big"), &descr[1..]),
            _ => (cfg!(target_endian = "big"), descr),
        };
        let number_type = match code {
            "u1" | "b1" => NumberType::U8,
            "i1" => NumberType::I8,
            "u2" => NumberType::U16,
            "i2" => NumberType::I16,
            "u4" => NumberType::U32,
            "i4" => NumberType::I32,
            "u8" => NumberType::U64,
            "i8" => NumberType::I64,
            "f2" => NumberType::F16,
            "f4" => NumberType::F32,
            "f8" => NumberType::F64,
            code if code.starts_with('O') => return unsupported("Python objects".to_owned()),
            // Type codes are short; longer text is not repeated in the message.
            code if code.len() <= 4 && code.is_ascii() => return unsupported(format!("type {code}")),
            _ => return unsupported("another type".to_owned()),
        };
        Ok((number_type, big_endian))
    }
}

fn bad(path: &Path, field: &'static str, expected: &'static str, found: String) -> InputError {
    InputError::BadHeader { path: path.to_owned(), field, expected, found }
}

/// A parser of the header's dictionary.
struct Dictionary<'a> {
    rest: &'a str,
}

impl<'a> Dictionary<'a> {
    fn read(mut self) -> Option<(String, bool, Vec<usize>)> {
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        self.take("{")?;
        while !self.has("}") {
            let key = self.string()?;
            self.take(":")?;
            // A key must not be repeated.
            let first = match key {
                "descr" => descr.replace(self.string()?.to_owned()).is_none(),
                "fortran_order" => fortran_order.replace(self.boolean()?).is_none(),
                "shape" => shape.replace(self.tuple()?).is_none(),
                _ => false,
            };
            if !first || !self.has(",") && !self.rest.trim_start().starts_with('}') {
                return None;
            }
        }
        self.rest.trim().is_empty().then_some(())?;
        Some((descr?, fortran_order?, shape?))
    }

    /// Whether `token` comes next; if so, skips it.
    fn has(&mut self, token: &str) -> bool {
        let rest = self.rest.trim_start().strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn take(&mut self, token: &str) -> Option<()> {
        self.has(token).then_some(())
    }

    fn string(&mut self) -> Option<&'a str> {
        let rest = self.rest.trim_start();
        let quote = rest.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
        let (text, rest) = rest[1..].split_once(quote)?;
        self.rest = rest;
        // No string that is supported has an escape.
        (!text.contains('\\')).then_some(text)
    }

    fn boolean(&mut self) -> Option<bool> {
        if self.has("True") { Some(true) } else { self.take("False").map(|()| false) }
    }

    fn tuple(&mut self) -> Option<Vec<usize>> {
        self.take("(")?;
        let mut numbers = Vec::new();
        while !self.has(")") {
            let rest = self.rest.trim_start();
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            numbers.push(rest[..digits].parse().ok()?);
            self.rest = &rest[digits..];
            // Python 2 wrote long integers with this suffix.
            self.has("L");
            if !self.has(",") && !self.rest.trim_start().starts_with(')') {
                return None;
            }
        }
        Some(numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(String, bool, Vec<usize>)> {
        Dictionary { rest: text }.read()
    }

    #[test]
    fn only_dictionaries_that_numpy_writes_are_parsed() {
        let plain = read("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 32, 256, 256), }   \n");
        assert_eq!(plain, Some(("<f4".to_owned(), false, vec![1, 32, 256, 256])));
        let other = read("{\"shape\":(3L,),\"fortran_order\":True,\"descr\":\"|u1\"}");
        assert_eq!(other, Some(("|u1".to_owned(), true, vec![3])));
        assert_eq!(read("{'descr': '<f4', 'fortran_order': True, 'shape': ()}").unwrap().2, Vec::<usize>::new());
        for wrong in [
            "",
            "{",
            "{'descr': '<f4', 'fortran_order': False}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2, 3)} more",
            "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1, 2, 3)}",
            "{'descr': '<f4' 'fortran_order': False, 'shape': (1, 2, 3)}",
            "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1, 2, 3)}",
            "{'descr': '<f4', 'fortran_order': 0, 'shape': (1, 2, 3)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (1, -2, 3)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 99999999999999999999, 3)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (1, , 3)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (1 2 3)}",
            "{'descr': __import__('os'), 'fortran_order': False, 'shape': (1, 2, 3)}",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
