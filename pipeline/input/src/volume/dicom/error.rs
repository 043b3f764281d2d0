//! Errors of one DICOM file. They contain no path, since the file names of slices often contain identifiers, and an
//! error is recorded with the volume; the reader adds the path where the whole input is refused.
//!
//! No text of a file is quoted: messages contain numbers and terms of the standard.

use std::fmt;
use std::io;
use std::path::Path;

use crate::error::InputError;

/// Why a file gives no slice. Variants have the names of the [`InputError`] that they become.
#[derive(Debug)]
pub(super) enum DicomError {
    /// The operating system refused to read the file.
    Io(io::Error),
    /// A header element that is missing or impossible.
    BadHeader { field: &'static str, expected: &'static str, found: String },
    /// A format that may be valid but is not supported.
    Unsupported { expected: &'static str, found: String },
    /// A DICOM object without an image, such as the directory of a disc or a report.
    NoImage,
    /// The header promises a different amount of pixel data than the file holds.
    LyingHeader { expected: u64, found: u64, offset: Option<u64> },
    /// Compressed pixel data that cannot be decoded.
    Damaged { expected: &'static str, found: String },
    /// Decoding would take more memory than the limit.
    TooLarge { limit: u64, found: u64 },
}

impl DicomError {
    pub(super) fn bad(field: &'static str, expected: &'static str, found: impl Into<String>) -> DicomError {
        DicomError::BadHeader { field, expected, found: found.into() }
    }

    pub(super) fn unsupported(expected: &'static str, found: impl Into<String>) -> DicomError {
        DicomError::Unsupported { expected, found: found.into() }
    }

    pub(super) fn damaged(expected: &'static str, found: impl Into<String>) -> DicomError {
        DicomError::Damaged { expected, found: found.into() }
    }

    /// Adds the path of the input that is refused.
    pub(super) fn at(self, path: &Path) -> InputError {
        let first = self.to_string();
        let path = path.to_owned();
        match self {
            DicomError::Io(source) => InputError::io(&path, source),
            DicomError::BadHeader { field, expected, found } => InputError::BadHeader { path, field, expected, found },
            DicomError::Unsupported { expected, found } => InputError::UnsupportedFormat { path, expected, found },
            DicomError::NoImage => {
                let expected = "DICOM slices with pixel data";
                InputError::UnsupportedFormat { path, expected, found: first }
            }
            DicomError::LyingHeader { expected, found, offset } => {
                InputError::LyingHeader { path, expected, found, offset }
            }
            DicomError::Damaged { .. } => InputError::NoReadableSlice { path, slices: 1, first },
            DicomError::TooLarge { limit, found } => InputError::TooLarge { path, expected: limit, found },
        }
    }
}

impl fmt::Display for DicomError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DicomError::Io(source) => write!(f, "not readable: {}", source.kind()),
            DicomError::BadHeader { field, expected, found } => {
                write!(f, "{field}: expected {expected}, found {found}")
            }
            DicomError::Unsupported { expected, found } | DicomError::Damaged { expected, found } => {
                write!(f, "expected {expected}, found {found}")
            }
            DicomError::NoImage => f.write_str("a DICOM object without a picture"),
            DicomError::LyingHeader { expected, found, .. } => {
                write!(f, "header asks for {expected} bytes, found {found}")
            }
            DicomError::TooLarge { limit, found } => write!(f, "expected at most {limit} decoded bytes, found {found}"),
        }
    }
}
