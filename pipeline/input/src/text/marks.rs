//! The marks of images in a text, and the id that replaces them.

pub use med2e3_schemas::sample::IMAGE3D;

/// The mark of a 3D image in a question.
pub const IMAGE3D_TOKEN: &str = "<image3d>";

/// The mark of an ordinary 2D image, which is not supported.
pub const IMAGE2D_TOKEN: &str = "<image>";
