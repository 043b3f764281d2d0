//! Volumes: reads the files of one CT, in any supported format, into samples that are viewed in D H W order.
//!
//! Samples stay in the file's order, in the buffer that they were decoded into; the display order is a view ([`Grid`]).
//! [`read`] picks the reader by the kind of file or folder at the path. Readers refuse rather than guess: an input that
//! is cut, damaged or states a wrong size is an [`InputError`] before memory is allocated for it.
//!
//! # Layout
//! - [`Volume`], [`Rescale`], [`ReadLimits`], [`VolumeReader`]: what reading gives, its limits, and the readers' trait
//! - [`look`]: what the headers of an input say of it
//! - [`read`], [`paired_file`]: which reader a path needs, and which files belong to one volume
//! - [`Folder`], [`entry_at`]: what every entry of a folder is, for whoever lists a tree
//! - [`identifiers`]: of which patient, study and series a DICOM input is, to be compared and hashed and never printed
//! - `samples`, `grid`, `values`: the stored numbers, their view along D, H and W, and their values
//! - `nifti`, `dicom`, `nrrd`, `metaimage`, `mgh`, `npy`, `slice_stack`: one reader a format
//! - `oriented`, `data_file`: what formats with i, j and k axes share, and what headers in text share
//! - [`magic`]: what a file is, by its first bytes, for messages and counts
//! - `slice_names`: which names of a folder are slices
//! - `picture`, `png_header`, `jpeg`: one PNG or JPEG file to 8-bit grey
//! - [`ReadLimits`], [`MAX_SLICE_BYTES`]: how much memory a reading may take, the same for every reader
//! - `source`, `gzip`, `buffers`: file contents within a memory limit, and memory that is used again
//! - `stage`: reports to an observer what a reader is doing

mod buffers;
mod data_file;
mod dicom;
mod folder;
mod grid;
mod gzip;
mod jpeg;
mod limits;
pub(crate) mod low_high;
mod luma;
pub mod magic;
mod metaimage;
mod mgh;
mod nifti;
mod npy;
mod nrrd;
mod oriented;
mod picture;
mod picture_error;
mod png_header;
mod samples;
mod slice_names;
mod slice_stack;
mod source;
mod stage;
pub(crate) mod values;

use std::io::Read;
use std::path::{Path, PathBuf};

pub use self::buffers::Buffers;
pub use self::dicom::{DicomReader, Identifier, Identifiers, PLACEHOLDERS, identifiers};
pub use self::folder::{Entry, FileKind, Folder, PassedOver, Series, entry_at};
pub use self::grid::{Arrangement, Grid};
pub use self::limits::{MAX_SLICE_BYTES, ReadLimits};
pub use self::metaimage::MetaImageReader;
pub use self::mgh::MghReader;
pub use self::nifti::NiftiReader;
pub use self::npy::NpyReader;
pub use self::nrrd::NrrdReader;
pub(crate) use self::samples::with_samples;
pub use self::samples::{Sample, Samples, Stored};
pub use self::slice_stack::{DeepPictures, SliceStackReader};
pub use self::stage::{Stage, StageObserver, with_stage_observer};
pub use med2e3_schemas::volume::SliceDropped;

use crate::error::InputError;
use crate::orientation::Plane;
use crate::reading::{self, File};

/// One CT volume in memory: slices first, each in radiological display (see [`orientation`](crate::orientation)).
#[derive(Clone, Debug, PartialEq)]
pub struct Volume {
    /// The file or folder that it was read from, for messages.
    pub path: PathBuf,
    /// Slices, rows, columns; each at least 1.
    pub shape_dhw: [usize; 3],
    /// Stored numbers, as many as the shape has voxels, in the file's order.
    pub samples: Samples,
    /// How the stored order maps to D, H and W.
    pub arrangement: Arrangement,
    /// Maps stored numbers to values.
    pub rescale: Rescale,
    /// Distance of voxel centers along D, H and W in mm; `None` where the source does not state it.
    pub spacing_mm_dhw: Option<[f32; 3]>,
    /// Axis codes of the source's i, j and k axes, as nibabel's `aff2axcodes` (such as `LPS`); `None` where the source
    /// does not state its orientation.
    pub orientation: Option<String>,
    /// The plane of the slices; `None` where the orientation is unknown.
    pub plane: Option<Plane>,
    /// Whether values are known to be Hounsfield units: never for pictures; for DICOM, where the modality is CT and the
    /// rescale type is Hounsfield units or absent, or unspecified for an original image; for formats that have no field for the unit, as NIfTI, where some
    /// value is -500 or less (air), which windowed images and MRI do not have.
    pub hu_known: bool,
    /// The middle of each slice in mm along the patient axis across the slices ([`Plane::world`]), growing towards right, anterior or
    /// superior; `None` where the source states no place.
    pub slices_mm: Option<Vec<f64>>,
    /// The Instance Number of each slice of a DICOM series whose slices all state one, each another.
    pub instance_numbers: Option<Vec<i64>>,
    /// Slices of the source that are not in the volume.
    pub slices_dropped: Vec<SliceDropped>,
    /// Warnings about the volume, a sentence each: gaps between slices, a tilted gantry, padding, 16-bit pictures. They
    /// hold only numbers and terms of the format, no text of the file and no name.
    pub notes: Vec<String>,
}

impl Volume {
    /// A volume with samples in D H W order and without spacing, orientation or known unit.
    pub fn plain(path: &Path, shape_dhw: [usize; 3], samples: impl Into<Samples>, rescale: Rescale) -> Volume {
        Volume {
            path: path.to_owned(),
            shape_dhw,
            samples: samples.into(),
            arrangement: Arrangement::DHW,
            rescale,
            spacing_mm_dhw: None,
            orientation: None,
            plane: None,
            hu_known: false,
            slices_mm: None,
            instance_numbers: None,
            slices_dropped: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// The number that the source gives to a slice of the display: a DICOM series' Instance Number, else its place from 0 along the
    /// source's slice axis, as a NIfTI viewer counts; of a DICOM series without numbers, along the display.
    ///
    /// # Panics
    /// Not a slice of the volume.
    pub fn source_slice(&self, slice: usize) -> i64 {
        match &self.instance_numbers {
            Some(numbers) => numbers[slice],
            None if self.arrangement.is_flipped(0) => (self.shape_dhw[0] - 1 - slice) as i64,
            None => slice as i64,
        }
    }

    /// A copy of the values, rescaled, in D H W order.
    ///
    /// # Panics
    /// Where the number of samples differs from the number of voxels.
    pub fn values_dhw(&self) -> Vec<f32> {
        fn values<T: Sample>(grid: Grid<'_, T>, rescale: Rescale) -> Vec<f32> {
            let [depth, height, width] = grid.shape_dhw();
            let (mut out, mut slice) = (Vec::with_capacity(grid.stored().len()), Vec::new());
            for d in 0..depth {
                slice.clear();
                grid.append_slice(d, [0; 2], [height, width], &mut slice);
                out.extend(slice.iter().map(|sample| rescale.value(sample.to_f64())));
            }
            out
        }
        with_samples!(&self.samples, samples => values(self.grid(samples), self.rescale))
    }

    /// A copy of the stored numbers in D H W order.
    ///
    /// # Panics
    /// As [`values_dhw`](Self::values_dhw).
    pub fn samples_dhw(&self) -> Samples {
        with_samples!(&self.samples, samples => self.grid(samples).to_display().into())
    }

    /// The view of `samples`, which must be this volume's own.
    pub(crate) fn grid<'a, T: Sample>(&self, samples: &'a [T]) -> Grid<'a, T> {
        Grid::new(samples, self.shape_dhw, self.arrangement).expect("a volume has as many samples as its shape")
    }
}

/// A voxel's value is `sample * slope + intercept`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rescale {
    /// Finite and not zero.
    pub slope: f32,
    /// Finite.
    pub intercept: f32,
}

impl Rescale {
    /// Values are the stored numbers.
    pub const IDENTITY: Rescale = Rescale { slope: 1.0, intercept: 0.0 };

    /// The value of a stored number.
    pub fn value(self, sample: f64) -> f32 {
        (sample * f64::from(self.slope) + f64::from(self.intercept)) as f32
    }
}

/// A reader of one volume format.
pub trait VolumeReader {
    /// Reads the volume at `path`. Blocks on file input.
    ///
    /// # Errors
    /// Any [`InputError`] about files, formats or series; never a part of a volume.
    fn read(&self, path: &Path, limits: &ReadLimits) -> Result<Volume, InputError>;
}

/// Reads the volume at `path` with the reader for its format. A folder with a DICOM image in it is a DICOM
/// series, any other folder a slice stack. A file is DICOM, NRRD, MetaImage, MGH or a NumPy array by its first bytes, gzipped MGH
/// by the name `.mgz`, and NIfTI by the first bytes of NIfTI or gzip, or by the name `.nii`, `.nii.gz`, `.hdr` or `.img`. Blocks
/// on file input.
///
/// # Errors
/// [`InputError::UnsupportedImage2d`] for a single PNG or JPEG, [`InputError::UnsupportedFormat`] for any other file,
/// [`InputError::Machine`] where the machine failed to read it, time and again; else the reader's error.
pub fn read(path: &Path, limits: &ReadLimits) -> Result<Volume, InputError> {
    read_with(path, limits, &Buffers::default())
}

/// As [`read`], with memory from a pool, which the volume returns to the pool when it is dropped.
///
/// # Errors
/// As [`read`].
pub fn read_with(path: &Path, limits: &ReadLimits, buffers: &Buffers) -> Result<Volume, InputError> {
    read_as(path, limits, buffers, DeepPictures::Clip)
}

/// As [`read_with`], with what becomes of slices of 16-bit grey.
///
/// # Errors
/// As [`read`].
pub fn read_as(path: &Path, limits: &ReadLimits, buffers: &Buffers, deep: DeepPictures) -> Result<Volume, InputError> {
    let read = reading::patiently(|| read_once(path, limits, buffers, deep));
    read.map_err(|fault| fault.of(path))?
}

/// What the headers of an input say of the volume that reading it would give.
#[derive(Clone, Debug, PartialEq)]
pub struct Looked {
    /// Slices, rows, columns.
    pub shape_dhw: [usize; 3],
    /// See [`Volume::spacing_mm_dhw`].
    pub spacing_mm_dhw: Option<[f32; 3]>,
    /// Whether values are known to be Hounsfield units; `None` where only the values tell.
    pub hu_known: Option<bool>,
}

/// Looks at the volume at `path` as [`read_as`] does, at headers and sizes alone, and so at the same errors. An input of which they
/// promise no volume is read as a whole: what is wrong with it is then said as reading it says it, and what they promised too
/// little of is none. Blocks on file input. Memory: some hundred kilobytes; of an input that is read as a whole, as reading it.
///
/// What only samples tell is not seen: damage within a compressed stream, slices that do not decode, values that are no numbers.
///
/// # Errors
/// As [`read_as`].
pub fn look(path: &Path, limits: &ReadLimits, deep: DeepPictures) -> Result<Looked, InputError> {
    let looked = reading::patiently(|| read_once(path, limits, &Buffers::for_headers(), deep));
    let volume = match looked.map_err(|fault| fault.of(path))? {
        Ok(volume) => volume,
        Err(_) => {
            let volume = read_as(path, limits, &Buffers::default(), deep)?;
            let Volume { shape_dhw, spacing_mm_dhw, hu_known, .. } = volume;
            return Ok(Looked { shape_dhw, spacing_mm_dhw, hu_known: Some(hu_known) });
        }
    };
    let by_values = reading::is_file(path) && {
        let head = first_bytes(path)?;
        !npy::is_npy(&head) && !dicom::is_dicom(&head)
    };
    let Volume { shape_dhw, spacing_mm_dhw, hu_known, .. } = volume;
    Ok(Looked { shape_dhw, spacing_mm_dhw, hu_known: (!by_values).then_some(hu_known) })
}

fn read_once(path: &Path, limits: &ReadLimits, buffers: &Buffers, deep: DeepPictures) -> Result<Volume, InputError> {
    let metadata = reading::metadata(path).map_err(|e| InputError::io(path, e))?;
    let dicom = || if buffers.are_for_headers() { DicomReader::of_headers() } else { DicomReader::default() };
    if metadata.is_dir() {
        return match folder::series_to_read(path).map_err(|e| InputError::io(path, e))? {
            Series::Dicom => dicom().read(path, limits),
            Series::Slices => slice_stack::read(path, limits, buffers, deep),
        };
    }
    if !metadata.is_file() {
        return Err(unsupported(path, "neither a file nor a folder"));
    }
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let head = first_bytes(path)?;
    let named = name.ends_with(".nii") || name.ends_with(".nii.gz") || nifti::is_pair_name(path);
    if npy::is_npy(&head) {
        NpyReader::with_buffers(buffers).read(path, limits)
    } else if nrrd::is_nrrd(&head) {
        NrrdReader::with_buffers(buffers).read(path, limits)
    } else if metaimage::is_metaimage(&head) {
        MetaImageReader::with_buffers(buffers).read(path, limits)
    } else if mgh::is_mgh(&head) || [".mgz", ".mgh.gz"].iter().any(|ending| name.ends_with(ending)) {
        MghReader::with_buffers(buffers).read(path, limits)
    } else if named || gzip::is_gzip(&head) || nifti::is_header(&head) {
        NiftiReader::with_buffers(buffers).read(path, limits)
    } else if dicom::is_dicom(&head) {
        dicom().read(path, limits)
    } else if picture::is_picture(&head) {
        Err(InputError::UnsupportedImage2d { location: path.display().to_string() })
    } else {
        Err(unsupported(path, &magic::found(&head)))
    }
}

/// The other file of the NIfTI pair (`.hdr` and `.img`) of which `path` is one, as [`read`] would find it, or the file that
/// an NRRD or MetaImage header (`.nhdr`, `.mhd`) names; `None` where `path` is none of these or the other file does not
/// exist.
pub fn paired_file(path: &Path) -> Option<PathBuf> {
    nifti::NiftiFiles::paired_file(path).or_else(|| nrrd::paired_file(path)).or_else(|| metaimage::paired_file(path))
}

/// The other file that reading the file at `path` opens, if it opens one: as [`paired_file`], and the one that an NRRD or
/// MetaImage header of any name names. Reads the header of such a file.
pub fn second_file(path: &Path) -> Option<PathBuf> {
    let by_contents = || {
        let head = reading::is_file(path).then(|| first_bytes(path).ok()).flatten()?;
        if nrrd::is_nrrd(&head) {
            nrrd::named_file(path)
        } else if metaimage::is_metaimage(&head) {
            metaimage::named_file(path)
        } else {
            None
        }
    };
    by_contents().or_else(|| nifti::NiftiFiles::paired_file(path))
}

fn unsupported(path: &Path, found: &str) -> InputError {
    let expected =
        "a DICOM series, a folder of .jpeg or .png slices, a NIfTI, NRRD, MetaImage or MGH file, or a .npy array";
    InputError::UnsupportedFormat { path: path.to_owned(), expected, found: found.to_owned() }
}

fn first_bytes(path: &Path) -> Result<Vec<u8>, InputError> {
    let mut head = Vec::new();
    File::open(path)
        .and_then(|file| file.take(dicom::KIND_HEAD as u64).read_to_end(&mut head))
        .map_err(|e| InputError::io(path, e))?;
    Ok(head)
}
