//! Faults of one DICOM file. They name no path, so that in a folder of slices, whose names are often made of
//! identifiers, a fault can be recorded with the volume; the reader adds the path where the whole input is refused.
//!
//! No text of a file is ever quoted: what was found is told by numbers and by words of the standard.

use std::fmt;
use std::io;
use std::path::Path;

use crate::error::InputError;

/// Why a file gives no slice.
#[derive(Debug)]
pub(super) enum Fault {
    /// The system would not read it.
    Io(io::Error),
    /// A header element that is missing or impossible.
    Bad { field: &'static str, expected: &'static str, found: String },
    /// Sound perhaps, but not taken.
    Unsupported { expected: &'static str, found: String },
    /// A DICOM object that is no picture, such as a directory of a disc or a report.
    NoPicture,
    /// The header promises another amount of pixel data than there is.
    Lying { expected: u64, found: u64, offset: Option<u64> },
    /// Compressed pixels that do not decode.
    Damaged { expected: &'static str, found: String },
    /// Would take more memory than the limit leaves.
    TooLarge { limit: u64, found: u64 },
}

impl Fault {
    pub(super) fn bad(field: &'static str, expected: &'static str, found: impl Into<String>) -> Fault {
        Fault::Bad { field, expected, found: found.into() }
    }

    pub(super) fn unsupported(expected: &'static str, found: impl Into<String>) -> Fault {
        Fault::Unsupported { expected, found: found.into() }
    }

    pub(super) fn damaged(expected: &'static str, found: impl Into<String>) -> Fault {
        Fault::Damaged { expected, found: found.into() }
    }

    /// The error of an input that this fault refuses.
    pub(super) fn at(self, path: &Path) -> InputError {
        let first = self.to_string();
        let path = path.to_owned();
        match self {
            Fault::Io(source) => InputError::io(&path, source),
            Fault::Bad { field, expected, found } => InputError::BadHeader { path, field, expected, found },
            Fault::Unsupported { expected, found } => InputError::UnsupportedFormat { path, expected, found },
            Fault::NoPicture => {
                let expected = "DICOM slices with pixel data";
                InputError::UnsupportedFormat { path, expected, found: first }
            }
            Fault::Lying { expected, found, offset } => InputError::LyingHeader { path, expected, found, offset },
            Fault::Damaged { .. } => InputError::NoReadableSlice { path, slices: 1, first },
            Fault::TooLarge { limit, found } => InputError::TooLarge { path, expected: limit, found },
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Io(source) => write!(f, "not readable: {}", source.kind()),
            Fault::Bad { field, expected, found } => write!(f, "{field}: expected {expected}, found {found}"),
            Fault::Unsupported { expected, found } | Fault::Damaged { expected, found } => {
                write!(f, "expected {expected}, found {found}")
            }
            Fault::NoPicture => f.write_str("a DICOM object without a picture"),
            Fault::Lying { expected, found, .. } => write!(f, "header asks for {expected} bytes, found {found}"),
            Fault::TooLarge { limit, found } => write!(f, "expected at most {limit} decoded bytes, found {found}"),
        }
    }
}
