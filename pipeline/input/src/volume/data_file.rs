//! What headers in text have in common: lines of a name and a value, and the file that holds the numbers.

use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use super::source::Source;
use crate::error::InputError;
use crate::orientation::Directions;
use crate::reading::{self, File};

/// Longest header that is read. Programs keep whole DICOM headers in them, which take tens of kilobytes.
pub(super) const LONGEST_HEADER: usize = 1 << 20;

/// The file that a header at `path` names. It has to be in the header's own folder: another path could lead anywhere.
///
/// # Errors
/// [`InputError::BadHeader`] for any other path, [`InputError::NotFound`] where no such file is there.
pub(super) fn data_file(path: &Path, name: &str, field: &'static str) -> Result<PathBuf, InputError> {
    let mut parts = Path::new(name).components().filter(|part| *part != Component::CurDir);
    let (Some(Component::Normal(file)), None) = (parts.next(), parts.next()) else {
        let found = "a path to another folder".to_owned();
        return Err(bad(path, field, "the name of a file in the same folder", found));
    };
    let file = path.with_file_name(file);
    if reading::is_file(&file) { Ok(file) } else { Err(InputError::NotFound { path: file }) }
}

/// The first bytes of a file, enough for a header.
pub(super) fn header(path: &Path) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    File::open(path)?.take(LONGEST_HEADER as u64).read_to_end(&mut head)?;
    Ok(head)
}

pub(super) fn bad(path: &Path, field: &'static str, expected: &'static str, found: String) -> InputError {
    InputError::BadHeader { path: path.to_owned(), field, expected, found }
}

pub(super) fn unsupported(path: &Path, expected: &'static str, found: impl Into<String>) -> InputError {
    InputError::UnsupportedFormat { path: path.to_owned(), expected, found: found.into() }
}

/// What a header states, shortened: a message is no place for pages of text.
pub(super) fn shown(value: &str) -> String {
    let short: String = value.chars().take(40).filter(|letter| !letter.is_control()).collect();
    if short.is_empty() { "nothing".to_owned() } else { short }
}

/// All numbers of a value that is nothing but numbers, at least one.
pub(super) fn numbers<T: std::str::FromStr>(value: &str) -> Option<Vec<T>> {
    let numbers: Option<Vec<T>> = value.split_whitespace().map(|number| number.parse().ok()).collect();
    numbers.filter(|numbers| !numbers.is_empty())
}

/// Number of voxels of a shape.
pub(super) fn count(path: &Path, field: &'static str, shape: &[usize; 3]) -> Result<u64, InputError> {
    let count = shape.iter().try_fold(1_u64, |count, dim| count.checked_mul(*dim as u64));
    count.ok_or_else(|| bad(path, field, "fewer than 2^64 voxels", "more".to_owned()))
}

/// Directions whose columns are the axes i, j and k, from vectors towards left, posterior and superior, as DICOM and ITK
/// have them.
pub(super) fn from_left_posterior_superior(axes: [[f64; 3]; 3]) -> Directions {
    std::array::from_fn(|row| axes.map(|axis| if row < 2 { -axis[row] } else { axis[row] }))
}

/// Spacings that a header states in place of vectors: axes towards left, posterior and superior. A negative one turns
/// the direction, as in ITK; where one is no number, its axis still has a direction.
pub(super) fn spaced_axes(spacings: [f64; 3]) -> [[f64; 3]; 3] {
    let step = |n: usize| if spacings[n].is_finite() && spacings[n] != 0.0 { spacings[n] } else { 1.0 };
    std::array::from_fn(|n| std::array::from_fn(|world| if world == n { step(n) } else { 0.0 }))
}

/// The spacing in millimeters of stated lengths; `None` where one is missing.
pub(super) fn spacing_mm(lengths: [f64; 3]) -> Option<[f32; 3]> {
    let spacing = lengths.map(|length| length.abs() as f32);
    spacing.iter().all(|mm| mm.is_finite() && *mm > 0.0).then_some(spacing)
}

/// Offset of the first byte of numbers that end where the file ends.
pub(super) fn start_from_end(source: &Source, bytes: Option<u64>) -> u64 {
    bytes.and_then(|bytes| source.len().checked_sub(bytes)).unwrap_or_default()
}
