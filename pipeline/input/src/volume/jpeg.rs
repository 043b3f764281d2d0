//! JPEG files to 8-bit grey, by libjpeg-turbo's decoder (which MozJPEG contains), so that each pixel equals Pillow's.
//!
//! Decoders that conform to the standard still differ by one or two grey levels, in the rounding of the inverse
//! transform and the upsampling of the chroma planes. M3D's preparation reads slices with Pillow, which uses
//! libjpeg-turbo with its defaults: the exact integer transform and smooth upsampling.

use std::panic::{self, AssertUnwindSafe};

use mozjpeg::{ColorSpace, Decompress};

use super::limits::{self, MAX_SLICE_BYTES};
use super::luma::luma;
use super::picture_error::PictureError;

/// Maximum number of pixels for each byte of a JPEG: a block of 64 takes at least one bit in one scan, and opposite
/// sampling factors (4 x 1 with 1 x 4) leave 9 blocks for 1024 pixels.
const MAX_PIXELS_PER_BYTE: u64 = 1024;

/// Maximum of pixels times scans for each byte. Each scan visits every block, so thousands of tiny scans would take
/// hours; an empty progressive image has about 5000.
const MAX_VISITS_PER_BYTE: u64 = 8192;

/// Most scans. Encoders write about ten; each takes the time of a walk through all blocks, whatever it holds.
const MAX_SCANS: u64 = 64;

/// Bytes of a coefficient. All of them are kept where several scans make one picture.
const COEFFICIENT: u64 = 2;

/// Rows of a color image that are decoded before they are converted to grey: two rows of the largest blocks.
const STRIP_ROWS: usize = 32;

/// Whether the bytes start as a JPEG does.
pub(super) fn is_jpeg(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0xff, 0xd8, 0xff])
}

/// Decodes a JPEG and appends its grey pixels, equal to Pillow's `convert("L")`; returns rows and columns.
///
/// On an error nothing is appended.
pub(super) fn grey(bytes: &[u8], size_limit: u64, out: &mut Vec<u8>) -> Result<[usize; 2], PictureError> {
    if is_cut(bytes) {
        return Err(PictureError::Unreadable("JPEG without an end marker".to_owned()));
    }
    let start = out.len();
    // The decoder reports errors by unwinding out of its C code, without running the panic hook. `out` may then hold a
    // part of the image, which is removed below.
    let decoded = panic::catch_unwind(AssertUnwindSafe(|| decode(bytes, size_limit, out)));
    let result = decoded.unwrap_or_else(|error| {
        let message = error.downcast_ref::<String>().map_or("not decodable", |message| message.as_str());
        Err(PictureError::Unreadable(format!("JPEG: {}", message.trim_start_matches("libjpeg fatal error: "))))
    });
    if result.is_err() {
        out.truncate(start);
    }
    result
}

/// Rows and columns by the header; `is_whole` says whether the bytes are all of the file.
pub(super) fn look(bytes: &[u8], is_whole: bool, size_limit: u64) -> Result<[usize; 2], PictureError> {
    if is_whole && is_cut(bytes) {
        return Err(PictureError::Unreadable("JPEG without an end marker".to_owned()));
    }
    // As in `grey`, errors come by unwinding.
    let read = panic::catch_unwind(|| Decompress::new_mem(bytes).map(|picture| picture.size()));
    let [width, height] = match read {
        Ok(size) => size.map(|(width, height)| [width, height])?,
        Err(_) => return Err(PictureError::Unreadable("JPEG: not decodable".to_owned())),
    };
    match (width as u64).saturating_mul(height as u64) {
        pixels if pixels > size_limit => Err(PictureError::TooLarge(pixels)),
        _ => Ok([height, width]),
    }
}

fn decode(bytes: &[u8], size_limit: u64, out: &mut Vec<u8>) -> Result<[usize; 2], PictureError> {
    let picture = Decompress::new_mem(bytes)?;
    let (width, height) = picture.size();
    let (pixels, size) = (width as u64 * height as u64, bytes.len() as u64);
    let scans = scans(bytes);
    if pixels > size * MAX_PIXELS_PER_BYTE || pixels * scans > size * MAX_VISITS_PER_BYTE || scans > MAX_SCANS {
        let found = format!("{width}x{height} pixels and {scans} scans in {size} bytes");
        return Err(PictureError::Unreadable(found));
    }
    if pixels > size_limit {
        return Err(PictureError::TooLarge(pixels));
    }
    let channels = match picture.color_space() {
        ColorSpace::JCS_GRAYSCALE => 1,
        ColorSpace::JCS_CMYK | ColorSpace::JCS_YCCK => 4,
        _ => 3,
    };
    let kept = if scans > 1 || is_progressive(bytes) { COEFFICIENT * channels } else { 0 };
    let taken = pixels * (1 + kept);
    if taken > MAX_SLICE_BYTES {
        return Err(PictureError::SliceTooLarge(taken));
    }
    let start = out.len();
    limits::reserve(out, width * height)?;
    out.resize(start + width * height, 0);
    let grey = &mut out[start..];
    match picture.color_space() {
        ColorSpace::JCS_GRAYSCALE => {
            let mut rows = picture.grayscale()?;
            rows.read_scanlines_into(grey)?;
            rows.finish()?;
        }
        ColorSpace::JCS_CMYK | ColorSpace::JCS_YCCK => {
            color::<4>(picture, ColorSpace::JCS_CMYK, grey, |[c, m, y, k]| {
                let [red, green, blue] = [c, m, y].map(|ink| ink_to_light(ink, k));
                luma(red, green, blue)
            })?;
        }
        ColorSpace::JCS_YCbCr | ColorSpace::JCS_RGB => {
            color::<3>(picture, ColorSpace::JCS_RGB, grey, |[red, green, blue]| luma(red, green, blue))?;
        }
        _ => return Err(PictureError::Unreadable("JPEG with channels that are no color".to_owned())),
    }
    Ok([height, width])
}

/// Decodes to color space `space`, which has `N` channels, and converts it to grey strip by strip.
fn color<const N: usize>(
    picture: Decompress<&[u8]>,
    space: ColorSpace,
    grey: &mut [u8],
    to_grey: impl Fn([u8; N]) -> u8,
) -> Result<(), PictureError> {
    let mut rows = picture.to_colorspace(space)?;
    let strip_pixels = rows.width() * STRIP_ROWS;
    let mut strip = vec![[0; N]; strip_pixels.min(grey.len())];
    for grey in grey.chunks_mut(strip_pixels) {
        let strip = rows.read_scanlines_into(&mut strip[..grey.len()])?;
        grey.iter_mut().zip(strip).for_each(|(grey, pixel)| *grey = to_grey(*pixel));
    }
    Ok(rows.finish()?)
}

/// One channel of Pillow's conversion from CMYK to RGB, for inverted inks as JPEG stores them (255 is no ink).
fn ink_to_light(ink: u8, key: u8) -> u8 {
    // Pillow's rounded division by 255.
    let product = u32::from(255 - ink) * u32::from(key) + 128;
    key.saturating_sub((((product >> 8) + product) >> 8) as u8)
}

/// Number of start-of-scan markers. (Scan data cannot contain the byte pair: JPEG escapes 0xff there.)
fn scans(bytes: &[u8]) -> u64 {
    bytes.iter().zip(bytes.iter().skip(1)).filter(|pair| (*pair.0, *pair.1) == (0xff, 0xda)).count() as u64
}

/// Whether a frame of the progressive processes is among the bytes.
fn is_progressive(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|pair| matches!(pair, [0xff, 0xc2 | 0xc6 | 0xca | 0xce]))
}

/// Whether no end marker follows the start of the last scan. Pillow refuses such a file as truncated, while the decoder
/// fills the missing part with grey.
fn is_cut(bytes: &[u8]) -> bool {
    match bytes.windows(2).rposition(|pair| pair == [0xff, 0xd9]) {
        Some(end) => scans(&bytes[end..]) > 0,
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inks_are_converted_as_pillow_does() {
        // Pillow 13: Image.new("CMYK", (1, 1), (255 - ink, 0, 0, 255 - key)).convert("RGB"), red.
        let red =
            [(255, 255), (0, 255), (255, 0), (100, 200), (7, 13), (200, 50)].map(|(ink, key)| ink_to_light(ink, key));
        assert_eq!(red, [255, 0, 0, 78, 0, 39]);
    }

    #[test]
    fn a_cut_file_has_no_end_marker_after_its_last_scan() {
        assert!(is_cut(&[0xff, 0xd8, 0xff, 0xda, 1, 2]));
        assert!(is_cut(&[0xff, 0xd8, 0xff, 0xd9, 0xff, 0xda, 1, 2]));
        assert!(!is_cut(&[0xff, 0xd8, 0xff, 0xda, 1, 0xff, 0xd9, 0]));
    }
}
