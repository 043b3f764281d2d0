//! A published M3D-CLIP on disk: its sizes in config.json, its weights beside.

use std::fs;
use std::path::Path;

use tch::{Device, Kind};

use crate::TrainerError;
use crate::model::weights::PublishedM3dClip;
use crate::model::{M3dClip, M3dClipConfig};
use crate::weights_file::WeightsFile;

/// The model in a folder with weights and `config.json`, or in a weights' file with a `config.json` beside it.
pub(crate) fn open(path: &Path, device: Device) -> Result<M3dClip, TrainerError> {
    let weights = WeightsFile::open(path)?;
    let sizes = weights.path().with_file_name("config.json");
    let text = fs::read_to_string(&sizes).map_err(TrainerError::io(&sizes, "read"))?;
    let published: PublishedM3dClip = serde_json::from_str(&text).map_err(|e| TrainerError::File {
        path: sizes,
        expected: "M3D-CLIP's config.json".into(),
        found: e.to_string(),
    })?;
    let config = M3dClipConfig::of_published(&published, &weights.shapes())?;
    let mut clip = M3dClip::unloaded(&config, device, Kind::Float)?;
    clip.load(&weights.shapes(), |name| weights.tensor(name, device, Some(Kind::Float)))?;
    Ok(clip)
}
