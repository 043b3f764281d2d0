//! Source: one file with numbers, plain or compressed, read within a memory limit.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use half::f16;

use super::buffers::{Buffer, Buffers, Purpose};
use super::limits::{most_decoded, reserve};
use super::{ReadLimits, Sample, Samples, Stored, gzip};
use crate::error::InputError;
use crate::reading::{self, File};

/// An open file. Compressed bytes, of a gzipped file or of a stream inside a file, are in memory.
pub(super) struct Source {
    path: PathBuf,
    file: File,
    /// Bytes of the file, or of the stream.
    len: u64,
    /// The compressed bytes, the first `held` of the buffer: a gzip stream, or else a zlib stream.
    packed: Option<Buffer>,
    /// Compressed bytes that are in memory: all of them, or of a file whose header alone is read the first.
    held: usize,
}

/// Compressed bytes that are read for a header.
const HEADER_BYTES: usize = 1 << 18;

/// Bytes at the end of a gzip file that state the length of what it holds.
const LENGTH_BYTES: u64 = 4;

/// The numbers' location in the decoded file, their count and type.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    /// Offset of the first byte.
    pub(super) start: u64,
    /// Number of numbers.
    pub(super) count: u64,
    pub(super) number_type: NumberType,
    pub(super) big_endian: bool,
}

/// The number types of files. 64-bit integers are read as `f64`, exact below 2^53, and 16-bit floats as `f32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NumberType {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F16,
    F32,
    F64,
}

impl NumberType {
    pub(super) fn bytes(self) -> u64 {
        match self {
            NumberType::U8 | NumberType::I8 => 1,
            NumberType::U16 | NumberType::I16 | NumberType::F16 => 2,
            NumberType::U32 | NumberType::I32 | NumberType::F32 => 4,
            NumberType::U64 | NumberType::I64 | NumberType::F64 => 8,
        }
    }
}

impl Source {
    /// Opens a regular file. A gzipped file is read into memory; it may be as large as the limit and 1 MiB.
    pub(super) fn open(path: &Path, limits: &ReadLimits, buffers: &Buffers) -> Result<Source, InputError> {
        let mut source = Source::open_plain(path, limits)?;
        let mut magic = [0; 2];
        let is_packed = source.len >= 2 && {
            read_exact_at(&mut source.file, 0, &mut magic).map_err(|e| InputError::io(path, e))?;
            gzip::is_gzip(&magic)
        };
        if is_packed { source.stream(0, buffers) } else { Ok(source) }
    }

    /// The gzip or zlib stream from byte `start` to the end, which is read into memory.
    pub(super) fn stream(mut self, start: u64, buffers: &Buffers) -> Result<Source, InputError> {
        let len = self.len.saturating_sub(start) as usize;
        let held = if buffers.are_for_headers() { len.min(HEADER_BYTES) } else { len };
        let packed = buffers.take(Purpose::File, held).and_then(|mut packed| {
            read_exact_at(&mut self.file, start, &mut packed.bytes_mut()[..held])?;
            Ok(packed)
        });
        let packed = packed.map_err(|e| InputError::io(&self.path, e))?;
        Ok(Source { len: len as u64, packed: Some(packed), held, ..self })
    }

    /// Opens a regular file whose bytes are numbers even where they look like gzip.
    pub(super) fn open_plain(path: &Path, limits: &ReadLimits) -> Result<Source, InputError> {
        let failed = |e| InputError::io(path, e);
        // A pipe would never end.
        if !reading::metadata(path).map_err(failed)?.is_file() {
            let (expected, found) = ("a regular file", "another kind of file".to_owned());
            return Err(InputError::UnsupportedFormat { path: path.to_owned(), expected, found });
        }
        let file = File::open(path).map_err(failed)?;
        let len = file.metadata().map_err(failed)?.len();
        if len > allowance(limits) {
            let expected = limits.max_decoded_bytes;
            return Err(InputError::TooLarge { path: path.to_owned(), expected, found: len });
        }
        Ok(Source { path: path.to_owned(), file, len, packed: None, held: 0 })
    }

    /// Bytes of the file, or of the stream.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Whether the compressed bytes are a gzip stream.
    pub(super) fn is_gzip(&self) -> bool {
        self.packed().is_some_and(gzip::is_gzip)
    }

    fn packed(&self) -> Option<&[u8]> {
        self.packed.as_ref().map(|packed| &packed.bytes()[..self.held])
    }

    /// The first `len` decoded bytes, or all bytes of a shorter file; zeros where a damaged gzip stream hides them.
    pub(super) fn head(&mut self, len: usize) -> Result<Vec<u8>, InputError> {
        if let Some(packed) = self.packed() {
            return Ok(gzip::head(packed, len));
        }
        let mut head = vec![0; len.min(self.len as usize)];
        read_exact_at(&mut self.file, 0, &mut head).map_err(|e| InputError::io(&self.path, e))?;
        Ok(head)
    }

    /// Reports damage in a gzip stream that should hold `len` bytes, which would otherwise be taken for a bad header.
    pub(super) fn check(&self, len: usize, limits: &ReadLimits, buffers: &Buffers) -> Result<(), InputError> {
        let Some(packed) = self.packed() else {
            return Ok(());
        };
        let request = gzip::Request { expected: len, pad: 0, limit: limits.max_decoded_bytes };
        match gzip::inflate(&self.path, packed, request, buffers) {
            // The length of a valid stream matters only where its header is valid.
            Ok(_) | Err(InputError::LyingHeader { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether a gzip file states the decoded length that its header promises. A file that is cut ends in other bytes; one of
    /// several members, or with bytes behind them, does so too.
    fn check_stated_length(&mut self, expected: u64) -> Result<(), InputError> {
        if !self.is_gzip() {
            return Ok(());
        }
        let path = self.path.clone();
        let mut stated = [0; LENGTH_BYTES as usize];
        let file_length = self.file.metadata().map_err(|e| InputError::io(&path, e))?.len();
        let at = file_length.saturating_sub(LENGTH_BYTES);
        read_exact_at(&mut self.file, at, &mut stated).map_err(|e| InputError::io(&path, e))?;
        // The length counts in 32 bits.
        if u32::from_le_bytes(stated) == expected as u32 {
            return Ok(());
        }
        Err(InputError::TruncatedGzip { path, expected, found: file_length })
    }

    /// Reads the numbers of an extent, in native byte order and stored order. Memory: the decoded file, once.
    ///
    /// # Errors
    /// [`InputError::LyingHeader`] or [`InputError::TooLarge`] before memory is allocated; else the errors of
    /// [`gzip::inflate`].
    pub(super) fn samples(
        mut self,
        extent: &Extent,
        limits: &ReadLimits,
        buffers: &Buffers,
    ) -> Result<Samples, InputError> {
        let path = self.path.clone();
        let available = if self.packed.is_some() { gzip::max_decoded_bytes(self.len) } else { self.len };
        let bytes = extent.count.checked_mul(extent.number_type.bytes());
        let taken =
            if extent.number_type == NumberType::F16 { bytes.and_then(|bytes| bytes.checked_mul(3)) } else { bytes };
        let end = bytes.and_then(|bytes| extent.start.checked_add(bytes));
        let (Some(bytes), Some(end)) = (bytes, end.filter(|end| *end <= available)) else {
            let (expected, offset) = (end.unwrap_or(u64::MAX), self.packed.is_none().then_some(self.len));
            return Err(InputError::LyingHeader { path, expected, found: available, offset });
        };
        let taken = taken.unwrap_or(u64::MAX);
        let max_decoded_bytes = match self.packed {
            Some(_) => most_decoded(limits.max_decoded_bytes, self.len),
            None => limits.max_decoded_bytes,
        };
        let limits = &ReadLimits { max_decoded_bytes };
        if taken > max_decoded_bytes || end > allowance(limits) {
            let found = if taken > max_decoded_bytes { taken } else { end };
            return Err(InputError::TooLarge { path, expected: max_decoded_bytes, found });
        }
        if buffers.are_for_headers() {
            self.check_stated_length(end)?;
            return Ok(Vec::<u8>::new().into());
        }
        let (start, bytes, end) = (extent.start as usize, bytes as usize, end as usize);
        let (mut buffer, range) = match self.packed() {
            Some(packed) => {
                // Voxels start at a multiple of 8 in the buffer, at any offset in the file.
                let pad = start.next_multiple_of(8) - start;
                let request = gzip::Request { expected: end, pad, limit: limits.max_decoded_bytes };
                let is_gzip = gzip::is_gzip(packed);
                let inflate = if is_gzip { gzip::inflate } else { gzip::inflate_zlib };
                (inflate(&path, packed, request, buffers)?, pad + start..pad + end)
            }
            None => {
                let mut buffer = buffers.take(Purpose::Samples, bytes).map_err(|e| InputError::io(&path, e))?;
                read_exact_at(&mut self.file, extent.start, &mut buffer.bytes_mut()[..bytes])
                    .map_err(|e| InputError::io(&path, e))?;
                (buffer, 0..bytes)
            }
        };
        if extent.big_endian != cfg!(target_endian = "big") {
            match extent.number_type.bytes() {
                2 => buffer.numbers_mut(range.clone()).iter_mut().for_each(|n: &mut u16| *n = n.swap_bytes()),
                4 => buffer.numbers_mut(range.clone()).iter_mut().for_each(|n: &mut u32| *n = n.swap_bytes()),
                8 => buffer.numbers_mut(range.clone()).iter_mut().for_each(|n: &mut u64| *n = n.swap_bytes()),
                _ => {}
            }
        }
        // 64-bit integers are converted to f64 in place.
        let to_f64 = |buffer: &mut Buffer, value: fn(u64) -> f64| {
            buffer.numbers_mut(range.clone()).iter_mut().for_each(|n: &mut u64| *n = value(*n).to_bits())
        };
        match extent.number_type {
            NumberType::U64 => to_f64(&mut buffer, |n| n as f64),
            NumberType::I64 => to_f64(&mut buffer, |n| n as i64 as f64),
            _ => {}
        }
        if extent.number_type == NumberType::F16 {
            // Only these are copied: f32 is wider than the stored numbers.
            let halves = buffer.numbers::<u16>(range);
            let mut values: Vec<f32> = Vec::new();
            reserve(&mut values, halves.len()).map_err(|e| InputError::io(&path, e))?;
            values.extend(halves.iter().map(|bits| f16::from_bits(*bits).to_f32()));
            return Ok(values.into());
        }
        fn wrap<T: Sample>(buffer: Buffer, range: std::ops::Range<usize>) -> Samples {
            T::wrap(Stored::decoded(buffer, range))
        }
        Ok(match extent.number_type {
            NumberType::U8 => wrap::<u8>(buffer, range),
            NumberType::I8 => wrap::<i8>(buffer, range),
            NumberType::U16 => wrap::<u16>(buffer, range),
            NumberType::I16 => wrap::<i16>(buffer, range),
            NumberType::U32 => wrap::<u32>(buffer, range),
            NumberType::I32 => wrap::<i32>(buffer, range),
            NumberType::F16 | NumberType::F32 => wrap::<f32>(buffer, range),
            NumberType::F64 | NumberType::U64 | NumberType::I64 => wrap::<f64>(buffer, range),
        })
    }
}

/// The limit, and 1 MiB for a header and the overhead of gzip, which are small compared with the voxels.
fn allowance(limits: &ReadLimits) -> u64 {
    limits.max_decoded_bytes.saturating_add(1 << 20)
}

fn read_exact_at(file: &mut File, start: u64, out: &mut [u8]) -> io::Result<()> {
    file.seek(SeekFrom::Start(start))?;
    file.read_exact(out)
}
