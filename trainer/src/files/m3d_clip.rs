//! A published M3D-CLIP on disk: its sizes in config.json, its weights next to it.

use std::path::Path;

use tch::{Device, Kind};

use crate::TrainerError;
use crate::files::checkpoint::{self, Checkpoint};
use crate::files::json::read_json;
use crate::files::names::SIZES;
use crate::files::weights_file::WeightsFile;
use crate::model::{M3dClip, M3dClipConfig};

/// The model of a folder with weights and `config.json`, of a file of weights with a `config.json` next to it, or of the last
/// checkpoint of a run.
///
/// # Errors
/// Files that do not read or do not fit together.
pub(crate) fn open(path: &Path, device: Device) -> Result<M3dClip, TrainerError> {
    let last = checkpoint::last(path).map(|folder| Checkpoint::open(&folder)).transpose()?;
    let weights = WeightsFile::open(last.as_ref().map_or(path, Checkpoint::folder))?;
    let sizes = weights.path().with_file_name(SIZES);
    let config = M3dClipConfig::of_published(&read_json(&sizes, "JSON")?, &weights.shapes())?;
    let mut clip = M3dClip::unloaded(&config, device, Kind::Float)?;
    clip.load(&weights.shapes(), |name| weights.tensor(name, device, Some(Kind::Float)))?;
    Ok(clip)
}

/// Gives the text encoder the weights of a published BERT.
///
/// # Errors
/// Files that do not read, or of another size.
pub(crate) fn load_text_encoder(clip: &mut M3dClip, path: &Path) -> Result<(), TrainerError> {
    let (weights, device) = (WeightsFile::open(path)?, clip.device());
    clip.load_text_encoder(&weights.shapes(), |name| weights.tensor(name, device, Some(Kind::Float)))?;
    Ok(())
}
