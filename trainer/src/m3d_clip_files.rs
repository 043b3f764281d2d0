//! A published M3D-CLIP on disk: its sizes in config.json, its weights beside.

use std::fs;
use std::path::Path;

use tch::{Device, Tensor};

use crate::TrainerError;
use crate::checkpoint::tensors::read_tensors;
use crate::model::weights::PublishedM3dClip;
use crate::model::{M3dClip, M3dClipConfig};

/// The model in a folder with `model.safetensors` and `config.json`, or in a weights' file with a `config.json` beside it.
pub(crate) fn open(path: &Path, device: Device) -> Result<M3dClip, TrainerError> {
    let weights = if path.is_dir() { path.join("model.safetensors") } else { path.to_owned() };
    let sizes = weights.with_file_name("config.json");
    let text = fs::read_to_string(&sizes).map_err(TrainerError::io(&sizes, "read"))?;
    let published: PublishedM3dClip = serde_json::from_str(&text).map_err(|e| TrainerError::File {
        path: sizes,
        expected: "M3D-CLIP's config.json".into(),
        found: e.to_string(),
    })?;
    let tensors = read_weights(&weights)?;
    let mut clip = M3dClip::new(&M3dClipConfig::of_published(&published, &tensors)?, device, 0)?;
    clip.load(tensors)?;
    Ok(clip)
}

fn read_weights(path: &Path) -> Result<Vec<(String, Tensor)>, TrainerError> {
    read_tensors(path)
}
