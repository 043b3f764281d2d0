//! Volumes: the files of one CT to samples seen in D H W order, whatever the format.
//!
//! Samples stay where decoding left them, in the file's order; the display order is a view ([`Grid`]). [`read`] picks
//! the reader by what lies at the path. Each reader refuses rather than guesses: an input that is cut,
//! damaged or lies about its size is an [`InputError`] before memory is taken for it.

mod buffers;
mod dicom;
mod grid;
mod gzip;
mod jpeg;
mod nifti;
mod npy;
mod picture;
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
pub use self::stage::{Observer, Stage, observed};
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
    /// Stored numbers, as many as the shape has voxels.
    pub samples: Samples,
    /// How the stored order lies along D, H and W.
    pub arrangement: Arrangement,
    /// From stored numbers to values.
    pub rescale: Rescale,
    /// Millimeters from voxel to voxel along D, H and W; `None` where the source does not say.
    pub spacing_mm_dhw: Option<[f32; 3]>,
    /// Axis codes of the source before display, as nibabel's `aff2axcodes`; `None` where the source does not say.
    pub orientation: Option<String>,
    /// The plane of the slices; `None` where the orientation is.
    pub plane: Option<Plane>,
    /// Whether values are Hounsfield units as far as can be told: false for 8-bit pictures; for DICOM, true of CT with a
    /// rescale to Hounsfield units or to no unit; for NIfTI, which has no field for it, true where some value is -500 or
    /// less (air), which neither windowed pictures nor MRI reach.
    pub hu_known: bool,
    /// Slices of the source that are not in the volume.
    pub slices_dropped: Vec<SliceDropped>,
    /// What a user of the volume should know, a sentence each: gaps, a tilted gantry, padding. Numbers and words of the
    /// format only. Empty for formats that have nothing to tell.
    pub notes: Vec<String>,
}

impl Volume {
    /// A volume whose samples are in D H W order, and of which nothing else is known.
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

    /// The values in D H W order, rescaled: a copy.
    ///
    /// # Panics
    /// Where there are not as many samples as the shape has voxels.
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

    /// The stored numbers in D H W order: a copy.
    ///
    /// # Panics
    /// As [`values_dhw`](Self::values_dhw).
    pub fn samples_dhw(&self) -> Samples {
        with_samples!(&self.samples, samples => self.grid(samples).to_display().into())
    }

    /// The view of `samples`, which are this volume's.
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

/// What reading one input may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimits {
    /// Most bytes that the decoded samples of one volume may take.
    pub max_decoded_bytes: u64,
}

impl Default for ReadLimits {
    /// 8 GiB: 2048 slices of 1024 x 1024 floats, more than any CT has.
    fn default() -> Self {
        ReadLimits { max_decoded_bytes: 8 << 30 }
    }
}

/// A format of volumes.
pub trait VolumeReader {
    /// Reads the volume at `path`.
    ///
    /// # Errors
    /// Whatever [`InputError`] says of volumes; nothing is returned in part.
    fn read(&self, path: &Path, limits: &ReadLimits) -> Result<Volume, InputError>;
}

/// Reads the volume at `path` with the reader for what lies there: a folder whose first files are DICOM is a DICOM
/// series and any other a slice stack; a file that starts as DICOM or a NumPy array does is one; a file with NIfTI's or
/// gzip's first bytes, or named `.nii`, `.nii.gz`, `.hdr` or `.img`, is NIfTI.
///
/// # Errors
/// [`InputError::UnsupportedImage2d`] for a single PNG or JPEG, [`InputError::UnsupportedFormat`] for any other file,
/// else what the reader says.
pub fn read(path: &Path, limits: &ReadLimits) -> Result<Volume, InputError> {
    read_with(path, limits, &Buffers::default())
}

/// As [`read`], with memory from a pool that volumes read before may have left there.
///
/// # Errors
/// As [`read`].
pub fn read_with(path: &Path, limits: &ReadLimits, buffers: &Buffers) -> Result<Volume, InputError> {
    let metadata = fs::metadata(path).map_err(|e| InputError::io(path, e))?;
    if metadata.is_dir() {
        return if is_dicom_folder(path)? {
            DicomReader.read(path, limits)
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
        DicomReader.read(path, limits)
    } else if picture::is_picture(&head) {
        Err(InputError::UnsupportedImage2d { place: path.display().to_string() })
    } else {
        Err(unsupported(path, &format!("a file that starts with {:02x?}", &head[..head.len().min(4)])))
    }
}

/// What lies at a path, as far as names and first bytes tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Something that [`read`] takes for a volume; for a series the folders in it, which are no part of it.
    Volume(Vec<OsString>),
    /// A folder that is no series: the names in it.
    Folder(Vec<OsString>),
    /// Any other file.
    Other,
}

/// Looks whether a volume lies at the path, without reading it.
///
/// # Errors
/// What the system says of the path.
pub fn look(path: &Path) -> io::Result<Place> {
    let metadata = fs::metadata(path)?;
    if metadata.is_dir() {
        let entries = fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?;
        let names: Vec<OsString> = entries.iter().map(DirEntry::file_name).collect();
        let series = names.iter().any(|name| slice_stack::is_numbered_picture(&name.to_string_lossy()));
        if series || is_dicom_folder(path).is_ok_and(|dicom| dicom) {
            let folders = entries.iter().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            return Ok(Place::Volume(folders.map(DirEntry::file_name).collect()));
        }
        return Ok(Place::Folder(names));
    }
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let whole = [".nii", ".nii.gz", ".npy"].iter().any(|ending| name.ends_with(ending));
    // Of a pair the header is the volume, so that it is listed once.
    let header = [".hdr", ".hdr.gz"].iter().any(|ending| name.ends_with(ending)) && partner(path).is_some();
    let dicom = || first_bytes(path).is_ok_and(|head| dicom::is_dicom(&head));
    let volume = metadata.is_file() && (whole || header || dicom());
    Ok(if volume { Place::Volume(Vec::new()) } else { Place::Other })
}

/// The second file of the volume at `path`: the other part of a NIfTI pair, as [`read`] would find it.
pub fn partner(path: &Path) -> Option<PathBuf> {
    nifti::Parts::partner(path)
}

/// Files of a folder that are looked into, in the order of their names, to tell DICOM from pictures.
const FILES_TRIED: usize = 16;

/// Whether a folder holds DICOM: decided by the first file that is DICOM or named as a numbered picture.
fn is_dicom_folder(path: &Path) -> Result<bool, InputError> {
    let files = sorted_entries(path)?.into_iter().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    for entry in files.take(FILES_TRIED) {
        if slice_stack::is_numbered_picture(&entry.file_name().to_string_lossy()) {
            return Ok(false);
        }
        // What cannot be opened decides nothing; the reader will say so.
        if first_bytes(&entry.path()).is_ok_and(|head| dicom::is_dicom(&head)) {
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
    File::open(path).and_then(|file| file.take(352).read_to_end(&mut head)).map_err(|e| InputError::io(path, e))?;
    Ok(head)
}
