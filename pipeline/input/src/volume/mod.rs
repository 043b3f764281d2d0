//! Volumes: reads the files of one CT, in any supported format, into samples that are viewed in D H W order.
//!
//! Samples stay in the file's order, in the buffer that they were decoded into; the display order is a view ([`Grid`]).
//! [`read`] picks the reader by the kind of file or folder at the path. Readers refuse rather than guess: an input that
//! is cut, damaged or states a wrong size is an [`InputError`] before memory is allocated for it.
//!
//! # Layout
//! - [`Volume`], [`Rescale`], [`ReadLimits`], [`VolumeReader`]: what reading gives, its limits, and the readers' trait
//! - [`read`], [`path_kind`], [`paired_file`]: which reader a path needs, and which files belong to one volume
//! - `samples`, `grid`: the stored numbers and their view along D, H and W
//! - `nifti`, `dicom`, `npy`, `slice_stack`: one reader a format
//! - `picture`, `jpeg`: one PNG or JPEG file to 8-bit grey
//! - `source`, `gzip`, `buffers`: file contents within a memory limit, and memory that is used again
//! - `stage`: reports to an observer what a reader is doing

mod buffers;
mod dicom;
mod grid;
mod gzip;
mod jpeg;
pub(crate) mod low_high;
mod luma;
mod nifti;
mod npy;
mod picture;
mod picture_error;
mod samples;
mod slice_stack;
mod source;
mod stage;

use std::ffi::OsString;
use std::fs::{self, DirEntry, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

pub use self::buffers::Buffers;
pub use self::dicom::DicomReader;
pub use self::grid::{Arrangement, Grid};
pub use self::nifti::NiftiReader;
pub use self::npy::NpyReader;
pub(crate) use self::samples::with_samples;
pub use self::samples::{Sample, Samples, Stored};
pub use self::slice_stack::SliceStackReader;
pub use self::stage::{Stage, StageObserver, with_stage_observer};
pub use med2e3_schemas::volume::SliceDropped;

use crate::error::InputError;
use crate::orientation::Plane;

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
    /// Whether values are known to be Hounsfield units: never for 8-bit images; for DICOM, where the modality is CT and
    /// the rescale type is Hounsfield units or absent, or unspecified for an original image; for NIfTI, which has no field for the unit, where some value is
    /// -500 or less (air), which windowed images and MRI do not have.
    pub hu_known: bool,
    /// Slices of the source that are not in the volume.
    pub slices_dropped: Vec<SliceDropped>,
    /// Warnings about the volume, a sentence each: gaps between slices, a tilted gantry, padding. They hold only
    /// numbers and terms of the format, no text of the file. Always empty for formats other than DICOM.
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
            slices_dropped: Vec::new(),
            notes: Vec::new(),
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

/// Memory limit for reading one input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimits {
    /// Maximum size in bytes of the decoded samples of one volume. Memory in addition to it is small: the bytes of a
    /// gzipped file, or a few copies of one slice.
    pub max_decoded_bytes: u64,
}

impl Default for ReadLimits {
    /// 8 GiB: 2048 slices of 1024 x 1024 floats, more than any CT has.
    fn default() -> Self {
        ReadLimits { max_decoded_bytes: 8 << 30 }
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

/// Reads the volume at `path` with the reader for its format. A folder whose first files are DICOM is a DICOM series,
/// any other folder a slice stack. A file is DICOM or a NumPy array by its first bytes, and NIfTI by the first bytes of
/// NIfTI or gzip, or by the name `.nii`, `.nii.gz`, `.hdr` or `.img`. Blocks on file input.
///
/// # Errors
/// [`InputError::UnsupportedImage2d`] for a single PNG or JPEG, [`InputError::UnsupportedFormat`] for any other file,
/// else the reader's error.
pub fn read(path: &Path, limits: &ReadLimits) -> Result<Volume, InputError> {
    read_with(path, limits, &Buffers::default())
}

/// As [`read`], with memory from a pool, which the volume returns to the pool when it is dropped.
///
/// # Errors
/// As [`read`].
pub fn read_with(path: &Path, limits: &ReadLimits, buffers: &Buffers) -> Result<Volume, InputError> {
    let metadata = fs::metadata(path).map_err(|e| InputError::io(path, e))?;
    if metadata.is_dir() {
        return if is_dicom_folder(path)? {
            DicomReader::default().read(path, limits)
        } else {
            SliceStackReader.read(path, limits)
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
    } else if named || gzip::is_gzip(&head) || nifti::is_header(&head) {
        NiftiReader::with_buffers(buffers).read(path, limits)
    } else if dicom::is_dicom(&head) {
        DicomReader::default().read(path, limits)
    } else if picture::is_picture(&head) {
        Err(InputError::UnsupportedImage2d { location: path.display().to_string() })
    } else {
        Err(unsupported(path, &format!("a file that starts with {:02x?}", &head[..head.len().min(4)])))
    }
}

/// The kind of file or folder at a path, judged by names and first bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathKind {
    /// A volume that [`read`] would read. For a series: the names of the folders in it, which are not part of the
    /// series.
    Volume(Vec<OsString>),
    /// A folder that is not a series, with the names in it.
    Folder(Vec<OsString>),
    /// Any other file.
    Other,
}

/// Whether the path is a volume, a folder or another file, without reading the volume. Of a NIfTI pair, only the header
/// counts as the volume.
///
/// # Errors
/// The operating system's error for the path, where it cannot be listed or does not exist.
pub fn path_kind(path: &Path) -> io::Result<PathKind> {
    let metadata = fs::metadata(path)?;
    if metadata.is_dir() {
        let entries = fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?;
        let names: Vec<OsString> = entries.iter().map(DirEntry::file_name).collect();
        let series = names.iter().any(|name| slice_stack::is_numbered_picture(&name.to_string_lossy()));
        if series || is_dicom_folder(path).is_ok_and(|dicom| dicom) {
            let folders = entries.iter().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            return Ok(PathKind::Volume(folders.map(DirEntry::file_name).collect()));
        }
        return Ok(PathKind::Folder(names));
    }
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let whole = [".nii", ".nii.gz", ".npy"].iter().any(|ending| name.ends_with(ending));
    // Only the header of a pair counts as the volume, so that it is listed once.
    let header = [".hdr", ".hdr.gz"].iter().any(|ending| name.ends_with(ending)) && paired_file(path).is_some();
    let dicom = || first_bytes(path).is_ok_and(|head| dicom::kind(&head).is_some_and(dicom::Kind::has_pixels));
    let volume = metadata.is_file() && (whole || header || dicom());
    Ok(if volume { PathKind::Volume(Vec::new()) } else { PathKind::Other })
}

/// The other file of the NIfTI pair (`.hdr` and `.img`) of which `path` is one, as [`read`] would find it; `None` where
/// `path` is not named as one of a pair or the other file does not exist.
pub fn paired_file(path: &Path) -> Option<PathBuf> {
    nifti::NiftiFiles::paired_file(path)
}

/// Number of files of a folder, in the order of their names, that are opened to distinguish DICOM from pictures.
const FILES_TRIED: usize = 16;

/// Whether a folder holds DICOM: the first file that is DICOM or is named as a numbered picture decides.
fn is_dicom_folder(path: &Path) -> Result<bool, InputError> {
    let files = sorted_entries(path)?.into_iter().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    for entry in files.take(FILES_TRIED) {
        if slice_stack::is_numbered_picture(&entry.file_name().to_string_lossy()) {
            return Ok(false);
        }
        // A file that cannot be opened decides nothing; the reader will report it.
        let kind = first_bytes(&entry.path()).ok().and_then(|head| dicom::kind(&head));
        if kind.is_some_and(|kind| kind != dicom::Kind::Directory) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The entries of a folder in the order of their names.
fn sorted_entries(path: &Path) -> Result<Vec<DirEntry>, InputError> {
    let entries: Result<Vec<DirEntry>, _> = fs::read_dir(path).and_then(Iterator::collect);
    let mut entries = entries.map_err(|e| InputError::io(path, e))?;
    entries.sort_by_key(DirEntry::file_name);
    Ok(entries)
}

fn unsupported(path: &Path, found: &str) -> InputError {
    let expected = "a DICOM series, a folder of .jpeg or .png slices, a NIfTI file, or a .npy array";
    InputError::UnsupportedFormat { path: path.to_owned(), expected, found: found.to_owned() }
}

fn first_bytes(path: &Path) -> Result<Vec<u8>, InputError> {
    let mut head = Vec::new();
    File::open(path)
        .and_then(|file| file.take(dicom::KIND_HEAD as u64).read_to_end(&mut head))
        .map_err(|e| InputError::io(path, e))?;
    Ok(head)
}
