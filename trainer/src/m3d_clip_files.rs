//! A published M3D-CLIP on disk: its sizes in config.json, its weights beside.

use std::path::Path;

use tch::{Device, Kind};

use crate::TrainerError;
use crate::checkpoint::read_json;
use crate::model::{M3dClip, M3dClipConfig};
use crate::weights_file::WeightsFile;

/// The model in a folder with weights and `config.json`, or in a weights' file with a `config.json` beside it.
pub(crate) fn open(path: &Path, device: Device) -> Result<M3dClip, TrainerError> {
    let weights = WeightsFile::open(path)?;
    let sizes = weights.path().with_file_name("config.json");
    let config = M3dClipConfig::of_published(&read_json(&sizes, "JSON")?, &weights.shapes())?;
    let mut clip = M3dClip::unloaded(&config, device, Kind::Float)?;
    clip.load(&weights.shapes(), |name| weights.tensor(name, device, Some(Kind::Float)))?;
    Ok(clip)
}
