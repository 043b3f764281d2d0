//! The error of decoding one picture.

/// Why a picture gave no pixels.
pub(super) enum PictureError {
    /// The file is not readable, with the reason; the slice is dropped.
    Unreadable(String),
    /// The pixels take this number of bytes, more than the volume may still take.
    TooLarge(u64),
    /// Decoding takes this number of bytes, more than [`MAX_SLICE_BYTES`](super::limits::MAX_SLICE_BYTES).
    SliceTooLarge(u64),
}

impl<E: std::error::Error> From<E> for PictureError {
    fn from(error: E) -> Self {
        PictureError::Unreadable(error.to_string())
    }
}
