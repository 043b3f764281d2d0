//! A checkpoint folder: the parts' weights under their published names, the model's configuration, the tokenizer, and
//! what is needed to go on. Its manifest is written last; a folder without one is no checkpoint.

pub mod adapters;
pub(crate) mod tensors;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Component, Path, PathBuf};

use med2e3_feed::FeedCursor;
use med2e3_feed::map::MappedFile;
use med2e3_feed::shard::commit::write_whole;
use serde::{Deserialize, Serialize};
use tch::Device;

use crate::TrainerError;
use crate::model::{Med2e3, Med2e3Config, Part};
use crate::optimizer::{AdamW, AdamWState};
use crate::weights_file::WeightsFile;
use tensors::write_tensors;

const WEIGHTS: &str = "model.safetensors";
const MOMENTS: &str = "state/optimizer.safetensors";
const STATE: &str = "state/state.json";

/// What goes on exactly besides weights and moments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainState {
    /// Finished optimizer steps. Dropout is seeded by it, so no generator state needs to be stored.
    pub step: u64,
    /// Where the feed stands.
    pub cursor: FeedCursor,
    /// Hash of the samples that the cursor counts in, as hex.
    pub selection: String,
    /// Validation loss by step so far.
    pub validation: Vec<(u64, f64)>,
}

#[derive(Serialize, Deserialize)]
struct Manifest {
    /// blake3 of each file, by its path in the folder.
    files: BTreeMap<String, String>,
}

/// Writes `run/step-N/`. `tokenizer` is copied in, so that the folder answers by itself.
///
/// # Errors
/// The system refuses to write.
pub fn save(
    run: &Path,
    model: &Med2e3,
    optimizer: &AdamW,
    state: &TrainState,
    tokenizer: &Path,
) -> Result<(), TrainerError> {
    let name = format!("step-{}", state.step);
    let (folder, part) = (run.join(&name), run.join(format!("{name}.part")));
    for leftover in [&part, &folder] {
        if leftover.exists() {
            fs::remove_dir_all(leftover).map_err(TrainerError::io(leftover, "remove"))?;
        }
    }
    let mut files = Vec::new();
    let mut file = |relative: String| -> Result<PathBuf, TrainerError> {
        let path = part.join(&relative);
        let parent = path.parent().expect("the path has the folder above it");
        fs::create_dir_all(parent).map_err(TrainerError::io(parent, "create"))?;
        files.push(relative);
        Ok(path)
    };
    for part in Part::ALL {
        let tensors = model.parameters(part);
        if !tensors.is_empty() {
            write_tensors(&file(format!("{}/{WEIGHTS}", part.name()))?, &tensors)?;
        }
    }
    write_tensors(&file(MOMENTS.to_owned())?, &optimizer.state().tensors)?;
    let text = serde_json::to_vec_pretty(state).expect("a state is plain data");
    write_whole(&file(STATE.to_owned())?, &text)?;
    let text = toml::to_string(model.config()).expect("a configuration is plain data");
    write_whole(&file("med2e3.toml".to_owned())?, text.as_bytes())?;
    let bytes = fs::read(tokenizer).map_err(TrainerError::io(tokenizer, "read"))?;
    write_whole(&file("tokenizer.json".to_owned())?, &bytes)?;

    let hash = |relative: &String| Ok((relative.clone(), hash_of(&part.join(relative))?));
    let manifest = Manifest { files: files.iter().map(hash).collect::<Result<_, TrainerError>>()? };
    let text = serde_json::to_vec_pretty(&manifest).expect("a manifest is plain data");
    write_whole(&part.join("manifest.json"), &text)?;
    fs::rename(&part, &folder).map_err(TrainerError::io(&folder, "rename"))?;
    File::open(run).and_then(|run| run.sync_all()).map_err(TrainerError::io(run, "sync"))
}

/// An open checkpoint: its files checked against the manifest.
pub struct Checkpoint {
    folder: PathBuf,
}

impl Checkpoint {
    /// Opens a checkpoint's folder, or the last checkpoint of a run's folder.
    ///
    /// # Errors
    /// No checkpoint there, a file that is missing or differs from the manifest.
    pub fn open(path: &Path) -> Result<Checkpoint, TrainerError> {
        let folder = match path.join("manifest.json").is_file() {
            true => path.to_owned(),
            false => last(path).ok_or_else(|| TrainerError::File {
                path: path.to_owned(),
                expected: "a checkpoint, or a run with one".into(),
                found: if path.exists() { "no step-N folder with a manifest".into() } else { "nothing".into() },
            })?,
        };
        let path = folder.join("manifest.json");
        let manifest: Manifest = parse_json(&path)?;
        for (relative, expected) in manifest.files {
            let inside = |part: Component<'_>| matches!(part, Component::Normal(_));
            let within = Path::new(&relative).components().all(inside);
            let path = folder.join(&relative);
            // What only training needs may be left out.
            if relative.starts_with("state/") && !path.exists() {
                continue;
            }
            let found = if within { hash_of(&path)? } else { "a path that leads out of the checkpoint".into() };
            if found != expected {
                return Err(TrainerError::File { path, expected: format!("blake3 {expected}"), found });
            }
        }
        Ok(Checkpoint { folder })
    }

    /// The checkpoint's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its tokenizer's file.
    pub fn tokenizer(&self) -> PathBuf {
        self.folder.join("tokenizer.json")
    }

    /// Builds the model and loads every part's weights strictly.
    ///
    /// # Errors
    /// A configuration or weights that do not fit together.
    pub fn model(&self, device: Device) -> Result<Med2e3, TrainerError> {
        let path = self.folder.join("med2e3.toml");
        let text = fs::read_to_string(&path).map_err(TrainerError::io(&path, "read"))?;
        let config: Med2e3Config = med2e3_schemas::config::parse(&path.display().to_string(), &text, &[])?;
        let mut model = Med2e3::new(&config, device, 0)?;
        for part in Part::ALL {
            if !model.parameters(part).is_empty() {
                let weights = WeightsFile::open(&self.folder.join(part.name()).join(WEIGHTS))?;
                model.load(part, &weights.shapes(), |name| weights.tensor(name, device, None))?;
            }
        }
        Ok(model)
    }

    /// What is needed to go on with training.
    ///
    /// # Errors
    /// A checkpoint without a state, or one that does not read.
    pub fn state(&self) -> Result<(TrainState, AdamWState), TrainerError> {
        let state: TrainState = parse_json(&self.folder.join(STATE))?;
        let tensors = WeightsFile::open(&self.folder.join(MOMENTS))?.tensors(Device::Cpu, None)?;
        let moments = AdamWState { step: state.step, tensors };
        Ok((state, moments))
    }
}

/// The run's checkpoint with the highest step.
pub fn last(run: &Path) -> Option<PathBuf> {
    let steps = fs::read_dir(run).ok()?.flatten().filter_map(|entry| {
        let step: u64 = entry.file_name().to_str()?.strip_prefix("step-")?.parse().ok()?;
        entry.path().join("manifest.json").is_file().then_some((step, entry.path()))
    });
    steps.max().map(|(_, path)| path)
}

fn parse_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, TrainerError> {
    let text = fs::read_to_string(path).map_err(TrainerError::io(path, "read"))?;
    serde_json::from_str(&text).map_err(|e| TrainerError::File {
        path: path.to_owned(),
        expected: "JSON as this program writes it".into(),
        found: e.to_string(),
    })
}

fn hash_of(path: &Path) -> Result<String, TrainerError> {
    Ok(blake3::hash(MappedFile::open(path)?.as_ref()).to_hex().to_string())
}
