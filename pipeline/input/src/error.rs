//! The crate's error type: what is wrong with one input, where, and under which quarantine reason it is counted.

use std::io;
use std::path::{Path, PathBuf};

use med2e3_schemas::quarantine::Reason;

use crate::reading::MachineFault;

/// Why one input gave no volume or no text. Each message states what was expected and what was found.
///
/// Errors of [`text::template`](crate::text::template) name no path: they are about a row, which the caller names.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// The path does not exist.
    #[error("{}: expected a file or folder, found nothing", path.display())]
    NotFound {
        /// The missing path.
        path: PathBuf,
    },
    /// The operating system refused to read the file or folder.
    #[error("{}: expected a readable file or folder", path.display())]
    Unreadable {
        /// The path that could not be read.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The machine failed to read the input, which says nothing about it: never a reason to set it aside.
    #[error(transparent)]
    Machine(#[from] MachineFault),
    /// A gzip stream that is cut before its end.
    #[error("{}: gzip stream ends early: expected {expected} decoded bytes, file ends at byte {found}", path.display())]
    TruncatedGzip {
        /// The compressed file.
        path: PathBuf,
        /// Decoded bytes that the header promises.
        expected: u64,
        /// Compressed bytes in the file.
        found: u64,
    },
    /// A gzip stream with damaged data or a wrong checksum.
    #[error("{}: expected a sound gzip member at byte {offset}, found damaged data or a wrong checksum", path.display())]
    CorruptGzip {
        /// The compressed file.
        path: PathBuf,
        /// Byte offset in the compressed file at which the damaged member starts.
        offset: u64,
    },
    /// A header that promises a different amount of data than the file holds.
    #[error("{}: header asks for {expected} bytes, found {found}", path.display())]
    LyingHeader {
        /// The file.
        path: PathBuf,
        /// Bytes up to the end of the last voxel, computed from the header.
        expected: u64,
        /// Bytes in the file; for compressed data the most that it can hold.
        found: u64,
        /// Byte offset of the file's end, where the data ends there.
        offset: Option<u64>,
    },
    /// A header field with an impossible value.
    #[error("{}: header field {field}: expected {expected}, found {found}", path.display())]
    BadHeader {
        /// The file.
        path: PathBuf,
        /// The field's name in the format's specification.
        field: &'static str,
        /// The allowed values.
        expected: &'static str,
        /// The value in the file.
        found: String,
    },
    /// A file that may be valid, but in a format that the readers do not support.
    #[error("{}: expected {expected}, found {found}", path.display())]
    UnsupportedFormat {
        /// The file.
        path: PathBuf,
        /// What the readers support.
        expected: &'static str,
        /// What the file is.
        found: String,
    },
    /// An ordinary 2D image where a volume is needed.
    #[error("{location}: expected a volume, found an ordinary 2D image")]
    UnsupportedImage2d {
        /// The file's path, or the turn with the image token.
        location: String,
    },
    /// Decoding would take more memory than [`ReadLimits`](crate::volume::ReadLimits) allows.
    #[error("{}: expected at most {expected} decoded bytes, found {found}", path.display())]
    TooLarge {
        /// The file or folder.
        path: PathBuf,
        /// The limit in bytes.
        expected: u64,
        /// The bytes that decoding would take, or has taken so far.
        found: u64,
    },
    /// A series folder without a slice.
    #[error("{}: expected slices 0.jpeg or 0.png and so on, or DICOM files, found {found}", path.display())]
    EmptyFolder {
        /// The series folder.
        path: PathBuf,
        /// What the folder holds instead.
        found: String,
    },
    /// Fewer than half of the slices share one shape.
    #[error("{}: expected one slice shape for at least half of {slices} slices, found {found}", path.display())]
    MixedSliceSizes {
        /// The series folder.
        path: PathBuf,
        /// Readable slices.
        slices: usize,
        /// The most common shape and its count.
        found: String,
    },
    /// A folder whose slices do not form one volume.
    #[error("{}: expected {slices} slices of one series, each at its own position, found {found}", path.display())]
    MixedSeries {
        /// The series folder.
        path: PathBuf,
        /// Readable slices.
        slices: usize,
        /// How the slices differ, with counts.
        found: String,
    },
    /// A folder or file with nothing but localizers (scouts), the pictures on which slices were planned.
    #[error("{}: expected the slices of a volume, found only a localizer of {slices} slices", path.display())]
    Localizer {
        /// The folder or file.
        path: PathBuf,
        /// Its readable slices, all of them localizers.
        slices: usize,
    },
    /// No slice of a series could be decoded.
    #[error("{}: expected a readable slice, found none in {slices}; the first: {first}", path.display())]
    NoReadableSlice {
        /// The series folder.
        path: PathBuf,
        /// Slices in the folder.
        slices: usize,
        /// Why the first slice was not readable.
        first: String,
    },
    /// A slice file whose name is not a number, so that its position in the series is unknown.
    #[error("{}: expected a slice name that is a whole number, found {found:?}", path.display())]
    BadSliceName {
        /// The series folder.
        path: PathBuf,
        /// The file's name.
        found: String,
    },
    /// All voxels are equal: min-max would map all to zero, and the foreground crop would be empty.
    #[error("{}: expected at least two different voxel values, found only {found}", path.display())]
    AllZero {
        /// The file or folder of the volume.
        path: PathBuf,
        /// The value of all voxels.
        found: f32,
    },
    /// No voxel is above the threshold of the foreground crop.
    #[error("{}: expected voxels above {threshold}, found {found} at most", path.display())]
    NoForeground {
        /// The file or folder of the volume.
        path: PathBuf,
        /// The crop's threshold, in HU.
        threshold: f32,
        /// The volume's largest value.
        found: f32,
    },
    /// The volume has the same value at both percentiles, so that the range between them is empty.
    #[error("{}: expected different values at percentiles {low} and {high}, found {found} at both", path.display())]
    NoContrast {
        /// The file or folder of the volume.
        path: PathBuf,
        /// The lower percentile.
        low: f64,
        /// The upper percentile.
        high: f64,
        /// The value at both.
        found: f32,
    },
    /// A setting needs Hounsfield units, but the unit of the values is unknown.
    #[error("{}: expected values in Hounsfield units, which {needed} needs, found values {min} to {max} of unknown unit", path.display())]
    HuUnknown {
        /// The file or folder of the volume.
        path: PathBuf,
        /// The setting that needs Hounsfield units.
        needed: &'static str,
        /// Smallest value.
        min: f32,
        /// Largest value.
        max: f32,
    },
    /// Resampling to a spacing is requested, but the source does not state its own spacing.
    #[error("{}: expected a spacing in mm, which resampling to {asked:?} mm needs, found {found}", path.display())]
    SpacingUnknown {
        /// The file or folder of the volume.
        path: PathBuf,
        /// The requested spacing along D, H and W, in mm.
        asked: [f32; 3],
        /// The spacing that the source states.
        found: String,
    },
    /// A voxel that is NaN, infinite, or so large (2^126 or more) that a difference of two values may overflow `f32`.
    #[error("{}: expected finite voxel values below 2^126, found {found} at voxel {index}", path.display())]
    NotFinite {
        /// The file or folder of the volume.
        path: PathBuf,
        /// The first such value.
        found: f32,
        /// Its index in D H W order.
        index: usize,
    },
    /// A text file that is missing, unreadable or not UTF-8.
    #[error("{}: expected UTF-8 text", path.display())]
    TextUnreadable {
        /// The text file.
        path: PathBuf,
        /// The operating system's error, or the UTF-8 error.
        source: io::Error,
    },
    /// A text that is longer than its limit.
    #[error("{what}: expected at most {expected} bytes, found {found} or more")]
    TextTooLong {
        /// What is too long.
        what: &'static str,
        /// The limit in bytes.
        expected: u64,
        /// Bytes that were found before it was given up.
        found: u64,
    },
    /// No tokenizer at the path.
    #[error(
        "{}: expected a tokenizer.json, found nothing; copy it from the language model's folder, or state text.tokenizer = {{ train = 8192 }} to train one on the texts",
        path.display()
    )]
    TokenizerMissing {
        /// The path at which it was expected.
        path: PathBuf,
    },
    /// The tokenizer library refused a file or a text.
    #[error("{location}: expected {expected}, found an error: {found}")]
    Tokenizer {
        /// The file's path, or a word for the text or ids that were refused.
        location: String,
        /// What was attempted.
        expected: &'static str,
        /// The library's error message.
        found: String,
    },
    /// A tokenizer's file with a value that no tokenizer may have.
    #[error("{location}: expected {expected}, found {found}")]
    TokenizerFile {
        /// The file, and the key where it is known.
        location: String,
        /// What the key may hold.
        expected: &'static str,
        /// What it holds.
        found: String,
    },
    /// A line of a file of scrubbing rules that is no rule.
    #[error("{}: line {line}: expected {expected}, found {found}", path.display())]
    ScrubRule {
        /// The rules file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What the line may hold.
        expected: &'static str,
        /// What it holds.
        found: String,
    },
    /// A tokenizer that lacks one of the template's special tokens.
    #[error("tokenizer: expected the token {expected}, found none among {found} tokens")]
    MissingToken {
        /// The missing token.
        expected: &'static str,
        /// Size of the tokenizer's vocabulary.
        found: usize,
    },
    /// A word that names no value here, as an earlier or later version of the programs may have written it.
    #[error("{what}: {found}")]
    UnknownWord {
        /// What the word names.
        what: &'static str,
        /// The word, and those that are known.
        found: String,
    },
    /// A conversation that the template cannot format.
    #[error("conversation: expected {expected}, found {found}")]
    BadTurn {
        /// What the template needs.
        expected: &'static str,
        /// What the conversation holds.
        found: String,
    },
    /// A training turn whose answer is empty.
    #[error("turn {turn}: expected an answer, found an empty text")]
    MissingAnswer {
        /// The turn, counted from zero.
        turn: usize,
    },
    /// The length budget leaves no target.
    #[error("expected a target within {expected} positions, found none: the prompt alone takes {found}")]
    NoTarget {
        /// The budget in positions.
        expected: usize,
        /// Positions before the first target.
        found: usize,
    },
    /// A prompt for generation that does not fit. It is not cut, since it would no longer ask for an answer.
    #[error("expected a prompt of at most {expected} positions, found {found}")]
    PromptTooLong {
        /// The budget in positions.
        expected: usize,
        /// Positions that the prompt takes.
        found: usize,
    },
}

impl InputError {
    /// The quarantine reason under which this error is counted; [`InputError::Machine`] must not be.
    pub fn reason(&self) -> Reason {
        match self {
            InputError::NotFound { .. } | InputError::TokenizerMissing { .. } => Reason::NotFound,
            InputError::Unreadable { .. } | InputError::Machine(_) => Reason::Unreadable,
            InputError::TruncatedGzip { .. } => Reason::TruncatedGzip,
            InputError::CorruptGzip { .. } => Reason::CorruptGzip,
            InputError::LyingHeader { .. } => Reason::LyingHeader,
            InputError::BadHeader { .. } => Reason::BadHeader,
            InputError::UnsupportedFormat { .. } => Reason::UnsupportedFormat,
            InputError::UnsupportedImage2d { .. } => Reason::UnsupportedImage2d,
            InputError::TooLarge { .. } | InputError::TextTooLong { .. } => Reason::TooLarge,
            InputError::EmptyFolder { .. } => Reason::EmptyFolder,
            InputError::MixedSliceSizes { .. } => Reason::MixedSliceSizes,
            InputError::MixedSeries { .. } => Reason::MixedSeries,
            InputError::Localizer { .. } => Reason::Localizer,
            InputError::NoReadableSlice { .. } => Reason::NoReadableSlice,
            InputError::BadSliceName { .. } => Reason::BadSliceName,
            InputError::AllZero { .. } | InputError::NoForeground { .. } | InputError::NoContrast { .. } => {
                Reason::AllZero
            }
            InputError::HuUnknown { .. } => Reason::HuUnknown,
            InputError::SpacingUnknown { .. } => Reason::SpacingUnknown,
            InputError::NotFinite { .. } => Reason::NotFinite,
            InputError::TextUnreadable { .. }
            | InputError::Tokenizer { .. }
            | InputError::TokenizerFile { .. }
            | InputError::MissingToken { .. } => Reason::TextUnreadable,
            InputError::BadTurn { .. }
            | InputError::PromptTooLong { .. }
            | InputError::UnknownWord { .. }
            | InputError::ScrubRule { .. } => Reason::BadRow,
            InputError::MissingAnswer { .. } => Reason::MissingAnswer,
            InputError::NoTarget { .. } => Reason::NoTarget,
        }
    }

    /// Byte offset of the problem in the file: the file's end where data is missing, the member's start where gzip data
    /// is damaged; `None` for all other errors.
    pub fn byte_offset(&self) -> Option<u64> {
        match self {
            InputError::TruncatedGzip { found: offset, .. } | InputError::CorruptGzip { offset, .. } => Some(*offset),
            InputError::LyingHeader { offset, .. } => *offset,
            _ => None,
        }
    }

    /// A failed file operation: [`InputError::NotFound`], else [`InputError::Unreadable`].
    pub(crate) fn io(path: &Path, source: io::Error) -> InputError {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => InputError::NotFound { path },
            _ => InputError::Unreadable { path, source },
        }
    }
}
