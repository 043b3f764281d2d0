//! Slice stacks: a series folder of M3D-Cap, one 8-bit picture a slice, `0.jpeg ... N.jpeg` or `0.png ... N.png`.
//!
//! Slices are read as the official preparation (M3D's `m3d_cap_data_prepare.py`) reads them: names ending in `.jpeg` or
//! `.png` and not `.jpg`, in the order of their numbers, to 8-bit grey as Pillow's `convert("L")`, unreadable ones left
//! out, then only those of the most common shape. Three things differ, each a refusal where the original fails or goes
//! on in silence: a name that is no number refuses the series and not the whole run; what is left out is recorded; and
//! a series in which no shape holds half of the slices is refused.

use std::collections::HashMap;
use std::fs;
use std::ops::Range;
use std::path::Path;

use super::picture::{self, SliceFault};
use super::{ReadLimits, Rescale, SliceDropped, Volume, VolumeReader};
use crate::error::InputError;

/// Reads a folder of numbered JPEG or PNG slices.
#[derive(Clone, Copy, Debug, Default)]
pub struct SliceStackReader;

/// Whether a name is that of a slice: a whole number and `.jpeg` or `.png`.
pub(super) fn is_numbered_picture(name: &str) -> bool {
    let stem = name.strip_suffix(".jpeg").or_else(|| name.strip_suffix(".png"));
    stem.and_then(slice_number).is_some()
}

/// The number that a slice's name is made of.
fn slice_number(stem: &str) -> Option<u32> {
    stem.parse().ok().filter(|_| stem.bytes().all(|byte| byte.is_ascii_digit()))
}

impl VolumeReader for SliceStackReader {
    /// Values are 0 to 1 (grey over 255); neither spacing nor orientation is known.
    fn read(&self, path: &Path, limits: &ReadLimits) -> Result<Volume, InputError> {
        let mut listing = Listing::of(path)?;
        let mut stack = Stack::default();
        let mut file = Vec::new();
        for (number, name) in &listing.slices {
            let size_limit = limits.max_decoded_bytes - stack.pixels.len() as u64;
            match picture::grey(&path.join(name), size_limit, &mut file, &mut stack.pixels) {
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
