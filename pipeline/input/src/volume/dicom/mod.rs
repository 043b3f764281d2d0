//! DICOM: the slices of one series in a folder, or one file. File names do not matter.
//!
//! The headers of all files are read first: they show whether the slices belong together, and the slices' positions
//! give the order, the spacing and the orientation. Then the pixels are decoded slice by slice, in display order. Files
//! that are not DICOM are ignored; DICOM files that cannot be read are recorded as dropped slices.
//!
//! - Of two slices at the same position with equal samples, one is kept and the other is recorded as dropped. Where the
//!   samples differ, the folder is refused: it holds several passes over the patient.
//! - A gap of 1.5 times the median distance or more, a tilted gantry, or an order by instance number is reported in
//!   [`Volume::notes`]; the samples stay unchanged. With a tilted gantry, spacing along D is measured along the normal
//!   of the slices.
//! - Where slices differ in rescale or type, samples are converted to values: to `i32` where slopes and intercepts are
//!   whole numbers, else to `f32`, rounded once.
//! - With MONOCHROME1, samples are inverted, so that greater values are brighter, except where they are Hounsfield
//!   units: for those MONOCHROME1 describes only the display, not the values.
//! - Only numbers and coded terms of the header are read ([`header`]); no name, date, description or identifier leaves
//!   this module. A dropped slice is named by its index among the folder's DICOM files in the order of their names.
//!
//! Compared with SimpleITK and pydicom; each part names its sources.

mod error;
mod file;
mod header;
mod jpeg_2000;
mod jpeg_lossless;
mod jpeg_ls;
mod jpeg_segments;
mod kind;
mod pixels;
mod series;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use self::error::DicomError;
pub(super) use self::file::is_dicom;
use self::file::{File, HEAD};
pub(super) use self::kind::{Kind, kind_of};
use self::header::{Header, PixelFormat, Rescale64};
use self::series::Stack;
use super::samples::{Sample, Samples};
use super::{Arrangement, ReadLimits, Rescale, SliceDropped, Volume, VolumeReader};
use crate::error::InputError;
use crate::orientation::DisplayTransform;

/// Reads a folder with the slices of one DICOM series, or one DICOM file as a volume of one slice.
#[derive(Clone, Copy, Debug, Default)]
pub struct DicomReader;

impl VolumeReader for DicomReader {
    /// Memory: the samples and a few copies of one slice.
    fn read(&self, path: &Path, limits: &ReadLimits) -> Result<Volume, InputError> {
        let metadata = fs::metadata(path).map_err(|e| InputError::io(path, e))?;
        let mut folder = Folder::default();
        if metadata.is_dir() {
            folder.list(path, limits)?;
        } else {
            let slice = Slice::open(path.to_owned(), 0, limits).map_err(|error| error.at(path))?;
            let unsupported = || DicomError::unsupported("a DICOM file", "another format").at(path);
            folder.slices.push(slice.ok_or_else(unsupported)?);
        }
        folder.into_volume(path, limits, metadata.is_dir())
    }
}

/// A slice whose header could be read.
struct Slice {
    path: PathBuf,
    /// Index among the DICOM files of the folder.
    number: u32,
    header: Header,
}

impl Slice {
    /// Reads a file's header; `None` where the file is not DICOM.
    fn open(path: PathBuf, number: u32, limits: &ReadLimits) -> Result<Option<Slice>, DicomError> {
        let Some(bytes) = read_file(&path, limits)? else { return Ok(None) };
        let header = Header::of(&File::parse(&bytes, limits.max_decoded_bytes)?)?;
        Ok(Some(Slice { path, number, header }))
    }

    /// Decodes the samples by the header that was read before.
    fn samples(&self, invert: bool, limits: &ReadLimits) -> Result<Vec<u8>, DicomError> {
        let changed = || DicomError::bad("file", "the file whose header was read before", "another file");
        let bytes = read_file(&self.path, limits)?.ok_or_else(changed)?;
        let file = File::parse(&bytes, limits.max_decoded_bytes)?;
        pixels::decode(&file, &self.header, invert)
    }
}

/// A file's bytes; `None` where it is not DICOM: then only its first bytes are read.
fn read_file(path: &Path, limits: &ReadLimits) -> Result<Option<Vec<u8>>, DicomError> {
    let mut file = fs::File::open(path).map_err(DicomError::Io)?;
    let length = file.metadata().map_err(DicomError::Io)?.len();
    let mut bytes = Vec::new();
    file.by_ref().take(HEAD as u64).read_to_end(&mut bytes).map_err(DicomError::Io)?;
    if !is_dicom(&bytes) {
        return Ok(None);
    }
    // 1 MiB for the header, which is small compared with the pixels.
    if length > limits.max_decoded_bytes.saturating_add(1 << 20) {
        return Err(DicomError::TooLarge { limit: limits.max_decoded_bytes, found: length });
    }
    bytes.reserve_exact((length as usize).saturating_sub(bytes.len()));
    file.take(length).read_to_end(&mut bytes).map_err(DicomError::Io)?;
    Ok(Some(bytes))
}

/// The files of a series.
#[derive(Default)]
struct Folder {
    slices: Vec<Slice>,
    dropped: Vec<SliceDropped>,
    /// Why the first dropped file could not be read.
    first_error: Option<DicomError>,
    /// Number of DICOM objects without an image.
    others: usize,
}

impl Folder {
    /// Reads the headers of a folder's files in the order of their names, so that the result does not depend on the
    /// file system.
    fn list(&mut self, path: &Path, limits: &ReadLimits) -> Result<(), InputError> {
        let mut number = 0;
        let mut files = 0;
        for entry in super::sorted_entries(path)? {
            // Whoever names the folder decides whether its links may be followed.
            if !entry.path().is_file() {
                continue;
            }
            files += 1;
            let slice = Slice::open(entry.path(), number, limits);
            match slice {
                Ok(None) => continue,
                Ok(Some(slice)) => self.slices.push(slice),
                Err(DicomError::NoImage) => {
                    self.others += 1;
                    continue;
                }
                Err(error @ DicomError::TooLarge { .. }) => return Err(error.at(path)),
                Err(error) => self.drop_slice(number, error),
            }
            number += 1;
        }
        if number == 0 {
            let found = format!("{} DICOM objects without a picture among {files} files", self.others);
            return Err(InputError::EmptyFolder { path: path.to_owned(), found });
        }
        Ok(())
    }

    fn drop_slice(&mut self, number: u32, error: DicomError) {
        self.dropped.push(SliceDropped { slice: number, reason: format!("unreadable: {error}") });
        self.first_error.get_or_insert(error);
    }

    fn into_volume(mut self, path: &Path, limits: &ReadLimits, is_folder: bool) -> Result<Volume, InputError> {
        if self.slices.is_empty() {
            return Err(self.nothing_readable(path, is_folder));
        }
        let slices = std::mem::take(&mut self.slices);
        let headers: Vec<&Header> = slices.iter().map(|slice| &slice.header).collect();
        series::check_one_series(path, &headers)?;
        let stack = Stack::of(path, &headers)?;
        let storage = Storage::of(&headers);
        let first = headers[0];
        // No overflow: two counts below 2^16, at most 4 bytes a sample, and a number of files.
        let size = (first.rows * first.columns * storage.bytes()) as u64 * slices.len() as u64;
        if size > limits.max_decoded_bytes {
            let (expected, found) = (limits.max_decoded_bytes, size);
            return Err(InputError::TooLarge { path: path.to_owned(), expected, found });
        }
        let job = Job { path, limits, slices: &slices, stack: &stack, storage };
        let (samples, kept) = job.run(&mut self)?;
        if kept.is_empty() {
            return Err(self.nothing_readable(path, is_folder));
        }
        self.dropped.sort_by_key(|dropped| dropped.slice);
        let kept_headers: Vec<&Header> = kept.iter().map(|index| headers[stack.order[*index]]).collect();
        let mut notes = stack.notes(&kept);
        notes.extend(notes_of_values(&kept_headers));
        if self.others > 0 {
            notes.push(format!("{} DICOM objects without a picture passed over", self.others));
        }
        let transposed = stack.display_transform.transpose;
        let (height, width) = if transposed { (first.columns, first.rows) } else { (first.rows, first.columns) };
        let rescale = storage.rescale();
        let spacing_mm_dhw = stack.gap_mm(&kept, &headers).zip(first.pixel_spacing_mm).map(|(gap, [rows, columns])| {
            let [h, w] = if stack.display_transform.transpose { [columns, rows] } else { [rows, columns] };
            [gap as f32, h as f32, w as f32]
        });
        Ok(Volume {
            path: path.to_owned(),
            shape_dhw: [kept.len(), height, width],
            samples,
            // Slices are in display order already.
            arrangement: Arrangement::of(DisplayTransform { flip_d: false, ..stack.display_transform }),
            rescale,
            spacing_mm_dhw,
            orientation: stack.orientation.map(|orientation| orientation.codes()),
            plane: stack.orientation.map(|orientation| orientation.plane()),
            hu_known: kept_headers.iter().all(|header| header.hounsfield),
            slices_dropped: self.dropped,
            notes,
        })
    }

    /// The error of a series without a readable slice, by its first error.
    fn nothing_readable(self, path: &Path, is_folder: bool) -> InputError {
        let slices = self.dropped.len();
        match self.first_error {
            Some(error) if !is_folder || matches!(error, DicomError::Unsupported { .. }) => error.at(path),
            Some(error) => InputError::NoReadableSlice { path: path.to_owned(), slices, first: error.to_string() },
            None => DicomError::NoImage.at(path),
        }
    }
}

/// The form of samples in memory.
#[derive(Clone, Copy)]
enum Storage {
    /// Stored numbers, whose format and rescale are the same in all slices.
    Stored(PixelFormat, Rescale64),
    /// Values as whole numbers.
    Whole,
    /// Values as floats.
    Float,
}

impl Storage {
    fn of(headers: &[&Header]) -> Storage {
        let first = headers[0];
        let like = |header: &&Header| {
            let (a, b) = (&header.format, &first.format);
            header.rescale == first.rescale && (a.bits_allocated, a.signed) == (b.bits_allocated, b.signed)
        };
        if headers.iter().all(like) {
            return Storage::Stored(first.format, first.rescale);
        }
        let whole = |header: &&Header| {
            let Rescale64 { slope, intercept } = header.rescale;
            // With this bound, values fit 32 bits and are exact.
            let most = slope.abs() * 2f64.powi(header.format.bits_stored as i32) + intercept.abs();
            slope.fract() == 0.0 && intercept.fract() == 0.0 && most < 2f64.powi(31)
        };
        if headers.iter().all(whole) { Storage::Whole } else { Storage::Float }
    }

    /// Bytes per sample.
    fn bytes(self) -> usize {
        match self {
            Storage::Stored(format, _) => format.bytes(),
            Storage::Whole | Storage::Float => 4,
        }
    }

    fn rescale(self) -> Rescale {
        match self {
            Storage::Stored(_, Rescale64 { slope, intercept }) => {
                Rescale { slope: slope as f32, intercept: intercept as f32 }
            }
            Storage::Whole | Storage::Float => Rescale::IDENTITY,
        }
    }
}

/// The decoding of a series whose headers agree.
struct Job<'a> {
    path: &'a Path,
    limits: &'a ReadLimits,
    slices: &'a [Slice],
    stack: &'a Stack,
    storage: Storage,
}

impl Job<'_> {
    /// The samples, slices in display order and rows in the files' order, and the indices in the stack's order of the
    /// slices that were kept.
    fn run(&self, folder: &mut Folder) -> Result<(Samples, Vec<usize>), InputError> {
        Ok(match self.storage {
            Storage::Stored(format, _) => match (format.bits_allocated, format.signed) {
                (8, false) => self.decode::<u8>(folder)?,
                (8, true) => self.decode::<i8>(folder)?,
                (16, false) => self.decode::<u16>(folder)?,
                (16, true) => self.decode::<i16>(folder)?,
                (_, false) => self.decode::<u32>(folder)?,
                (_, true) => self.decode::<i32>(folder)?,
            },
            Storage::Whole => self.decode::<i32>(folder)?,
            Storage::Float => self.decode::<f32>(folder)?,
        })
    }

    fn decode<T: Sample>(&self, folder: &mut Folder) -> Result<(Samples, Vec<usize>), InputError> {
        let count = self.slices.len();
        let mut out: Vec<T> = Vec::new();
        let mut kept: Vec<usize> = Vec::new();
        for d in 0..count {
            let index = if self.stack.display_transform.flip_d { count - 1 - d } else { d };
            let slice = &self.slices[self.stack.order[index]];
            let bytes = match self.slice_bytes(slice) {
                Ok(bytes) => bytes,
                Err(error @ DicomError::TooLarge { .. }) => return Err(error.at(self.path)),
                Err(error) => {
                    folder.drop_slice(slice.number, error);
                    continue;
                }
            };
            let samples: Vec<T> = bytemuck::pod_collect_to_vec(&bytes);
            if let Some(last) = kept.last().filter(|last| self.stack.is_same_position(**last, index)) {
                if out[out.len() - samples.len()..] != samples[..] {
                    let found = "two different slices at one position".to_owned();
                    let (path, slices) = (self.path.to_owned(), count);
                    return Err(InputError::MixedSeries { path, slices, found });
                }
                let other = self.slices[self.stack.order[*last]].number;
                let reason = format!("same position and samples as slice {other}");
                folder.dropped.push(SliceDropped { slice: slice.number, reason });
                continue;
            }
            if out.is_empty() {
                // Allocated only after one slice of this size was decoded.
                out.reserve_exact(samples.len() * count);
            }
            out.extend_from_slice(&samples);
            kept.push(index);
        }
        Ok((T::wrap(out.into()), kept))
    }

    /// The samples of a slice in the form of `storage`, little-endian.
    fn slice_bytes(&self, slice: &Slice) -> Result<Vec<u8>, DicomError> {
        let header = &slice.header;
        let bytes = slice.samples(is_inverted(header), self.limits)?;
        if matches!(self.storage, Storage::Stored(..)) {
            return Ok(bytes);
        }
        let Rescale64 { slope, intercept } = header.rescale;
        let value = |stored: f64| stored * slope + intercept;
        let values = bytes.chunks_exact(header.format.bytes()).map(|sample| {
            let mut wide = if header.format.signed && sample[sample.len() - 1] >= 0x80 { [0xff; 4] } else { [0; 4] };
            wide[..sample.len()].copy_from_slice(sample);
            if header.format.signed {
                value(i32::from_le_bytes(wide).into())
            } else {
                value(u32::from_le_bytes(wide).into())
            }
        });
        Ok(match self.storage {
            Storage::Whole => values.flat_map(|value| (value as i32).to_le_bytes()).collect(),
            _ => values.flat_map(|value| (value as f32).to_le_bytes()).collect(),
        })
    }
}

/// Whether samples are inverted: for MONOCHROME1, except Hounsfield units.
fn is_inverted(header: &Header) -> bool {
    header.format.white_is_least && !header.hounsfield
}

/// Warnings about the values, for [`Volume::notes`].
fn notes_of_values(headers: &[&Header]) -> Vec<String> {
    let mut notes = Vec::new();
    let white = headers.iter().filter(|header| header.format.white_is_least).count();
    let inverted = headers.iter().filter(|header| is_inverted(header)).count();
    if inverted > 0 {
        notes.push(format!("MONOCHROME1: samples of {inverted} slices inverted"));
    }
    if white > inverted {
        notes.push(format!("MONOCHROME1: Hounsfield units of {} slices unchanged", white - inverted));
    }
    let padded = headers.iter().filter(|header| !is_inverted(header)).find_map(|header| {
        let value = |stored: i32| f64::from(stored) * header.rescale.slope + header.rescale.intercept;
        header.padding.map(|(from, to)| (value(from), to.map(value)))
    });
    match padded {
        Some((from, Some(to))) => notes.push(format!("pixels without data have values from {from} to {to}")),
        Some((value, None)) => notes.push(format!("pixels without data have the value {value}")),
        None => {}
    }
    notes
}
