//! Source: one file with numbers in it, plain or gzipped, read with a bound on memory.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use half::f16;

use super::buffers::{Buffer, Buffers, Purpose};
use super::{ReadLimits, Sample, Samples, Stored, gzip};
use crate::error::InputError;

/// An open file; a gzipped one is in memory as it lies on disk.
pub(super) struct Source {
    path: PathBuf,
    file: File,
    len: u64,
    /// The bytes of a gzipped file, the first `len` of the buffer.
    packed: Option<Buffer>,
}

/// Where numbers lie in the decoded file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    /// First byte.
    pub(super) start: u64,
    /// How many.
    pub(super) count: u64,
    pub(super) kind: Kind,
    pub(super) big_endian: bool,
}

/// The number types that files hold. 64-bit integers become `f64` when read, exact below 2^53; 16-bit floats `f32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
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

impl Kind {
    pub(super) fn bytes(self) -> u64 {
        match self {
            Kind::U8 | Kind::I8 => 1,
            Kind::U16 | Kind::I16 | Kind::F16 => 2,
            Kind::U32 | Kind::I32 | Kind::F32 => 4,
            Kind::U64 | Kind::I64 | Kind::F64 => 8,
        }
    }
}

impl Source {
    /// Opens a regular file. A gzipped one is read, up to `limits` and 1 MiB for a header and gzip's overhead.
    pub(super) fn open(path: &Path, limits: &ReadLimits, buffers: &Buffers) -> Result<Source, InputError> {
        let failed = |e| InputError::io(path, e);
        // A pipe would never end.
        if !fs::metadata(path).map_err(failed)?.is_file() {
            let (expected, found) = ("a regular file", "something else".to_owned());
            return Err(InputError::UnsupportedFormat { path: path.to_owned(), expected, found });
        }
        let mut file = File::open(path).map_err(failed)?;
        let len = file.metadata().map_err(failed)?.len();
        if len > allowance(limits) {
            let expected = limits.max_decoded_bytes;
            return Err(InputError::TooLarge { path: path.to_owned(), expected, found: len });
        }
        let mut magic = Vec::with_capacity(2);
        file.by_ref().take(2).read_to_end(&mut magic).map_err(failed)?;
        let packed = gzip::is_gzip(&magic).then(|| {
            let mut packed = buffers.take(Purpose::File, len as usize);
            read_exact_at(&mut file, 0, &mut packed.bytes_mut()[..len as usize]).map(|()| packed)
        });
        Ok(Source { path: path.to_owned(), file, len, packed: packed.transpose().map_err(failed)? })
    }

    fn packed(&self) -> Option<&[u8]> {
        self.packed.as_ref().map(|packed| &packed.bytes()[..self.len as usize])
    }

    /// The first `len` decoded bytes, or all of a shorter file; zeros where damage to a gzip stream hides them.
    pub(super) fn head(&mut self, len: usize) -> Result<Vec<u8>, InputError> {
        if let Some(packed) = self.packed() {
            return Ok(gzip::head(packed, len));
        }
        let mut head = vec![0; len.min(self.len as usize)];
        read_exact_at(&mut self.file, 0, &mut head).map_err(|e| InputError::io(&self.path, e))?;
        Ok(head)
    }

    /// The fault of a gzip stream that should hold `len` bytes, which would otherwise pass for a bad header.
    pub(super) fn check(&self, len: usize, limits: &ReadLimits, buffers: &Buffers) -> Result<(), InputError> {
        let Some(packed) = self.packed() else {
            return Ok(());
        };
        let wanted = gzip::Wanted { expected: len, pad: 0, limit: limits.max_decoded_bytes };
        match gzip::inflate(&self.path, packed, wanted, buffers) {
            // How long a sound stream is matters only where its header is one.
            Ok(_) | Err(InputError::LyingHeader { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Reads the numbers of an extent, in native byte order and stored order. Memory: the decoded file, once.
    ///
    /// # Errors
    /// [`InputError::LyingHeader`] or [`InputError::TooLarge`] before memory is taken; whatever inflating says.
    pub(super) fn samples(
        mut self,
        extent: &Extent,
        limits: &ReadLimits,
        buffers: &Buffers,
    ) -> Result<Samples, InputError> {
        let path = self.path.clone();
        let available = if self.packed.is_some() { gzip::most_decoded(self.len) } else { self.len };
        let bytes = extent.count.checked_mul(extent.kind.bytes());
        let taken = if extent.kind == Kind::F16 { bytes.and_then(|bytes| bytes.checked_mul(3)) } else { bytes };
        let end = bytes.and_then(|bytes| extent.start.checked_add(bytes));
        let (Some(bytes), Some(end)) = (bytes, end.filter(|end| *end <= available)) else {
            let (expected, offset) = (end.unwrap_or(u64::MAX), self.packed.is_none().then_some(self.len));
            return Err(InputError::LyingHeader { path, expected, found: available, offset });
        };
        let taken = taken.unwrap_or(u64::MAX);
        if taken > limits.max_decoded_bytes || end > allowance(limits) {
            let found = if taken > limits.max_decoded_bytes { taken } else { end };
            return Err(InputError::TooLarge { path, expected: limits.max_decoded_bytes, found });
        }
        let (start, bytes, end) = (extent.start as usize, bytes as usize, end as usize);
        let (mut buffer, range) = match self.packed() {
            Some(packed) => {
                // Voxels start at a multiple of 8, whatever lies before them.
                let pad = start.next_multiple_of(8) - start;
                let wanted = gzip::Wanted { expected: end, pad, limit: limits.max_decoded_bytes };
                (gzip::inflate(&path, packed, wanted, buffers)?, pad + start..pad + end)
            }
            None => {
                let mut buffer = buffers.take(Purpose::Samples, bytes);
                read_exact_at(&mut self.file, extent.start, &mut buffer.bytes_mut()[..bytes])
                    .map_err(|e| InputError::io(&path, e))?;
                (buffer, 0..bytes)
            }
        };
        if extent.big_endian != cfg!(target_endian = "big") {
            match extent.kind.bytes() {
                2 => buffer.numbers_mut(range.clone()).iter_mut().for_each(|n: &mut u16| *n = n.swap_bytes()),
                4 => buffer.numbers_mut(range.clone()).iter_mut().for_each(|n: &mut u32| *n = n.swap_bytes()),
                8 => buffer.numbers_mut(range.clone()).iter_mut().for_each(|n: &mut u64| *n = n.swap_bytes()),
                _ => {}
            }
        }
        // 64-bit integers turn to f64 where they lie.
        let to_f64 = |buffer: &mut Buffer, value: fn(u64) -> f64| {
            buffer.numbers_mut(range.clone()).iter_mut().for_each(|n: &mut u64| *n = value(*n).to_bits())
        };
        match extent.kind {
            Kind::U64 => to_f64(&mut buffer, |n| n as f64),
            Kind::I64 => to_f64(&mut buffer, |n| n as i64 as f64),
            _ => {}
        }
        if extent.kind == Kind::F16 {
            // Wider than what was read, so these alone are copied.
            let halves = buffer.numbers::<u16>(range);
            return Ok(halves.iter().map(|bits| f16::from_bits(*bits).to_f32()).collect::<Vec<f32>>().into());
        }
        fn wrap<T: Sample>(buffer: Buffer, range: std::ops::Range<usize>) -> Samples {
            T::wrap(Stored::decoded(buffer, range))
        }
        Ok(match extent.kind {
            Kind::U8 => wrap::<u8>(buffer, range),
            Kind::I8 => wrap::<i8>(buffer, range),
            Kind::U16 => wrap::<u16>(buffer, range),
            Kind::I16 => wrap::<i16>(buffer, range),
            Kind::U32 => wrap::<u32>(buffer, range),
            Kind::I32 => wrap::<i32>(buffer, range),
            Kind::F16 | Kind::F32 => wrap::<f32>(buffer, range),
            Kind::F64 | Kind::U64 | Kind::I64 => wrap::<f64>(buffer, range),
        })
    }
}

/// The limit, and 1 MiB for a header and a gzip file's overhead, which are small beside the voxels.
fn allowance(limits: &ReadLimits) -> u64 {
    limits.max_decoded_bytes.saturating_add(1 << 20)
}

fn read_exact_at(file: &mut File, start: u64, out: &mut [u8]) -> io::Result<()> {
    file.seek(SeekFrom::Start(start))?;
    file.read_exact(out)
}
