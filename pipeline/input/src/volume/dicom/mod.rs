//! DICOM: the slices of one series in a folder, or one file. File names do not matter.
//!
//! The headers of all files are read first: they show whether the slices belong together, and the slices' positions
//! give the order, the spacing and the orientation. Then the pixels are decoded slice by slice, in display order. Files
//! that are not DICOM and hidden files are ignored; DICOM files that cannot be read are recorded as dropped slices, and
//! so are files named as DICOM that are none. A link is read as the file that it leads to.
//!
//! - The frames of an enhanced multi-frame object are slices; such a file is a volume of its own.
//! - Localizers, secondary captures and other objects about a series are recorded as dropped where there are slices.
//!   Localizers alone are refused, unless they are asked for ([`DicomReader::with_localizers`]).
//! - Of two slices at the same position with equal samples, one is kept and the other is recorded as dropped. Where the
//!   samples differ, the folder is refused: it holds several passes over the patient.
//! - A series is told by its identifier and its geometry: several frames of reference are reported, and refused only
//!   where positions are missing or uneven.
//! - A gap of 1.5 times the median distance or more, a tilted gantry, an order by instance number, a volume of one
//!   slice, malformed fields that were not needed and pixel data that is too long are reported in [`Volume::notes`]; the
//!   samples stay unchanged. With a tilted gantry, spacing along D is measured along the normal of the slices.
//! - Where slices differ in rescale or type, samples are converted to values: to `i32` where slopes and intercepts are
//!   whole numbers, else to `f32`, rounded once.
//! - With MONOCHROME1, samples are inverted, so that greater values are brighter, except where they are Hounsfield
//!   units: for those MONOCHROME1 describes only the display, not the values.
//! - Only numbers and coded terms of the header are read ([`header`]); no name, date, description or identifier leaves
//!   this module, with one exception: [`Identifiers`], whose values can be compared and hashed, and not printed. A dropped slice is
//!   named by its index among the folder's DICOM files in the order of their names, each frame counting.
//!
//! Compared with SimpleITK and pydicom; each part names its sources.

mod deflated;
mod elements;
mod error;
mod file;
mod first_headers;
mod header;
mod identifiers;
mod jpeg_2000;
mod jpeg_2000_cost;
mod jpeg_lossless;
mod jpeg_ls;
mod jpeg_segments;
mod kind;
mod pixels;
mod series;
mod transfer_syntax;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use self::error::DicomError;
pub(super) use self::file::is_dicom;
use self::file::{File, HEAD, PixelData, first_part};
use self::first_headers::first_headers;
use self::header::{Header, PixelFormat, Remark, Rescale64, Role};
pub use self::identifiers::{Identifier, Identifiers, PLACEHOLDERS, identifiers};
pub(super) use self::kind::{KIND_HEAD, Kind, kind};
use self::pixels::Decoded;
use self::series::Stack;
use super::limits::{self, MAX_SLICE_BYTES};
use super::samples::{Sample, Samples};
use super::{Arrangement, ReadLimits, Rescale, SliceDropped, Volume, VolumeReader};
use crate::error::InputError;
use crate::orientation::DisplayTransform;
use crate::reading::{self, DirEntry};

/// Reads a folder with the slices of one DICOM series, or one DICOM file as a volume: of one slice, or of the frames of
/// a multi-frame object.
#[derive(Clone, Copy, Debug, Default)]
pub struct DicomReader {
    with_localizers: bool,
    headers_alone: bool,
}

impl DicomReader {
    /// A reader that takes localizers (scouts) for slices where there are no others. The default refuses them with
    /// [`InputError::Localizer`].
    pub fn with_localizers() -> DicomReader {
        DicomReader { with_localizers: true, headers_alone: false }
    }

    /// A reader that looks at headers alone and gives volumes without samples.
    pub(super) fn of_headers() -> DicomReader {
        DicomReader { with_localizers: false, headers_alone: true }
    }
}

impl VolumeReader for DicomReader {
    /// Memory: the samples and a few copies of one slice; of a multi-frame object, also the file.
    fn read(&self, path: &Path, limits: &ReadLimits) -> Result<Volume, InputError> {
        let metadata = reading::metadata(path).map_err(|e| InputError::io(path, e))?;
        let mut folder = Folder { headers_alone: self.headers_alone, ..Folder::default() };
        if metadata.is_dir() {
            folder.list(path, limits)?;
        } else {
            let slices = Slice::open(path.to_owned(), 0, limits, self.headers_alone).map_err(|error| error.at(path))?;
            let unsupported = || DicomError::unsupported("a DICOM file", "another format").at(path);
            folder.slices = slices.ok_or_else(unsupported)?;
        }
        folder.set_aside(path, self.with_localizers)?;
        folder.into_volume(path, limits, metadata.is_dir())
    }
}

/// A slice whose header could be read: a file, or a frame of one.
struct Slice {
    path: Rc<Path>,
    /// Index among the slices of the folder's DICOM files.
    number: u32,
    header: Header,
}

impl Slice {
    /// Reads a file's header, as one slice for each frame, numbered from `number` on; `None` where the file is not
    /// DICOM.
    fn open(
        path: PathBuf,
        number: u32,
        limits: &ReadLimits,
        headers_alone: bool,
    ) -> Result<Option<Vec<Slice>>, DicomError> {
        let first = if headers_alone { first_headers(&path) } else { None };
        let headers = match first {
            Some(headers) => headers,
            None => {
                let Some(bytes) = read_file(&path, limits)? else { return Ok(None) };
                Header::all_of(&File::parse(bytes, limits.max_decoded_bytes)?)?
            }
        };
        let path: Rc<Path> = path.into();
        let slice = |(number, header)| Slice { path: path.clone(), number, header };
        Ok(Some((number..).zip(headers).map(slice).collect()))
    }
}

/// A file whose pixels are decoded, which serves all its frames.
struct OpenFile {
    path: Rc<Path>,
    file: File,
    pixels: Option<PixelData>,
}

impl OpenFile {
    fn open(path: &Rc<Path>, limits: &ReadLimits) -> Result<OpenFile, DicomError> {
        let changed = || DicomError::bad("file", "the file whose header was read before", "another file");
        let bytes = read_file(path, limits)?.ok_or_else(changed)?;
        let file = File::parse(bytes, limits.max_decoded_bytes)?;
        let pixels = file.pixel_data()?;
        Ok(OpenFile { path: path.clone(), file, pixels })
    }
}

/// Bytes of a large file in which the size of its pixels is looked for.
const LOOK: u64 = 32 << 20;

/// A file's bytes; `None` where it is not DICOM: then only its first bytes are read.
fn read_file(path: &Path, limits: &ReadLimits) -> Result<Option<Vec<u8>>, DicomError> {
    let mut file = reading::File::open(path).map_err(DicomError::Io)?;
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
    if length > MAX_SLICE_BYTES {
        // So large a file is one of many frames, or holds much that is not looked at.
        file.by_ref().take(LOOK).read_to_end(&mut bytes).map_err(DicomError::Io)?;
        let set = first_part(&bytes).and_then(|(_, set)| set);
        let promised = set.map_or(0, |set| deflated::pixel_bytes(&set));
        let limit = promised.saturating_mul(2).saturating_add(MAX_SLICE_BYTES);
        if length > limit {
            return Err(DicomError::TooLarge { limit, found: length });
        }
    }
    let rest = (length as usize).saturating_sub(bytes.len());
    limits::reserve(&mut bytes, rest).map_err(DicomError::Io)?;
    file.take(rest as u64).read_to_end(&mut bytes).map_err(DicomError::Io)?;
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
    /// Number of slices whose pixel data is too long, and the most bytes that were left over.
    left_over: (usize, usize),
    /// Whether headers alone are read.
    headers_alone: bool,
}

impl Folder {
    /// Reads the headers of a folder's files in the order of their names, so that the result does not depend on the
    /// file system.
    fn list(&mut self, path: &Path, limits: &ReadLimits) -> Result<(), InputError> {
        let mut number = 0;
        let mut files = 0;
        for entry in reading::entries(path).map_err(|e| InputError::io(path, e))? {
            let Some(name) = slice_name(&entry) else { continue };
            // A link is followed. One that leads nowhere may have been a slice.
            let slices = match reading::metadata(&entry.path()) {
                Ok(metadata) if !metadata.is_file() => continue,
                Ok(_) => Slice::open(entry.path(), number, limits, self.headers_alone),
                Err(error) => Err(DicomError::Io(error)),
            };
            files += 1;
            match slices {
                Ok(None) if !is_named_dicom(&name) => continue,
                Ok(None) => self.drop_slice(number, DicomError::unsupported("a DICOM file", "another format")),
                Ok(Some(mut slices)) => {
                    number += slices.len() as u32;
                    self.slices.append(&mut slices);
                    continue;
                }
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

    /// Drops images that are not slices of the volume where others are, and refuses localizers alone.
    ///
    /// Where most files are unreadable, a capture is not the volume; where any is, a localizer is not.
    fn set_aside(&mut self, path: &Path, with_localizers: bool) -> Result<(), InputError> {
        let any = |role| self.slices.iter().any(|slice: &Slice| slice.header.role == role);
        let [slices, captures, unplaced, localizers] =
            [Role::Slice, Role::Capture, Role::Unplaced, Role::Localizer].map(any);
        let is_placed = |slice: &Slice| slice.header.role != Role::Slice || slice.header.is_placed();
        let all_placed = slices && self.slices.iter().all(is_placed);
        let any_unreadable = !self.dropped.is_empty() && !with_localizers;
        let most_unreadable = self.dropped.len() > self.slices.len();
        let others = slices || captures || unplaced || any_unreadable;
        if localizers && !others && !with_localizers {
            return Err(InputError::Localizer { path: path.to_owned(), slices: self.slices.len() });
        }
        let is_dropped = |slice: &mut Slice| match slice.header.role {
            Role::Slice => false,
            Role::Localizer => others,
            Role::Capture => slices || unplaced || most_unreadable,
            Role::Unplaced => all_placed,
        };
        for slice in self.slices.extract_if(.., is_dropped) {
            let what = match slice.header.role {
                Role::Localizer => "a localizer",
                Role::Capture => "a secondary capture or another object about the series",
                _ => "a secondary image without a position",
            };
            self.dropped.push(SliceDropped { slice: slice.number, reason: format!("no slice of the volume: {what}") });
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
        refuse_several_volumes(path, &slices)?;
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
        let (samples, kept) = if self.headers_alone { job.look()? } else { job.run(&mut self)? };
        if kept.is_empty() {
            return Err(self.nothing_readable(path, is_folder));
        }
        self.dropped.sort_by_key(|dropped| dropped.slice);
        let kept_headers: Vec<&Header> = kept.iter().map(|index| headers[stack.order[*index]]).collect();
        let mut notes = stack.notes(&kept);
        if kept.len() == 1 {
            notes.push("one slice only".to_owned());
        }
        if kept_headers.iter().any(|header| header.role == Role::Localizer) {
            notes.push("a localizer, which was asked for".to_owned());
        }
        notes.extend(notes_of_values(&kept_headers));
        notes.extend(notes_of_remarks(&kept_headers));
        if let (slices @ 1.., most) = self.left_over {
            let rest = if most == 1 { "a byte".to_owned() } else { format!("up to {most} bytes") };
            notes.push(format!("pixel data of {slices} slices longer than their rows: {rest} left out"));
        }
        if self.others > 0 {
            notes.push(format!("{} DICOM objects without a picture passed over", self.others));
        }
        let transposed = stack.display_transform.transpose;
        let (height, width) = if transposed { (first.columns, first.rows) } else { (first.rows, first.columns) };
        let rescale = storage.rescale();
        let spacing_mm_dhw =
            stack.gap_mm(&kept, &headers).zip(series::pixel_spacing_mm(&headers)).map(|(gap, [rows, columns])| {
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
            slices_mm: stack.slices_mm(&kept_headers),
            instance_numbers: series::instance_numbers(&kept_headers),
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
    /// No samples, and every slice, in display order.
    ///
    /// # Errors
    /// As of two different slices at one position, where two are at one: only their samples tell.
    fn look(&self) -> Result<(Samples, Vec<usize>), InputError> {
        let count = self.slices.len();
        let kept: Vec<usize> =
            (0..count).map(|d| if self.stack.display_transform.flip_d { count - 1 - d } else { d }).collect();
        if kept.windows(2).any(|pair| self.stack.is_same_position(pair[0], pair[1])) {
            let found = "two slices at one position".to_owned();
            return Err(InputError::MixedSeries { path: self.path.to_owned(), slices: count, found });
        }
        Ok((Vec::<u8>::new().into(), kept))
    }

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
        let mut open = None;
        for d in 0..count {
            let index = if self.stack.display_transform.flip_d { count - 1 - d } else { d };
            let slice = &self.slices[self.stack.order[index]];
            let bytes = match self.slice_bytes(slice, &mut open) {
                Ok(Decoded { samples, left_over }) => {
                    if left_over > 0 && slice.header.frame == 0 {
                        let (slices, most) = folder.left_over;
                        folder.left_over = (slices + 1, most.max(left_over));
                    }
                    samples
                }
                Err(error @ DicomError::TooLarge { .. }) => return Err(error.at(self.path)),
                Err(error) => {
                    folder.drop_slice(slice.number, error);
                    continue;
                }
            };
            let (start, length) = (out.len(), bytes.len() / size_of::<T>());
            if out.is_empty() {
                // Allocated only after one slice of this size was decoded.
                limits::reserve(&mut out, length * count).map_err(|e| InputError::io(self.path, e))?;
            }
            out.resize(start + length, T::default());
            bytemuck::cast_slice_mut::<T, u8>(&mut out[start..]).copy_from_slice(&bytes);
            if let Some(last) = kept.last().filter(|last| self.stack.is_same_position(**last, index)) {
                if out[start - length..start] != out[start..] {
                    let found = "two different slices at one position".to_owned();
                    let (path, slices) = (self.path.to_owned(), count);
                    return Err(InputError::MixedSeries { path, slices, found });
                }
                let other = self.slices[self.stack.order[*last]].number;
                let reason = format!("same position and samples as slice {other}");
                folder.dropped.push(SliceDropped { slice: slice.number, reason });
                out.truncate(start);
                continue;
            }
            kept.push(index);
        }
        Ok((T::wrap(out.into()), kept))
    }

    /// The samples of a slice in the form of `storage`, little-endian.
    ///
    /// The file that was opened for the slice before serves this one if it holds both.
    fn slice_bytes(&self, slice: &Slice, open: &mut Option<OpenFile>) -> Result<Decoded, DicomError> {
        let header = &slice.header;
        if open.as_ref().is_none_or(|open| !Rc::ptr_eq(&open.path, &slice.path)) {
            // The former file is freed before the next one is read.
            *open = None;
        }
        let open = match open {
            Some(open) => open,
            none => none.insert(OpenFile::open(&slice.path, self.limits)?),
        };
        let decoded = pixels::decode(&open.file, open.pixels.as_ref(), header, is_inverted(header))?;
        if matches!(self.storage, Storage::Stored(..)) {
            return Ok(decoded);
        }
        let Decoded { samples: bytes, left_over } = decoded;
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
        let samples = match self.storage {
            Storage::Whole => values.flat_map(|value| (value as i32).to_le_bytes()).collect(),
            _ => values.flat_map(|value| (value as f32).to_le_bytes()).collect(),
        };
        Ok(Decoded { samples, left_over })
    }
}

/// The name of an entry that may be a slice; `None` for hidden files, which systems and programs leave beside others.
fn slice_name(entry: &DirEntry) -> Option<String> {
    let name = entry.file_name().to_string_lossy().into_owned();
    (!name.starts_with('.')).then_some(name)
}

/// Whether a file's name says that it is DICOM, so that it may be a damaged slice whatever it holds.
fn is_named_dicom(name: &str) -> bool {
    let ending = Path::new(name).extension().map(|ending| ending.to_ascii_lowercase());
    ending.is_some_and(|ending| ["dcm", "dicom", "ima"].iter().any(|dicom| ending == *dicom))
}

/// Refuses a multi-frame object with other images, since each is a volume of its own.
fn refuse_several_volumes(path: &Path, slices: &[Slice]) -> Result<(), InputError> {
    let files = slices.iter().filter(|slice| slice.header.frame == 0 || slice.header.frames == 1).count();
    let objects = slices.iter().filter(|slice| slice.header.frames > 1 && slice.header.frame == 0).count();
    if objects == 0 || files == 1 {
        return Ok(());
    }
    let found = format!("{objects} multi-frame objects among {files} files, each of them a volume of its own");
    Err(InputError::MixedSeries { path: path.to_owned(), slices: slices.len(), found })
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

/// What was passed over in the headers, for [`Volume::notes`].
fn notes_of_remarks(headers: &[&Header]) -> Vec<String> {
    let mut counts: BTreeMap<Remark, usize> = BTreeMap::new();
    headers.iter().flat_map(|header| &header.remarks).for_each(|remark| *counts.entry(*remark).or_default() += 1);
    let note = |(remark, slices): (Remark, usize)| match remark {
        Remark::Malformed(field) => format!("{field} of {slices} slices is malformed and counts as absent"),
        Remark::OtherForm => {
            format!(
                "elements of {slices} slices are in another form than their transfer syntax states: read as they are"
            )
        }
        Remark::NoTransferSyntax => format!("{slices} slices state no transfer syntax: read as their elements show"),
    };
    counts.into_iter().map(note).collect()
}
