//! The crate's error type: what is wrong with one input, where, and the quarantine reason that it counts as.

use std::io;
use std::path::{Path, PathBuf};

use med2e3_schemas::quarantine::Reason;

/// Why one input gave no volume or no text. Each message says what was expected and what was found.
///
/// Errors of [`text::template`](crate::text::template) name no path: they are about a row, which the caller names.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// Nothing lies at the path.
    #[error("{}: expected a file or folder, found nothing", path.display())]
    NotFound {
        /// The missing path.
        path: PathBuf,
    },
    /// The system refused to read what lies there.
    #[error("{}: expected a readable file or folder", path.display())]
    Unreadable {
        /// The path that could not be read.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A gzip stream that stops before its end.
    #[error("{}: gzip stream ends early: expected {expected} decoded bytes, file ends at byte {found}", path.display())]
    TruncatedGzip {
        /// The compressed file.
        path: PathBuf,
        /// Decoded bytes that the header asks for.
        expected: u64,
        /// Compressed bytes in the file.
        found: u64,
    },
    /// A gzip stream whose data or checksum is wrong.
    #[error("{}: expected a sound gzip member at byte {offset}, found damaged data or a wrong checksum", path.display())]
    CorruptGzip {
        /// The compressed file.
        path: PathBuf,
        /// Where the damaged member starts in the compressed file.
        offset: u64,
    },
    /// A header that promises another amount of data than the file can hold.
    #[error("{}: header asks for {expected} bytes, found {found}", path.display())]
    LyingHeader {
        /// The file.
        path: PathBuf,
        /// Bytes up to the last voxel by the header.
        expected: u64,
        /// Bytes that there are, or (for compressed data) at most can be.
        found: u64,
        /// Where the file ends, if the data ends there.
        offset: Option<u64>,
    },
    /// A header field with an impossible value.
    #[error("{}: header field {field}: expected {expected}, found {found}", path.display())]
    BadHeader {
        /// The file.
        path: PathBuf,
        /// The field as the format's specification calls it.
        field: &'static str,
        /// The values that are possible.
        expected: &'static str,
        /// The value in the file.
        found: String,
    },
    /// Sound perhaps, but not something that the readers take.
    #[error("{}: expected {expected}, found {found}", path.display())]
    UnsupportedFormat {
        /// The file.
        path: PathBuf,
        /// What the readers take.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// An ordinary 2D image where a volume is needed.
    #[error("{place}: expected a volume, found an ordinary 2D image")]
    UnsupportedImage2d {
        /// The file, or the text with the image token.
        place: String,
    },
    /// Decoding would pass the limit of [`ReadLimits`](crate::volume::ReadLimits).
    #[error("{}: expected at most {expected} decoded bytes, found {found}", path.display())]
    TooLarge {
        /// The file or folder.
        path: PathBuf,
        /// The limit in bytes.
        expected: u64,
        /// The bytes that decoding would take, or took so far.
        found: u64,
    },
    /// A series folder without a slice.
    #[error("{}: expected slices 0.jpeg or 0.png and so on, or DICOM files, found {found}", path.display())]
    EmptyFolder {
        /// The series folder.
        path: PathBuf,
        /// What lies there instead.
        found: String,
    },
    /// No slice shape is shared by half of the slices.
    #[error("{}: expected one slice shape for at least half of {slices} slices, found {found}", path.display())]
    MixedSliceSizes {
        /// The series folder.
        path: PathBuf,
        /// Readable slices.
        slices: usize,
        /// The most common shape and its count.
        found: String,
    },
    /// A folder whose slices do not make one volume.
    #[error("{}: expected {slices} slices of one series, each at its own place, found {found}", path.display())]
    MixedSeries {
        /// The series folder.
        path: PathBuf,
        /// Readable slices.
        slices: usize,
        /// In what they differ, and how many of them.
        found: String,
    },
    /// Not one slice of a series could be decoded.
    #[error("{}: expected a readable slice, found none in {slices}; the first: {first}", path.display())]
    NoReadableSlice {
        /// The series folder.
        path: PathBuf,
        /// Slices in the folder.
        slices: usize,
        /// Why the first was not readable.
        first: String,
    },
    /// A slice file whose name gives it no place in the series.
    #[error("{}: expected a slice name that is a whole number, found {found:?}", path.display())]
    BadSliceName {
        /// The series folder.
        path: PathBuf,
        /// The file's name.
        found: String,
    },
    /// All voxels are equal: after min-max they are all zero and the foreground crop leaves nothing.
    #[error("{}: expected at least two different voxel values, found only {found}", path.display())]
    AllZero {
        /// The file or folder of the volume.
        path: PathBuf,
        /// The one value.
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
    /// Two percentiles of a volume at which it has the same value, so that nothing lies between.
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
    /// Hounsfield units are needed where the values are something else.
    #[error("{}: expected values in Hounsfield units, which {needed} needs, found values {min} to {max} of unknown unit", path.display())]
    HuUnknown {
        /// The file or folder of the volume.
        path: PathBuf,
        /// What needs them.
        needed: &'static str,
        /// Smallest value.
        min: f32,
        /// Largest value.
        max: f32,
    },
    /// A spacing is asked for where the source does not say its own.
    #[error("{}: expected a spacing in mm, which resampling to {asked:?} mm needs, found {found}", path.display())]
    SpacingUnknown {
        /// The file or folder of the volume.
        path: PathBuf,
        /// The spacing asked for along D, H and W.
        asked: [f32; 3],
        /// What the source says.
        found: String,
    },
    /// Voxels that are NaN, infinite or so great that their differences are no `f32`.
    #[error("{}: expected finite voxel values below 2^126, found {found} at voxel {index}", path.display())]
    NotFinite {
        /// The file or folder of the volume.
        path: PathBuf,
        /// The first such value.
        found: f32,
        /// Its place in D H W order.
        index: usize,
    },
    /// A text file that is missing, unreadable or not UTF-8.
    #[error("{}: expected UTF-8 text", path.display())]
    TextUnreadable {
        /// The text file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No tokenizer at the path.
    #[error(
        "{}: expected a tokenizer.json, found nothing; copy it from the language model's folder or train one with `train_bpe`",
        path.display()
    )]
    TokenizerMissing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The tokenizer library refused a file or a text.
    #[error("{place}: expected {expected}, found an error: {found}")]
    Tokenizer {
        /// The file, or `text` where a text was refused.
        place: String,
        /// What was attempted.
        expected: &'static str,
        /// The library's message.
        found: String,
    },
    /// A tokenizer without a token that the template is made of.
    #[error("tokenizer: expected the token {expected}, found none among {found} tokens")]
    MissingToken {
        /// The token.
        expected: &'static str,
        /// Tokens that there are.
        found: usize,
    },
    /// A conversation that cannot be laid out.
    #[error("conversation: expected {expected}, found {found}")]
    BadTurn {
        /// What the template needs.
        expected: &'static str,
        /// What it got.
        found: String,
    },
    /// A turn to learn from whose answer is empty.
    #[error("turn {turn}: expected an answer, found an empty text")]
    MissingAnswer {
        /// The turn, counted from zero.
        turn: usize,
    },
    /// The length budget cuts every target away.
    #[error("expected a target within {expected} positions, found none: the prompt alone takes {found}")]
    NoTarget {
        /// The budget in positions.
        expected: usize,
        /// Positions before the first target.
        found: usize,
    },
    /// A prompt for generation that does not fit: cut, it would no longer ask for an answer.
    #[error("expected a prompt of at most {expected} positions, found {found}")]
    PromptTooLong {
        /// The budget in positions.
        expected: usize,
        /// The prompt's positions.
        found: usize,
    },
}

impl InputError {
    /// The quarantine word that this error counts as.
    pub fn reason(&self) -> Reason {
        match self {
            InputError::NotFound { .. } | InputError::TokenizerMissing { .. } => Reason::NotFound,
            InputError::Unreadable { .. } => Reason::Unreadable,
            InputError::TruncatedGzip { .. } => Reason::TruncatedGzip,
            InputError::CorruptGzip { .. } => Reason::CorruptGzip,
            InputError::LyingHeader { .. } => Reason::LyingHeader,
            InputError::BadHeader { .. } => Reason::BadHeader,
            InputError::UnsupportedFormat { .. } => Reason::UnsupportedFormat,
            InputError::UnsupportedImage2d { .. } => Reason::UnsupportedImage2d,
            InputError::TooLarge { .. } => Reason::TooLarge,
            InputError::EmptyFolder { .. } => Reason::EmptyFolder,
            InputError::MixedSliceSizes { .. } => Reason::MixedSliceSizes,
            InputError::MixedSeries { .. } => Reason::MixedSeries,
            InputError::NoReadableSlice { .. } => Reason::NoReadableSlice,
            InputError::BadSliceName { .. } => Reason::BadSliceName,
            InputError::AllZero { .. } | InputError::NoForeground { .. } | InputError::NoContrast { .. } => {
                Reason::AllZero
            }
            InputError::HuUnknown { .. } => Reason::HuUnknown,
            InputError::SpacingUnknown { .. } => Reason::SpacingUnknown,
            InputError::NotFinite { .. } => Reason::NotFinite,
            InputError::TextUnreadable { .. } | InputError::Tokenizer { .. } | InputError::MissingToken { .. } => {
                Reason::TextUnreadable
            }
            InputError::BadTurn { .. } | InputError::PromptTooLong { .. } => Reason::BadRow,
            InputError::MissingAnswer { .. } => Reason::MissingAnswer,
            InputError::NoTarget { .. } => Reason::NoTarget,
        }
    }

    /// Where in the file the trouble is: its end where data is missing, the member's start where gzip data is damaged.
    pub fn byte_offset(&self) -> Option<u64> {
        match self {
            InputError::TruncatedGzip { found: offset, .. } | InputError::CorruptGzip { offset, .. } => Some(*offset),
            InputError::LyingHeader { offset, .. } => *offset,
            _ => None,
        }
    }

    /// A failed file operation: nothing there, or there but not readable.
    pub(crate) fn io(path: &Path, source: io::Error) -> InputError {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => InputError::NotFound { path },
            _ => InputError::Unreadable { path, source },
        }
    }
}
