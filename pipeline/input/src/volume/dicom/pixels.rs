//! The samples of one slice: decodes the pixel data of any supported encoding to little-endian numbers of the allocated
//! size, with unused bits cleared and signs extended.
//!
//! Source: DICOM PS3.3 C.7.6.3.1 (pixel description), PS3.5 section 8 and annex G (run lengths).

use super::elements::Pixels;
use super::error::DicomError;
use super::file::{File, PixelData};
use super::header::{Header, PixelFormat};
use super::transfer_syntax::Encoding;
use super::{jpeg_2000, jpeg_lossless, jpeg_ls};
use crate::volume::jpeg;
use crate::volume::limits::{self, MAX_SLICE_BYTES};
use crate::volume::picture_error::PictureError;

/// The samples of a slice, and what its file has more.
pub(super) struct Decoded {
    /// Row by row, [`PixelFormat::bytes`] little-endian bytes each.
    pub(super) samples: Vec<u8>,
    /// Bytes behind the samples of the last frame, except one that makes the length even.
    pub(super) left_over: usize,
}

/// Decodes a slice.
///
/// With `invert`, the order of the samples is reversed: the smallest becomes the largest.
pub(super) fn decode(
    file: &File,
    data: Option<&PixelData>,
    header: &Header,
    invert: bool,
) -> Result<Decoded, DicomError> {
    const FIELD: &str = "PixelData (7fe0,0010)";
    let data = data.ok_or_else(|| DicomError::bad(FIELD, "pixel data", "none"))?;
    let is_native = header.encoding == Encoding::Native;
    match file.frame_stream(data, header.frame, header.frames)? {
        None if is_native => {
            let (mut samples, left_over) = native(file, data, header)?;
            let format = &header.format;
            normalize(&mut samples, format, format.bits_stored, format.high_bit + 1 - format.bits_stored, invert);
            Ok(Decoded { samples, left_over })
        }
        Some(stream) if !is_native => Ok(Decoded { samples: encapsulated(&stream, header, invert)?, left_over: 0 }),
        stream => {
            let form = if stream.is_some() { "compressed" } else { "uncompressed" };
            let found = format!("{form} pixel data, for which the file states {}", header.syntax);
            Err(DicomError::bad(FIELD, "pixel data in the form of the transfer syntax", found))
        }
    }
}

/// Decodes a compressed frame.
fn encapsulated(stream: &[u8], header: &Header, invert: bool) -> Result<Vec<u8>, DicomError> {
    let format = &header.format;
    let (rows, columns) = (header.rows, header.columns);
    // No overflow: two counts below 2^16. JPEG 2000 takes more, which it counts.
    let taken = (rows * columns) as u64 * bytes_while_decoded(header.encoding, format);
    if taken > MAX_SLICE_BYTES {
        return Err(DicomError::TooLarge { limit: MAX_SLICE_BYTES, found: taken });
    }
    let (mut samples, precision) = match header.encoding {
        Encoding::Rle => {
            let mut bytes = run_lengths(stream, rows * columns, format.bytes())?;
            normalize(&mut bytes, format, format.bits_stored, format.high_bit + 1 - format.bits_stored, invert);
            return Ok(bytes);
        }
        Encoding::JpegLossless => jpeg_lossless::decode(stream, rows, columns)?,
        Encoding::JpegLs => jpeg_ls::decode(stream, rows, columns)?,
        Encoding::Jpeg2000 => jpeg_2000::decode(stream, rows, columns)?,
        Encoding::JpegBaseline | Encoding::JpegExtended => baseline(stream, rows, columns)?,
        Encoding::Native => unreachable!("the caller checked the form"),
    };
    if precision > format.bits_allocated {
        let found = format!("{precision} bits a sample for {} allocated", format.bits_allocated);
        return Err(DicomError::damaged("compressed samples of the header's size", found));
    }
    if header.syntax.is_lossy() && precision > format.bits_stored {
        clamp(&mut samples, format, precision);
    }
    let mut bytes = match format.bytes() {
        1 => samples.iter().map(|sample| *sample as u8).collect::<Vec<_>>(),
        2 => samples.iter().flat_map(|sample| sample.to_le_bytes()).collect(),
        _ => samples.iter().flat_map(|sample| u32::from(*sample).to_le_bytes()).collect(),
    };
    // In compressed data the lowest stored bit is bit 0, whatever the header's high bit.
    normalize(&mut bytes, format, precision.min(format.bits_stored), 0, invert);
    Ok(bytes)
}

/// Bytes that decoding takes for each sample: what the decoder returns, and what it is converted to.
fn bytes_while_decoded(encoding: Encoding, format: &PixelFormat) -> u64 {
    let decoded = match encoding {
        Encoding::Rle | Encoding::Native => 0,
        Encoding::JpegLossless | Encoding::JpegLs | Encoding::Jpeg2000 => 2,
        // 8-bit grey, and the same as 16 bits.
        Encoding::JpegBaseline | Encoding::JpegExtended => 3,
    };
    decoded + format.bytes() as u64
}

/// The uncompressed samples of a frame, and the bytes behind those of the last frame.
///
/// Some writers add bytes, or a row; as for pydicom, they are left out. As many bytes as another image mean another
/// number of rows or frames, and are refused.
fn native(file: &File, data: &PixelData, header: &Header) -> Result<(Vec<u8>, usize), DicomError> {
    let Pixels::Native { start, end, words, big_endian, missing } = data.pixels else {
        unreachable!("the caller checked the form");
    };
    let width = header.format.bytes();
    // No overflow: two counts below 2^16, at most 4 bytes, and at most 2^16 frames.
    let frame_bytes = header.rows * header.columns * width;
    let (expected, found) = (frame_bytes as u64 * header.frames as u64, (end - start) as u64);
    let lie = |found: u64| {
        let offset = file.end().filter(|_| missing > 0);
        Err(DicomError::LyingHeader { expected, found, offset })
    };
    if found < expected || found - expected >= frame_bytes.max(2) as u64 {
        return lie(found);
    }
    let first = start + header.frame * frame_bytes;
    let mut samples = Vec::new();
    limits::reserve(&mut samples, frame_bytes).map_err(DicomError::Io)?;
    samples.extend_from_slice(file.bytes(first, first + frame_bytes));
    match (big_endian, width) {
        (true, 1) if words => {
            // A word holds two samples, the first in its low half.
            if expected % 2 == 1 && found == expected {
                return lie(found - 1);
            }
            let value = file.bytes(start, end);
            let first = first - start;
            samples = (first..first + frame_bytes).map(|at| value[at ^ 1]).collect();
        }
        (true, 2 | 4) => samples.chunks_exact_mut(width).for_each(<[u8]>::reverse),
        _ => {}
    }
    let left_over = (found - expected) as usize;
    Ok((samples, if expected % 2 == 1 { left_over.saturating_sub(1) } else { left_over }))
}

/// Shifts the used bits to bit 0, clears the bits above or extends the sign, and inverts.
fn normalize(bytes: &mut [u8], format: &PixelFormat, used: u32, shift: u32, invert: bool) {
    if used == format.bits_allocated && !invert {
        return;
    }
    let free = 32 - used;
    let normalized = |sample: u32| {
        let sample = if invert { !(sample >> shift) } else { sample >> shift } << free;
        if format.signed { ((sample as i32) >> free) as u32 } else { sample >> free }
    };
    match format.bytes() {
        1 => bytes.iter_mut().for_each(|byte| *byte = normalized(u32::from(*byte)) as u8),
        2 => bytes.chunks_exact_mut(2).for_each(|pair| {
            let sample = u32::from(u16::from_le_bytes([pair[0], pair[1]]));
            pair.copy_from_slice(&(normalized(sample) as u16).to_le_bytes());
        }),
        _ => bytes.chunks_exact_mut(4).for_each(|four| {
            let sample = u32::from_le_bytes([four[0], four[1], four[2], four[3]]);
            four.copy_from_slice(&normalized(sample).to_le_bytes());
        }),
    }
}

/// Clamps samples that exceed the stored bits after lossy compression: if the bits above were cleared instead, the
/// brightest sample would become the darkest.
fn clamp(samples: &mut [u16], format: &PixelFormat, precision: u32) {
    let free = 16 - precision;
    let most = if format.signed { (1 << (format.bits_stored - 1)) - 1 } else { (1i32 << format.bits_stored) - 1 };
    let least = if format.signed { -most - 1 } else { 0 };
    for sample in samples {
        let value = if format.signed { i32::from((*sample << free) as i16 >> free) } else { i32::from(*sample) };
        *sample = value.clamp(least, most) as u16;
    }
}

/// Decodes run lengths (RLE): one segment for each byte of a sample, the highest byte first.
fn run_lengths(stream: &[u8], samples: usize, width: usize) -> Result<Vec<u8>, DicomError> {
    const EXPECTED: &str = "run lengths as PS3.5 annex G lays them out";
    let word = |at: usize| {
        let bytes = stream.get(4 * at..)?.first_chunk()?;
        Some(u32::from_le_bytes(*bytes) as usize)
    };
    let short = || DicomError::damaged(EXPECTED, format!("an end after {} bytes", stream.len()));
    let segments = word(0).ok_or_else(short)?;
    if segments != width {
        return Err(DicomError::damaged(EXPECTED, format!("{segments} segments for samples of {width} bytes")));
    }
    // Two bytes encode at most 128 samples, of one byte of each.
    let (expected, found) = ((samples * width).div_ceil(64) as u64, stream.len() as u64);
    if expected > found {
        return Err(DicomError::LyingHeader { expected, found, offset: None });
    }
    let mut out = limits::zeros(samples * width).map_err(DicomError::Io)?;
    for segment in 0..segments {
        let start = word(1 + segment).ok_or_else(short)?;
        let mut rest = stream.get(start.max(64)..).ok_or_else(short)?;
        let mut plane = out[width - 1 - segment..].iter_mut().step_by(width);
        let mut left = samples;
        while left > 0 {
            let (head, tail) = rest.split_first().ok_or_else(short)?;
            match *head {
                128 => rest = tail,
                count @ 0..128 => {
                    let literal = tail.get(..usize::from(count) + 1).ok_or_else(short)?;
                    plane.by_ref().zip(literal).for_each(|(out, byte)| *out = *byte);
                    rest = &tail[literal.len()..];
                    left = left.saturating_sub(literal.len());
                }
                count => {
                    let (byte, tail) = tail.split_first().ok_or_else(short)?;
                    let run = 257 - usize::from(count);
                    plane.by_ref().take(run).for_each(|out| *out = *byte);
                    rest = tail;
                    left = left.saturating_sub(run);
                }
            }
        }
    }
    Ok(out)
}

/// Decodes an 8-bit grey JPEG.
fn baseline(stream: &[u8], rows: usize, columns: usize) -> Result<(Vec<u16>, u32), DicomError> {
    const EXPECTED: &str = "an 8-bit grey JPEG stream";
    let mut pixels = Vec::new();
    let [height, width] = jpeg::grey(stream, (rows * columns) as u64, &mut pixels).map_err(|error| match error {
        PictureError::Unreadable(why) => DicomError::damaged(EXPECTED, why),
        PictureError::TooLarge(found) => {
            DicomError::damaged("a picture of the header's size", format!("{found} pixels"))
        }
        PictureError::SliceTooLarge(found) => DicomError::TooLarge { limit: MAX_SLICE_BYTES, found },
    })?;
    if [height, width] != [rows, columns] {
        let found = format!("one of {height}x{width} where the header states {rows}x{columns}");
        return Err(DicomError::damaged("a picture of the header's size", found));
    }
    Ok((pixels.into_iter().map(u16::from).collect(), 8))
}
