//! Slice stacks: a series folder of M3D-Cap, one 8-bit picture a slice, `0.jpeg ... N.jpeg` or `0.png ... N.png`.
//!
//! Slices are read as by the official preparation (M3D's `m3d_cap_data_prepare.py`): names ending in `.jpeg` or `.png`
//! and not `.jpg`, in the order of their numbers, to 8-bit grey as by Pillow's `convert("L")`; unreadable slices are
//! left out, and then slices of another shape than the most common one. Three things differ: a name that is not a
//! number refuses the series and not the whole run; slices that are left out are recorded; and a series is refused
//! where fewer than half of the slices have the most common shape.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs;
use std::ops::Range;
use std::path::Path;

use super::picture;
use super::picture_error::PictureError;
use super::{ReadLimits, Rescale, SliceDropped, Volume, VolumeReader};
use crate::error::InputError;

/// Reads a folder of numbered JPEG or PNG slices.
#[derive(Clone, Copy, Debug, Default)]
pub struct SliceStackReader;

/// Whether a name is a slice's: a whole number and `.jpeg` or `.png`.
pub(super) fn is_numbered_picture(name: &str) -> bool {
    let stem = name.strip_suffix(".jpeg").or_else(|| name.strip_suffix(".png"));
    stem.and_then(slice_number).is_some()
}

/// The names among `pictures` that are the slices of a series.
pub(super) fn slices_among<'a>(pictures: impl Iterator<Item = &'a OsString>) -> HashSet<OsString> {
    pictures.filter(|name| is_numbered_picture(&name.to_string_lossy())).cloned().collect()
}

/// The number of a slice, by its name without the ending.
fn slice_number(stem: &str) -> Option<u32> {
    stem.parse().ok().filter(|_| stem.bytes().all(|byte| byte.is_ascii_digit()))
}

impl VolumeReader for SliceStackReader {
    /// Values are 0 to 1 (grey divided by 255); spacing and orientation are unknown. Memory: the samples, one file's
    /// bytes and one color image.
    fn read(&self, path: &Path, limits: &ReadLimits) -> Result<Volume, InputError> {
        let mut listing = Listing::of(path)?;
        let mut stack = Stack::default();
        let mut file = Vec::new();
        for (number, name) in &listing.slices {
            let size_limit = limits.max_decoded_bytes - stack.pixels.len() as u64;
            match picture::grey(&path.join(name), size_limit, &mut file, &mut stack.pixels) {
                Ok(shape) => stack.push(*number, shape),
                Err(PictureError::TooLarge(bytes)) => {
                    let (expected, found) = (limits.max_decoded_bytes, stack.pixels.len() as u64 + bytes);
                    return Err(InputError::TooLarge { path: path.to_owned(), expected, found });
                }
                Err(PictureError::Unreadable(why)) => {
                    listing.dropped.push(SliceDropped { slice: *number, reason: format!("unreadable: {why}") });
                }
            }
        }
        if stack.slices.is_empty() {
            let first = listing.dropped.iter().find(|dropped| dropped.reason.starts_with("unreadable"));
            let first = first.map(|dropped| dropped.reason.clone()).unwrap_or_default();
            return Err(InputError::NoReadableSlice { path: path.to_owned(), slices: listing.slices.len(), first });
        }
        let [height, width] = stack.keep_most_common_shape(path, &mut listing.dropped)?;
        listing.dropped.sort_by_key(|dropped| dropped.slice);
        let shape_dhw = [stack.slices.len(), height, width];
        let rescale = Rescale { slope: 1.0 / 255.0, intercept: 0.0 };
        Ok(Volume { slices_dropped: listing.dropped, ..Volume::plain(path, shape_dhw, stack.pixels, rescale) })
    }
}

/// The slice files of a series in order, and the files that were left out by their names.
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
            if let Some(stem) = name.strip_suffix(".jpeg").or_else(|| name.strip_suffix(".png")) {
                match slice_number(stem) {
                    Some(number) => slices.push((number, name)),
                    None => {
                        return Err(InputError::BadSliceName { path: path.to_owned(), found: name });
                    }
                }
            } else if let Some(slice) = name.strip_suffix(".jpg").and_then(slice_number) {
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
        // Of equal numbers, such as 7.jpeg and 7.png, the name decides, so that the file system's order does not
        // matter.
        slices.sort();
        Ok(Listing { slices, dropped })
    }
}

/// Decoded slices, consecutive in one buffer.
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

    /// Keeps the slices of the most common shape (of equally common ones the first) and moves them together.
    fn keep_most_common_shape(
        &mut self,
        path: &Path,
        dropped: &mut Vec<SliceDropped>,
    ) -> Result<[usize; 2], InputError> {
        let mut counts = HashMap::new();
        for slice in &self.slices {
            *counts.entry(slice.shape_hw).or_insert(0) += 1;
        }
        // Of equal counts `max_by_key` returns the last, which in reverse order is the first slice's.
        let most_common =
            self.slices.iter().rev().max_by_key(|slice| counts[&slice.shape_hw]).expect("at least one slice").shape_hw;
        let [height, width] = most_common;
        if counts[&most_common] * 2 < self.slices.len() {
            let found =
                format!("{} of {height}x{width} as the most, and {} shapes", counts[&most_common], counts.len());
            return Err(InputError::MixedSliceSizes { path: path.to_owned(), slices: self.slices.len(), found });
        }
        let mut end = 0;
        self.slices.retain(|slice| {
            if slice.shape_hw != most_common {
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
        Ok(most_common)
    }
}
