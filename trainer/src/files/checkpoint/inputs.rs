//! How the inputs that a model learned from were made: copied from its dataset, kept by export and import.

use std::path::Path;

use med2e3_schemas::inputs::Inputs;
use med2e3_shards::index::read_index;

use super::layout::INPUTS;
use super::{Checkpoint, OWN_JSON};
use crate::TrainerError;
use crate::files::json::read_json;

impl Checkpoint {
    /// How its inputs were made; `None` where nothing states it: a model of an earlier version of the programs, or one that was
    /// imported without a word of it.
    ///
    /// # Errors
    /// A file that does not read.
    pub fn inputs(&self) -> Result<Option<Inputs>, TrainerError> {
        inputs_in(self.folder())
    }
}

/// What a model's folder states.
///
/// # Errors
/// A file that does not read.
pub fn inputs_in(folder: &Path) -> Result<Option<Inputs>, TrainerError> {
    let path = folder.join(INPUTS);
    path.is_file().then(|| read_json(&path, OWN_JSON)).transpose()
}

/// What a dataset, a checkpoint or a run states.
///
/// # Errors
/// None of the three, or one that does not state it.
pub fn inputs_of(path: &Path) -> Result<Inputs, TrainerError> {
    let stated = if path.join(med2e3_shards::index::FILE).is_file() {
        read_index(path)?.inputs
    } else {
        Checkpoint::open(path)?.inputs()?
    };
    stated.ok_or_else(|| TrainerError::File {
        path: path.to_owned(),
        expected: "a dataset or a checkpoint that states how its inputs are made".into(),
        found: "one of an earlier version of the programs".into(),
    })
}
