//! Slice stacks: a series folder of M3D-Cap, one 8-bit picture a slice, `0.jpeg ... N.jpeg` or `0.png ... N.png`.
//!
//! Slices are read as the official preparation (M3D's `m3d_cap_data_prepare.py`) reads them: names ending in `.jpeg` or
//! `.png` and not `.jpg`, in the order of their numbers, to 8-bit grey as Pillow's `convert("L")`, unreadable ones left
//! out, then only those of the most common shape. Three things differ, each a refusal where the original fails or goes
//! on in silence: a name that is no number refuses the series and not the whole run; what is left out is recorded; and
//! a series in which no shape holds half of the slices is refused.

use std::collections::HashMap;
use std::fs;
use std::io::Cursor;
use std::ops::Range;
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageReader, Limits};

use super::{ReadLimits, Rescale, SliceDropped, Volume, VolumeReader};
use crate::error::InputError;

/// Reads a folder of numbered JPEG or PNG slices.
#[derive(Clone, Copy, Debug, Default)]
pub struct SliceStackReader;

/// Whether the bytes start as PNG or JPEG does.
pub(super) fn is_picture(head: &[u8]) -> bool {
    head.starts_with(b"\x89PNG") || head.starts_with(&[0xff, 0xd8, 0xff])
}

/// Whether a file of this name belongs to a series of slices: `12.png`.
pub(super) fn is_slice_name(name: &str) -> bool {
    let stem = name.strip_suffix(".jpeg").or_else(|| name.strip_suffix(".png"));
    stem.is_some_and(|stem| !stem.is_empty() && stem.bytes().all(|byte| byte.is_ascii_digit()))
}

impl VolumeReader for SliceStackReader {
    /// Values are 0 to 1 (grey over 255); neither spacing nor orientation is known.
    fn read(&self, path: &Path, limits: &ReadLimits) -> Result<Volume, InputError> {
        let mut listing = Listing::of(path)?;
        let mut stack = Stack::default();
        for (number, name) in &listing.slices {
            let size_limit = limits.max_decoded_bytes - stack.pixels.len() as u64;
            match grey(&path.join(name), size_limit, &mut stack.pixels) {
                Ok(shape) => stack.push(*number, shape),
                Err(SliceFault::TooLarge(bytes)) => {
                    let (expected, found) = (limits.max_decoded_bytes, stack.pixels.len() as u64 + bytes);
                    return Err(InputError::TooLarge { path: path.to_owned(), expected, found });
                }
                Err(SliceFault::Unreadable(why)) => {
                    listing.dropped.push(SliceDropped { slice: *number, reason: format!("unreadable: {why}") });
                }
            }
        }
        if stack.slices.is_empty() {
            let first = listing.dropped.iter().find(|dropped| dropped.reason.starts_with("unreadable"));
            let first = first.map(|dropped| dropped.reason.clone()).unwrap_or_default();
            return Err(InputError::NoReadableSlice { path: path.to_owned(), slices: listing.slices.len(), first });
        }
        let [height, width] = stack.vote(path, &mut listing.dropped)?;
        listing.dropped.sort_by_key(|dropped| dropped.slice);
        let shape_dhw = [stack.slices.len(), height, width];
        let rescale = Rescale { slope: 1.0 / 255.0, intercept: 0.0 };
        Ok(Volume { slices_dropped: listing.dropped, ..Volume::plain(path, shape_dhw, stack.pixels, rescale) })
    }
}

/// The slice files of a series in order, and what was passed over already.
struct Listing {
    slices: Vec<(u32, String)>,
    dropped: Vec<SliceDropped>,
}

impl Listing {
    fn of(path: &Path) -> Result<Listing, InputError> {
        let mut slices = Vec::new();
        let mut dropped = Vec::new();
        let mut others = 0;
        for entry in fs::read_dir(path).map_err(|e| InputError::io(path, e))? {
            let name = entry.map_err(|e| InputError::io(path, e))?.file_name().to_string_lossy().into_owned();
            let number =
                |stem: &str| stem.parse::<u32>().ok().filter(|_| stem.bytes().all(|byte| byte.is_ascii_digit()));
            if let Some(stem) = name.strip_suffix(".jpeg").or_else(|| name.strip_suffix(".png")) {
                match number(stem) {
                    Some(number) => slices.push((number, name)),
                    None => {
                        return Err(InputError::BadSliceName { path: path.to_owned(), found: name });
                    }
                }
            } else if let Some(slice) = name.strip_suffix(".jpg").and_then(number) {
                let reason = "named .jpg: the official preparation takes .jpeg and .png".to_owned();
                dropped.push(SliceDropped { slice, reason });
            } else {
                others += 1;
            }
        }
        if slices.is_empty() {
            let found = format!("{} .jpg and {others} other files", dropped.len());
            return Err(InputError::EmptyFolder { path: path.to_owned(), found });
        }
        // The name breaks a tie such as 7.jpeg beside 7.png, whatever order the file system lists them in.
        slices.sort();
        Ok(Listing { slices, dropped })
    }
}

/// Decoded slices one after the other in one buffer.
#[derive(Default)]
struct Stack {
    pixels: Vec<u8>,
    slices: Vec<Slice>,
}

struct Slice {
    number: u32,
    shape_hw: [usize; 2],
    pixels: Range<usize>,
}

impl Stack {
    fn push(&mut self, number: u32, shape_hw: [usize; 2]) {
        let start = self.slices.last().map_or(0, |slice| slice.pixels.end);
        self.slices.push(Slice { number, shape_hw, pixels: start..self.pixels.len() });
    }

    /// Keeps the slices of the most common shape (the first seen among equals) and closes the gaps.
    fn vote(&mut self, path: &Path, dropped: &mut Vec<SliceDropped>) -> Result<[usize; 2], InputError> {
        let mut counts = HashMap::new();
        for slice in &self.slices {
            *counts.entry(slice.shape_hw).or_insert(0) += 1;
        }
        // Of equal counts `max_by_key` takes the last, so from the end it is the first seen.
        let winner =
            self.slices.iter().rev().max_by_key(|slice| counts[&slice.shape_hw]).expect("at least one slice").shape_hw;
        let [height, width] = winner;
        if counts[&winner] * 2 < self.slices.len() {
            let found = format!("{} of {height}x{width} as the most, and {} shapes", counts[&winner], counts.len());
            return Err(InputError::MixedSliceSizes { path: path.to_owned(), slices: self.slices.len(), found });
        }
        let mut end = 0;
        self.slices.retain(|slice| {
            if slice.shape_hw != winner {
                let [h, w] = slice.shape_hw;
                let reason = format!("shape {h}x{w}: most are {height}x{width}");
                dropped.push(SliceDropped { slice: slice.number, reason });
                return false;
            }
            if slice.pixels.start != end {
                self.pixels.copy_within(slice.pixels.clone(), end);
            }
            end += slice.pixels.len();
            true
        });
        self.pixels.truncate(end);
        Ok(winner)
    }
}

enum SliceFault {
    Unreadable(String),
    /// Would take this many bytes more.
    TooLarge(u64),
}

impl<E: std::error::Error> From<E> for SliceFault {
    fn from(error: E) -> Self {
        SliceFault::Unreadable(error.to_string())
    }
}

/// Most pixels that a byte of a picture can stand for: 1-bit pixels at DEFLATE's best ratio (JPEG stays far below).
const MAX_PIXELS_PER_BYTE: u64 = 8 * 1032;

/// Decodes one picture, whatever its name says it is, and appends its grey pixels; returns rows and columns.
fn grey(path: &Path, size_limit: u64, out: &mut Vec<u8>) -> Result<[usize; 2], SliceFault> {
    // A link could lead anywhere, and a pipe would never end.
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(SliceFault::Unreadable("not a regular file".to_owned()));
    }
    let bytes = fs::read(path)?;
    if is_cut_jpeg(&bytes) {
        return Err(SliceFault::Unreadable("JPEG without an end marker".to_owned()));
    }
    let mut reader = ImageReader::new(Cursor::new(&bytes)).with_guessed_format()?;
    reader.no_limits();
    let mut decoder = reader.into_decoder()?;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    if pixels > bytes.len() as u64 * MAX_PIXELS_PER_BYTE {
        return Err(SliceFault::Unreadable(format!("{width}x{height} pixels in {} bytes", bytes.len())));
    }
    if pixels > size_limit {
        return Err(SliceFault::TooLarge(pixels));
    }
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(decoder.total_bytes().saturating_mul(2) + (64 << 20));
    decoder.set_limits(limits)?;
    append_grey(DynamicImage::from_decoder(decoder)?, out);
    Ok([height as usize, width as usize])
}

/// Appends pixels as Pillow's `convert("L")` makes them: alpha ignored, 16-bit grey clipped at 255, 16-bit colors by
/// their high bytes.
fn append_grey(picture: DynamicImage, out: &mut Vec<u8>) {
    let high = |sample: u16| (sample >> 8) as u8;
    match picture {
        DynamicImage::ImageLuma8(picture) => out.extend_from_slice(&picture),
        DynamicImage::ImageLumaA8(picture) => out.extend(picture.chunks_exact(2).map(|pixel| pixel[0])),
        DynamicImage::ImageRgb8(picture) => {
            out.extend(picture.chunks_exact(3).map(|pixel| luma(pixel[0], pixel[1], pixel[2])))
        }
        DynamicImage::ImageRgba8(picture) => {
            out.extend(picture.chunks_exact(4).map(|pixel| luma(pixel[0], pixel[1], pixel[2])))
        }
        DynamicImage::ImageLuma16(picture) => out.extend(picture.iter().map(|sample| (*sample).min(255) as u8)),
        DynamicImage::ImageLumaA16(picture) => out.extend(picture.chunks_exact(2).map(|pixel| high(pixel[0]))),
        DynamicImage::ImageRgb16(picture) => {
            out.extend(picture.chunks_exact(3).map(|pixel| luma(high(pixel[0]), high(pixel[1]), high(pixel[2]))));
        }
        picture => out.extend(
            picture.to_rgba16().chunks_exact(4).map(|pixel| luma(high(pixel[0]), high(pixel[1]), high(pixel[2]))),
        ),
    }
}

/// Pillow's luminance (`L24` in its Convert.c), ITU-R 601-2 in 16-bit fixed point.
fn luma(red: u8, green: u8, blue: u8) -> u8 {
    ((u32::from(red) * 19595 + u32::from(green) * 38470 + u32::from(blue) * 7471 + 0x8000) >> 16) as u8
}

/// A JPEG whose end marker is missing after the last scan starts: Pillow calls it truncated, the decoder here would fill
/// up with grey. (Scan data cannot hold these byte pairs by chance: JPEG escapes 0xff there.)
fn is_cut_jpeg(bytes: &[u8]) -> bool {
    let last = |marker: [u8; 2]| bytes.windows(2).rposition(|pair| pair == marker);
    bytes.starts_with(&[0xff, 0xd8]) && last([0xff, 0xd9]) <= last([0xff, 0xda])
}

#[cfg(test)]
mod tests {
    use super::luma;

    #[test]
    fn luma_is_pillows() {
        // Pillow 13: Image.new("RGB", (1, 1), color).convert("L").
        assert_eq!([luma(255, 0, 0), luma(0, 255, 0), luma(0, 0, 255)], [76, 150, 29]);
        assert_eq!([luma(255, 255, 255), luma(1, 2, 3), luma(200, 100, 50)], [255, 2, 124]);
    }
}
