//! Deflated data sets. Their size is stated nowhere, so the first part is inflated alone: its elements say how large the pixels
//! are, and the rest may not be much larger.

use libdeflater::{DecompressionError, Decompressor};

use super::elements::{BITS_ALLOCATED, COLUMNS, DataSet, Form, NUMBER_OF_FRAMES, ROWS};
use super::error::DicomError;
use crate::volume::gzip;
use crate::volume::limits::{self, MAX_SLICE_BYTES};

/// Bytes of the first part, in which the size of the pixels is looked for. Elements before it seldom take a tenth.
const FIRST: usize = 1 << 20;

/// Most bytes of all elements but the pixels.
const MOST_OTHERS: u64 = 32 << 20;

/// Inflates a data set whose elements are in the form that is `stated`, to at most `max_bytes` and 1 MiB.
///
/// # Errors
/// [`DicomError::LyingHeader`] where the header promises more than the stream can hold, [`DicomError::TooLarge`] where the
/// stream holds more than the limit, or much more than the header promises, [`DicomError::BadHeader`] where it is damaged.
pub(super) fn inflate(bytes: &[u8], stated: Form, max_bytes: u64) -> Result<Vec<u8>, DicomError> {
    let mut first = limits::zeros(FIRST + gzip::LONGEST_RUN).map_err(DicomError::Io)?;
    match Decompressor::new().deflate_decompress(bytes, &mut first) {
        Ok(length) => {
            first.truncate(length);
            return Ok(first);
        }
        Err(DecompressionError::BadData) => return Err(damaged()),
        Err(DecompressionError::InsufficientSpace) => first.truncate(FIRST),
    }
    let max_bytes = limits::most_decoded(max_bytes, bytes.len() as u64);
    let first_set = DataSet::new(&first, 0, Form::of(&first, stated), false);
    let (promised, slice) = (pixel_bytes(&first_set), frame_bytes(&first_set));
    let possible = gzip::max_decoded_bytes(bytes.len() as u64);
    if promised > possible {
        return Err(DicomError::LyingHeader { expected: promised, found: possible, offset: None });
    }
    if promised > max_bytes {
        return Err(DicomError::TooLarge { limit: max_bytes, found: promised });
    }
    if slice > MAX_SLICE_BYTES {
        return Err(DicomError::TooLarge { limit: MAX_SLICE_BYTES, found: slice });
    }
    let most = promised.saturating_add(MOST_OTHERS).min(max_bytes.saturating_add(1 << 20));
    let mut out = first;
    loop {
        if out.len() as u64 >= most {
            return Err(DicomError::TooLarge { limit: most, found: out.len() as u64 });
        }
        let larger = (out.len() as u64 * 2).max(bytes.len() as u64 * 4).min(most) as usize;
        out.clear();
        limits::reserve(&mut out, larger).map_err(DicomError::Io)?;
        out.resize(larger, 0);
        match Decompressor::new().deflate_decompress(bytes, &mut out) {
            Ok(length) => {
                out.truncate(length);
                return Ok(out);
            }
            Err(DecompressionError::InsufficientSpace) => {}
            Err(DecompressionError::BadData) => return Err(damaged()),
        }
    }
}

/// Bytes of the pixels that a data set's elements promise; 0 where they are not among them.
pub(super) fn pixel_bytes(first: &DataSet<'_>) -> u64 {
    let elements = first.first_elements(&[NUMBER_OF_FRAMES]);
    let frames = elements.numbers::<1>(NUMBER_OF_FRAMES, "NumberOfFrames").ok().flatten();
    let frames = frames.map_or(1, |[frames]| frames.max(1.0) as u64);
    frame_bytes(first).saturating_mul(frames)
}

/// Bytes of one frame of them.
fn frame_bytes(first: &DataSet<'_>) -> u64 {
    let elements = first.first_elements(&[ROWS, COLUMNS, BITS_ALLOCATED]);
    let word = |tag| u64::from(elements.word(tag).unwrap_or(0));
    (word(ROWS) * word(COLUMNS) * word(BITS_ALLOCATED)).div_ceil(8)
}

fn damaged() -> DicomError {
    DicomError::bad("data set", "a sound deflate stream", "damaged or cut data")
}
