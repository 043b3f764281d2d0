//! What is in a checkpoint's folder under which name.

use std::collections::BTreeMap;
use std::path::Path;

use med2e3_store::MappedFile;
use serde::{Deserialize, Serialize};

use crate::TrainerError;

/// Weights of a part, in the part's own folder.
pub(super) const WEIGHTS: &str = "model.safetensors";
pub(super) const TOKENIZER: &str = "tokenizer.json";
pub(super) const TEXT_TOKENIZER: &str = "text_tokenizer.json";
/// How the inputs that the model learned from were made.
pub(super) const INPUTS: &str = "inputs.json";
/// What only training needs; a checkpoint without it still answers.
pub(super) const STATE_FOLDER: &str = "state/";
/// The optimizer's state.
pub(crate) const MOMENTS: &str = "state/optimizer.safetensors";
pub(super) const STATE: &str = "state/state.json";
/// Written last: a folder without it is no checkpoint.
pub(super) const MANIFEST: &str = "manifest.json";

/// What [`MANIFEST`] holds.
#[derive(Serialize, Deserialize)]
pub(super) struct Manifest {
    /// blake3 of each file, by its path in the folder.
    pub(super) files: BTreeMap<String, String>,
}

/// A file's blake3, as hex; all cores hash it.
pub(super) fn hash_of(path: &Path) -> Result<String, TrainerError> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_rayon(MappedFile::open(path)?.as_ref());
    Ok(hasher.finalize().to_hex().to_string())
}
