//! JPEG 2000, one component of up to 16 bits. The image size is read from the stream's first segment; `hayro-jpeg2000`,
//! which has no unsafe code, decodes the samples.
//!
//! Source: ITU-T T.800, annex A (segments).

use hayro_jpeg2000::{DecodeSettings, DecoderContext, Image};
use med2e3_schemas::guarded::guarded;

use super::error::DicomError;
use super::jpeg_2000_cost::{self, Grid};

const EXPECTED: &str = "a JPEG 2000 stream of one component and up to 16 bits";

/// Maximum number of pixels for each byte: more than an image of a single value needs.
const MAX_PIXELS_PER_BYTE: u64 = 1 << 16;

/// Farthest end of a picture on its grid: pictures have at most 65535 rows and columns, and start at 0 most often.
const FARTHEST: u32 = 1 << 20;

/// Samples row by row, negative ones in two's complement, and the bits per sample.
pub(super) fn decode(stream: &[u8], rows: usize, columns: usize) -> Result<(Vec<u16>, u32), DicomError> {
    // Some writers store the codestream in a file format with boxes.
    let start = stream.windows(4).position(|four| four == [0xff, 0x4f, 0xff, 0x51]);
    let stream = start.map(|start| &stream[start..]).ok_or_else(|| DicomError::damaged(EXPECTED, "no start marker"))?;
    let size: &[u8; 45] = stream.first_chunk().ok_or_else(|| DicomError::damaged(EXPECTED, "an end in its header"))?;
    let word = |at: usize| u32::from_be_bytes([size[at], size[at + 1], size[at + 2], size[at + 3]]);
    // Xsiz and Ysiz, XOsiz and YOsiz, XTsiz and YTsiz, XTOsiz and YTOsiz.
    let [end, start, tile, tile_start] = [8, 16, 24, 32].map(|at| [word(at), word(at + 4)]);
    let found = [1, 0].map(|axis| end[axis].saturating_sub(start[axis]) as usize);
    if found != [rows, columns] {
        let found = format!("one of {}x{} where the header states {rows}x{columns}", found[0], found[1]);
        return Err(DicomError::damaged("a picture of the header's size", found));
    }
    // Csiz, then Ssiz, XRsiz and YRsiz of the first component.
    let [components_high, components_low, depth, step_x, step_y] = [size[40], size[41], size[42], size[43], size[44]];
    let precision = u32::from(depth & 0x7f) + 1;
    if [components_high, components_low, step_x, step_y] != [0, 1, 1, 1] || precision > 16 {
        let components = u16::from_be_bytes([components_high, components_low]);
        return Err(DicomError::damaged(EXPECTED, format!("{components} components of {precision} bits")));
    }
    if (rows * columns) as u64 > stream.len() as u64 * MAX_PIXELS_PER_BYTE {
        return Err(DicomError::damaged(EXPECTED, format!("{} bytes for {rows}x{columns} pixels", stream.len())));
    }
    if end.iter().any(|end| *end > FARTHEST) || tile.contains(&0) || (0..2).any(|axis| tile_start[axis] > start[axis]) {
        return Err(DicomError::damaged(EXPECTED, "a grid of tiles that does not hold the picture"));
    }
    jpeg_2000_cost::check(stream, &Grid { end, start, tile, tile_start })?;
    // A fault of the decoder is a fault of one slice.
    let decoded = guarded(|| samples(stream, rows * columns, precision, depth & 0x80 != 0));
    decoded.unwrap_or_else(|_| Err(DicomError::damaged(EXPECTED, "one that its decoder does not stand")))
}

fn samples(stream: &[u8], count: usize, precision: u32, is_signed: bool) -> Result<(Vec<u16>, u32), DicomError> {
    let damaged = |_| DicomError::damaged(EXPECTED, "damaged or cut data");
    // Strict: a cut stream is an error, not a blurred image.
    let settings = DecodeSettings { strict: true, ..DecodeSettings::default() };
    let image = Image::new(stream, &settings).map_err(damaged)?;
    let mut context = DecoderContext::default();
    let decoded = image.decode(&mut context).map_err(damaged)?;
    let samples = match decoded.components() {
        [component] if component.samples().len() == count => component.samples(),
        _ => return Err(DicomError::damaged(EXPECTED, "another number of samples")),
    };
    // The decoder adds half the range to signed samples too.
    let most = (1i32 << precision) - 1;
    let offset = if is_signed { 1 << (precision - 1) } else { 0 };
    let samples = samples.iter().map(|sample| ((sample.round() as i32).clamp(0, most) - offset) as u16).collect();
    Ok((samples, precision))
}
