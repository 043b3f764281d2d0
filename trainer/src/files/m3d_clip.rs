//! A published M3D-CLIP on disk: its sizes in config.json, its weights next to it.

use std::path::Path;

use tch::{Device, Kind};

use crate::TrainerError;
use crate::files::json::read_json;
use crate::files::names::SIZES;
use crate::files::weights_file::WeightsFile;
use crate::model::{M3dClip, M3dClipConfig};

/// The model of a folder with weights and `config.json`, or of a file of weights with a `config.json` next to it.
///
/// # Errors
/// Files that do not read or do not fit together.
pub(crate) fn open(path: &Path, device: Device) -> Result<M3dClip, TrainerError> {
    let weights = WeightsFile::open(path)?;
    let sizes = weights.path().with_file_name(SIZES);
    let config = M3dClipConfig::of_published(&read_json(&sizes, "JSON")?, &weights.shapes())?;
    let mut clip = M3dClip::unloaded(&config, device, Kind::Float)?;
    clip.load(&weights.shapes(), |name| weights.tensor(name, device, Some(Kind::Float)))?;
    Ok(clip)
}
