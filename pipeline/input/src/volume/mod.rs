//! Volumes: the files of one CT to samples in D H W order, whatever the format.
//!
//! [`read`] picks the reader by what lies at the path. Each reader refuses rather than guesses: an input that is cut,
//! damaged or lies about its size is an [`InputError`] before memory is taken for it.

mod gzip;
mod jpeg;
mod nifti;
mod picture;
mod samples;
mod slice_stack;

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

pub use self::nifti::NiftiReader;
pub(crate) use self::samples::with_samples;
pub use self::samples::{Sample, Samples};
pub use self::slice_stack::SliceStackReader;
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
    /// Stored numbers, D H W, as many as the shape has voxels.
    pub samples: Samples,
    /// From stored numbers to values.
    pub rescale: Rescale,
    /// Millimeters from voxel to voxel along D, H and W; `None` where the source does not say.
    pub spacing_mm_dhw: Option<[f32; 3]>,
    /// Axis codes of the source before display, as nibabel's `aff2axcodes`; `None` where the source does not say.
    pub orientation: Option<String>,
    /// The plane of the slices; `None` where the orientation is.
    pub plane: Option<Plane>,
    /// Whether values are Hounsfield units as far as can be told: false for 8-bit pictures; for NIfTI, which has no
    /// field for it, true where some value is -500 or less (air), which neither windowed pictures nor MRI reach.
    pub hu_known: bool,
    /// Slices of the source that are not in the volume.
    pub slices_dropped: Vec<SliceDropped>,
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

/// Reads the volume at `path` with the reader for what lies there: a folder is a slice stack, a file with NIfTI's or
/// gzip's first bytes, or named `.nii` or `.nii.gz`, is NIfTI.
///
/// # Errors
/// [`InputError::UnsupportedImage2d`] for a single PNG or JPEG, [`InputError::UnsupportedFormat`] for any other file,
/// else what the reader says.
pub fn read(path: &Path, limits: &ReadLimits) -> Result<Volume, InputError> {
    let metadata = fs::metadata(path).map_err(|e| InputError::io(path, e))?;
    if metadata.is_dir() {
        return SliceStackReader.read(path, limits);
    }
    if !metadata.is_file() {
        return Err(unsupported(path, "neither a file nor a folder"));
    }
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let head = first_bytes(path)?;
    if name.ends_with(".nii") || name.ends_with(".nii.gz") || gzip::is_gzip(&head) || nifti::is_header(&head) {
        NiftiReader.read(path, limits)
    } else if picture::is_picture(&head) {
        Err(InputError::UnsupportedImage2d { place: path.display().to_string() })
    } else {
        Err(unsupported(path, &format!("a file that starts with {:02x?}", &head[..head.len().min(4)])))
    }
}

fn unsupported(path: &Path, found: &str) -> InputError {
    let expected = "a series folder of .jpeg or .png slices, or a NIfTI-1 file";
    InputError::UnsupportedFormat { path: path.to_owned(), expected, found: found.to_owned() }
}

fn first_bytes(path: &Path) -> Result<Vec<u8>, InputError> {
    let mut head = Vec::new();
    File::open(path).and_then(|file| file.take(352).read_to_end(&mut head)).map_err(|e| InputError::io(path, e))?;
    Ok(head)
}
