//! The error of decoding one picture.

/// Why a picture gave no pixels.
pub(super) enum PictureError {
    /// The file is not readable, with the reason; the slice is dropped.
    Unreadable(String),
    /// Decoding would take this number of bytes, more than the limit.
    TooLarge(u64),
}

impl<E: std::error::Error> From<E> for PictureError {
    fn from(error: E) -> Self {
        PictureError::Unreadable(error.to_string())
    }
}
