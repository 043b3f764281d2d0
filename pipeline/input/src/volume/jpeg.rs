//! JPEG pictures to grey, by libjpeg-turbo's own decoder (as MozJPEG carries it), so that every pixel is Pillow's.
//!
//! Decoders that follow the standard still differ by a level or two, in how they round the inverse transform and
//! enlarge the chroma planes. M3D's preparation reads slices by Pillow, which is libjpeg-turbo with its defaults: the
//! exact integer transform and smooth chroma.

use std::panic::{self, AssertUnwindSafe};

use mozjpeg::{ColorSpace, Decompress};

use super::picture::{SliceFault, luma};

/// Most pixels that a byte of a JPEG can stand for: a block of 64 takes a bit or more in one scan, and sampling factors
/// at odds (4 x 1 beside 1 x 4) leave 9 blocks for 1024 pixels.
const MAX_PIXELS_PER_BYTE: u64 = 1024;

/// Most pixels times scans for a byte. Each scan visits every block, so thousands of tiny ones would take hours; an empty
/// progressive picture stays near 5000.
const MAX_VISITS_PER_BYTE: u64 = 8192;

/// Rows of a color picture that are decoded before they are turned to grey: two rows of the largest blocks.
const STRIP_ROWS: usize = 32;

/// Whether the bytes start as a JPEG does.
pub(super) fn is_jpeg(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0xff, 0xd8, 0xff])
}

/// Decodes a JPEG and appends its grey pixels as Pillow's `convert("L")` makes them; returns rows and columns.
///
/// Nothing is appended where it fails.
pub(super) fn grey(bytes: &[u8], size_limit: u64, out: &mut Vec<u8>) -> Result<[usize; 2], SliceFault> {
    if is_cut(bytes) {
        return Err(SliceFault::Unreadable("JPEG without an end marker".to_owned()));
    }
    let start = out.len();
    // The decoder reports errors by unwinding out of its C code (no panic hook runs). What it leaves behind is `out`,
    // which is cut back below.
    let decoded = panic::catch_unwind(AssertUnwindSafe(|| decode(bytes, size_limit, out)));
    let result = decoded.unwrap_or_else(|error| {
        let message = error.downcast_ref::<String>().map_or("not decodable", |message| message.as_str());
        Err(SliceFault::Unreadable(format!("JPEG: {}", message.trim_start_matches("libjpeg fatal error: "))))
    });
    if result.is_err() {
        out.truncate(start);
    }
    result
}

fn decode(bytes: &[u8], size_limit: u64, out: &mut Vec<u8>) -> Result<[usize; 2], SliceFault> {
    let picture = Decompress::new_mem(bytes)?;
    let (width, height) = picture.size();
    let (pixels, size) = (width as u64 * height as u64, bytes.len() as u64);
    if pixels > size * MAX_PIXELS_PER_BYTE || pixels * scans(bytes) > size * MAX_VISITS_PER_BYTE {
        let found = format!("{width}x{height} pixels and {} scans in {size} bytes", scans(bytes));
        return Err(SliceFault::Unreadable(found));
    }
    if pixels > size_limit {
        return Err(SliceFault::TooLarge(pixels));
    }
    let start = out.len();
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
        _ => return Err(SliceFault::Unreadable("JPEG with channels that are no color".to_owned())),
    }
    Ok([height, width])
}

/// Decodes to `space`, which has `N` channels, and turns it to grey strip by strip.
fn color<const N: usize>(
    picture: Decompress<&[u8]>,
    space: ColorSpace,
    grey: &mut [u8],
    to_grey: impl Fn([u8; N]) -> u8,
) -> Result<(), SliceFault> {
    let mut rows = picture.to_colorspace(space)?;
    let strip_pixels = rows.width() * STRIP_ROWS;
    let mut strip = vec![[0; N]; strip_pixels.min(grey.len())];
    for grey in grey.chunks_mut(strip_pixels) {
        let strip = rows.read_scanlines_into(&mut strip[..grey.len()])?;
        grey.iter_mut().zip(strip).for_each(|(grey, pixel)| *grey = to_grey(*pixel));
    }
    Ok(rows.finish()?)
}

/// One channel of Pillow's CMYK to RGB for inks stored inverted, as JPEG has them (`ink` and `key` are 255 for none).
fn ink_to_light(ink: u8, key: u8) -> u8 {
    // Pillow's rounded division by 255 of the covered part.
    let product = u32::from(255 - ink) * u32::from(key) + 128;
    key.saturating_sub((((product >> 8) + product) >> 8) as u8)
}

/// Start-of-scan markers. (Scan data cannot hold the byte pair by chance: JPEG escapes 0xff there.)
fn scans(bytes: &[u8]) -> u64 {
    bytes.iter().zip(bytes.iter().skip(1)).filter(|pair| (*pair.0, *pair.1) == (0xff, 0xda)).count() as u64
}

/// Whether the end marker is missing after the last scan starts: Pillow calls that truncated, while the decoder fills up
/// with grey.
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
    fn inks_are_pillows() {
        // Pillow 13: Image.new("CMYK", (1, 1), (255 - ink, 0, 0, 255 - key)).convert("RGB"), red.
        let red =
            [(255, 255), (0, 255), (255, 0), (100, 200), (7, 13), (200, 50)].map(|(ink, key)| ink_to_light(ink, key));
        assert_eq!(red, [255, 0, 0, 78, 0, 39]);
    }

    #[test]
    fn a_cut_picture_has_no_end_after_its_last_scan() {
        assert!(is_cut(&[0xff, 0xd8, 0xff, 0xda, 1, 2]));
        assert!(is_cut(&[0xff, 0xd8, 0xff, 0xd9, 0xff, 0xda, 1, 2]));
        assert!(!is_cut(&[0xff, 0xd8, 0xff, 0xda, 1, 0xff, 0xd9, 0]));
    }
}
