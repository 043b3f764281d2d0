//! Slice stacks: a series folder of M3D-Cap, one 8-bit picture a slice, `0.jpeg ... N.jpeg` or `0.png ... N.png`.
//!
//! Slices are read as by the official preparation (M3D's `m3d_cap_data_prepare.py`): names ending in `.jpeg` or `.png`
//! and not `.jpg`, in the order of their numbers, to 8-bit grey as by Pillow's `convert("L")`; unreadable slices are
//! left out, and then slices of another shape than the most common one. Three things differ: a name that is not a
//! number refuses the series and not the whole run; slices that are left out are recorded; and a series is refused
//! where fewer than half of the slices have the most common shape. Which names are slices, and what more is taken, is
//! in [`slice_names`](super::slice_names).

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::io;
use std::ops::Range;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::buffers::{Buffer, Buffers, Purpose};
use super::limits::{self, MAX_SLICE_BYTES};
use super::picture::{self, Picture};
use super::picture_error::PictureError;
use super::samples::{Samples, Stored};
use super::slice_names::series_of;
use super::{ReadLimits, Rescale, SliceDropped, Volume, VolumeReader};
use crate::error::InputError;
use crate::reading::{self, DirEntry};

/// What becomes of slices of 16-bit grey.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeepPictures {
    /// Values above 255 become white, as Pillow's `convert("L")` and with it the official preparation have them; a note
    /// says how many.
    #[default]
    Clip,
    /// The smallest value of the series is black and the largest white. All slices must be 16-bit grey.
    Range,
}

/// Reads a folder of numbered JPEG or PNG slices, of 16-bit slices as [`DeepPictures::Clip`].
#[derive(Clone, Copy, Debug, Default)]
pub struct SliceStackReader;

/// The names among the pictures of a folder that belong to its series: its slices, and pictures that reading it reports.
pub(super) fn slices_among<'a>(pictures: impl Iterator<Item = &'a OsString>) -> HashSet<OsString> {
    let pictures: Vec<&OsString> = pictures.collect();
    let names: Vec<_> = pictures.iter().map(|name| name.to_string_lossy()).collect();
    let Some(series) = series_of(&names.iter().map(AsRef::as_ref).collect::<Vec<&str>>()) else {
        return HashSet::new();
    };
    let numbered = series.slices.iter().chain(&series.dropped).map(|(_, index)| *index);
    numbered.chain(series.stray).map(|index| pictures[index].clone()).collect()
}

impl VolumeReader for SliceStackReader {
    /// Values are 0 to 1 (grey divided by 255); spacing and orientation are unknown. Memory: the samples, one file's
    /// bytes and one color image.
    fn read(&self, path: &Path, limits: &ReadLimits) -> Result<Volume, InputError> {
        read(path, limits, &Buffers::default(), DeepPictures::Clip)
    }
}

/// Reads a folder of slices; see [`SliceStackReader`].
///
/// # Errors
/// As the reader's, and [`InputError::MixedSeries`] where the range of 16-bit slices is asked for and some slices are
/// not.
pub(super) fn read(
    path: &Path,
    limits: &ReadLimits,
    buffers: &Buffers,
    deep: DeepPictures,
) -> Result<Volume, InputError> {
    let mut listing = Listing::of(path)?;
    let mut stack = Stack { pixels: None, end: 0, slices: Vec::new() };
    let (mut file, mut pixels) = (Vec::new(), Vec::new());
    for (index, (number, name)) in listing.slices.iter().enumerate() {
        let size_limit = limits.max_decoded_bytes - stack.end as u64;
        pixels.clear();
        let place = path.join(name);
        let picture = if buffers.are_for_headers() {
            picture::look(&place, size_limit, &mut file)
        } else {
            picture::grey(&place, size_limit, &mut file, &mut pixels)
        };
        match picture {
            Ok(picture) if buffers.are_for_headers() => {
                let [height, width] = picture.shape_hw;
                let pixels = stack.end..stack.end + height * width;
                stack.end = pixels.end;
                stack.slices.push(Slice { index, number: *number, picture, pixels });
            }
            Ok(picture) => {
                // The slices that follow have this size in most series.
                let rest = (pixels.len() as u64).saturating_mul((listing.slices.len() - index) as u64);
                let room = stack.end + rest.min(size_limit) as usize;
                let slice = Slice { index, number: *number, picture, pixels: stack.end..stack.end + pixels.len() };
                stack.push(slice, &pixels, room, buffers).map_err(|e| InputError::io(path, e))?;
            }
            Err(PictureError::TooLarge(bytes)) => {
                return Err(too_large(path, limits, stack.end as u64 + bytes));
            }
            Err(PictureError::SliceTooLarge(found)) => {
                return Err(InputError::TooLarge { path: path.to_owned(), expected: MAX_SLICE_BYTES, found });
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
    let mut notes = listing.notes;
    if stack.slices.len() == 1 {
        notes.push("the series has one slice".to_owned());
    }
    let shape_dhw = [stack.slices.len(), height, width];
    let deep_slices = stack.slices.iter().filter(|slice| slice.picture.clipped.is_some()).count();
    let rescale = Rescale { slope: 1.0 / 255.0, intercept: 0.0 };
    let mut volume = if deep_slices > 0 && deep == DeepPictures::Range {
        if deep_slices < stack.slices.len() {
            let found = format!("{deep_slices} of 16-bit grey and {} others", stack.slices.len() - deep_slices);
            return Err(InputError::MixedSeries { path: path.to_owned(), slices: stack.slices.len(), found });
        }
        let names = stack.slices.iter().map(|slice| &listing.slices[slice.index].1);
        if buffers.are_for_headers() {
            Volume::plain(path, shape_dhw, Vec::<u8>::new(), rescale)
        } else {
            deep_volume(path, limits, shape_dhw, names, &mut file)?
        }
    } else if buffers.are_for_headers() {
        Volume::plain(path, shape_dhw, Vec::<u8>::new(), rescale)
    } else {
        notes.extend(stack.clip_note(deep_slices));
        let pixels = stack.pixels.expect("a stack of slices has pixels");
        Volume::plain(path, shape_dhw, Samples::U8(Stored::decoded(pixels, 0..stack.end)), rescale)
    };
    notes.append(&mut volume.notes);
    Ok(Volume { slices_dropped: listing.dropped, notes, ..volume })
}

/// The volume of slices of 16-bit grey, values 0 to 1 between the smallest and the largest number.
fn deep_volume<'a>(
    path: &Path,
    allowed: &ReadLimits,
    shape_dhw: [usize; 3],
    names: impl Iterator<Item = &'a OsString>,
    file: &mut Vec<u8>,
) -> Result<Volume, InputError> {
    let count: usize = shape_dhw.iter().product();
    let bytes = 2 * count as u64;
    if bytes > allowed.max_decoded_bytes {
        return Err(too_large(path, allowed, bytes));
    }
    let mut samples: Vec<u16> = Vec::new();
    limits::reserve(&mut samples, count).map_err(|e| InputError::io(path, e))?;
    let changed =
        || InputError::Unreadable { path: path.to_owned(), source: std::io::Error::other("changed while read") };
    for name in names {
        picture::deep_grey(&path.join(name), file, &mut samples).map_err(|_| changed())?;
    }
    if samples.len() != count {
        return Err(changed());
    }
    let low = samples.iter().copied().min().unwrap_or_default();
    let high = samples.iter().copied().max().unwrap_or_default();
    let slope = 1.0 / f32::from(high - low).max(1.0);
    let rescale = Rescale { slope, intercept: -f32::from(low) * slope };
    let note = format!("the slices are 16-bit grey: {low} is black and {high} is white");
    Ok(Volume { notes: vec![note], ..Volume::plain(path, shape_dhw, samples, rescale) })
}

fn too_large(path: &Path, limits: &ReadLimits, found: u64) -> InputError {
    InputError::TooLarge { path: path.to_owned(), expected: limits.max_decoded_bytes, found }
}

/// The slice files of a series in order, and the files that were left out by their names.
struct Listing {
    slices: Vec<(u32, OsString)>,
    dropped: Vec<SliceDropped>,
    notes: Vec<String>,
}

impl Listing {
    fn of(path: &Path) -> Result<Listing, InputError> {
        let entries = reading::entries(path).map_err(|e| InputError::io(path, e))?;
        let files: Vec<OsString> = entries.iter().map(DirEntry::file_name).collect();
        let names: Vec<_> = files.iter().map(|name| name.to_string_lossy()).collect();
        let Some(series) = series_of(&names.iter().map(AsRef::as_ref).collect::<Vec<&str>>()) else {
            let jpg = names.iter().filter(|name| name.to_lowercase().ends_with(".jpg")).count();
            let found = format!("{jpg} .jpg and {} other files", names.len() - jpg);
            return Err(InputError::EmptyFolder { path: path.to_owned(), found });
        };
        if let Some(stray) = series.stray {
            return Err(InputError::BadSliceName { path: path.to_owned(), found: names[stray].to_string() });
        }
        let reason = || "named .jpg: the official preparation takes .jpeg and .png".to_owned();
        Ok(Listing {
            slices: series.slices.iter().map(|(number, index)| (*number, files[*index].clone())).collect(),
            dropped: series.dropped.iter().map(|(slice, _)| SliceDropped { slice: *slice, reason: reason() }).collect(),
            notes: series.notes,
        })
    }
}

/// Decoded slices, consecutive in one buffer.
struct Stack {
    /// None before the first slice.
    pixels: Option<Buffer>,
    /// Bytes of the buffer that are in use.
    end: usize,
    slices: Vec<Slice>,
}

struct Slice {
    /// Index in the listing.
    index: usize,
    number: u32,
    picture: Picture,
    pixels: Range<usize>,
}

impl Stack {
    /// Adds a slice; a new buffer has `room` bytes, which are at least the stack's with the slice.
    fn push(&mut self, slice: Slice, pixels: &[u8], room: usize, buffers: &Buffers) -> io::Result<()> {
        let buffer = match &mut self.pixels {
            Some(buffer) => buffer,
            none => none.insert(buffers.take(Purpose::Samples, room)?),
        };
        if buffer.bytes().len() < slice.pixels.end {
            buffer.grow(room)?;
        }
        buffer.bytes_mut()[slice.pixels.clone()].copy_from_slice(pixels);
        self.end = slice.pixels.end;
        self.slices.push(slice);
        Ok(())
    }

    /// What became of slices of 16-bit grey, where there are some.
    fn clip_note(&self, deep_slices: usize) -> Option<String> {
        let clipped: usize = self.slices.iter().filter_map(|slice| slice.picture.clipped).sum();
        let share = 100.0 * clipped as f64 / self.end.max(1) as f64;
        let share = if clipped > 0 && share < 0.1 { "less than 0.1".to_owned() } else { format!("{share:.1}") };
        let all = self.slices.len();
        let note = || {
            format!(
                "{deep_slices} of {all} slices are 16-bit grey: {share} % of all voxels, above 255, are clipped to white"
            )
        };
        (deep_slices > 0).then(note)
    }

    /// Keeps the slices of the most common shape (of equally common ones the first) and moves them together.
    fn keep_most_common_shape(
        &mut self,
        path: &Path,
        dropped: &mut Vec<SliceDropped>,
    ) -> Result<[usize; 2], InputError> {
        let mut counts = HashMap::new();
        for slice in &self.slices {
            *counts.entry(slice.picture.shape_hw).or_insert(0) += 1;
        }
        // Of equal counts `max_by_key` returns the last, which in reverse order is the first slice's.
        let most_common = self
            .slices
            .iter()
            .rev()
            .max_by_key(|slice| counts[&slice.picture.shape_hw])
            .expect("at least one slice")
            .picture
            .shape_hw;
        let [height, width] = most_common;
        if counts[&most_common] * 2 < self.slices.len() {
            let found =
                format!("{} of {height}x{width} as the most, and {} shapes", counts[&most_common], counts.len());
            return Err(InputError::MixedSliceSizes { path: path.to_owned(), slices: self.slices.len(), found });
        }
        let mut end = 0;
        self.slices.retain(|slice| {
            if slice.picture.shape_hw != most_common {
                let [h, w] = slice.picture.shape_hw;
                let reason = format!("shape {h}x{w}: most are {height}x{width}");
                dropped.push(SliceDropped { slice: slice.number, reason });
                return false;
            }
            if let Some(pixels) = self.pixels.as_mut().filter(|_| slice.pixels.start != end) {
                pixels.bytes_mut().copy_within(slice.pixels.clone(), end);
            }
            end += slice.pixels.len();
            true
        });
        self.end = end;
        Ok(most_common)
    }
}
