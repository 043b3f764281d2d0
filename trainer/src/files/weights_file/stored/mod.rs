//! The contents of a file of weights: names, element types, shapes, and ranges of bytes. Nothing is copied.
//!
//! Two forms are distinguished by their bytes: safetensors (`safetensors`) and the zip archives of `torch.save`
//! (`torch`). This folder knows neither paths nor libtorch, so that it can be tested on arbitrary bytes by itself.

mod element;
mod error;
mod safetensors;
mod tensor;
mod torch;

use std::collections::BTreeMap;

pub use element::ElementType;
pub use error::StoredError;
pub use tensor::StoredTensor;

/// All of one file.
#[derive(Debug, Default)]
pub struct StoredWeights {
    /// The tensors by name.
    pub tensors: BTreeMap<String, StoredTensor>,
    /// Keys of values that are not tensors (a step count, a list, an optimizer's state) and are passed over, in the file's
    /// order.
    pub other: Vec<String>,
}

/// Reads the table of contents of a file whose bytes these are.
///
/// # Errors
/// Bytes of another form, damaged ones, and element types that are not read; see [`StoredError`].
pub fn read(file: &[u8]) -> Result<StoredWeights, StoredError> {
    if torch::is_one(file) {
        return torch::read(file);
    }
    if safetensors::is_one(file) {
        return safetensors::read(file);
    }
    if torch::is_legacy(file) {
        return Err(StoredError::LegacyStream);
    }
    let found = match file {
        [] => "an empty file".to_owned(),
        // The text in place of a large file in a git checkout.
        _ if file.starts_with(b"version https://git-lfs") => "a git-lfs pointer, not the file itself".to_owned(),
        _ => format!("{} bytes that begin with {:02x?}", file.len(), &file[..file.len().min(8)]),
    };
    Err(StoredError::Form { found })
}
