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
use tch::{Device, Kind};

use crate::TrainerError;
use crate::model::{Med2e3, Part};
use crate::model_files::ModelFiles;
use crate::optimizer::{AdamW, AdamWState};
use crate::weights_file::WeightsFile;
use adapters::save_adapters;
use tensors::write_tensors;

/// A checkpoint's own configuration.
pub const CONFIG: &str = "med2e3.toml";
const WEIGHTS: &str = "model.safetensors";
const SIZES: &str = "config.json";
const OWN_JSON: &str = "JSON as this program writes it";
const MANIFEST: &str = "manifest.json";
/// Adapters, in PEFT's layout.
pub(crate) const ADAPTERS: &str = "adapters";
const TOKENIZER: &str = "tokenizer.json";
const TEXT_TOKENIZER: &str = "text_tokenizer.json";
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

/// What stands in a checkpoint's folder.
pub struct Contents<'a> {
    /// The model: a file of weights a part, and the configurations.
    pub model: &'a Med2e3,
    /// Its tokenizers' files, copied in under the checkpoint's names where they are given.
    pub tokenizers: Tokenizers,
    /// What training goes on from.
    pub training: Option<(&'a AdamW, &'a TrainState)>,
}

/// Where a model's tokenizers lie.
#[derive(Clone, Debug, Default)]
pub struct Tokenizers {
    /// The language model's `tokenizer.json`.
    pub llm: Option<PathBuf>,
    /// The text encoder's, where questions go through one.
    pub text: Option<PathBuf>,
}

/// Writes `run/step-N/`.
///
/// # Errors
/// The system refuses to write.
pub fn save(
    run: &Path,
    model: &Med2e3,
    optimizer: &AdamW,
    state: &TrainState,
    tokenizers: &Tokenizers,
) -> Result<(), TrainerError> {
    let contents = Contents { model, tokenizers: tokenizers.clone(), training: Some((optimizer, state)) };
    write(&run.join(format!("step-{}", state.step)), &contents)
}

/// Writes a checkpoint's folder, which appears whole; one that is there is replaced.
///
/// # Errors
/// The system refuses to write.
pub fn write(folder: &Path, contents: &Contents) -> Result<(), TrainerError> {
    let part = sibling(folder);
    for leftover in [&part, folder] {
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
    let model = contents.model;
    for part in Part::ALL {
        let tensors = model.parameters(part);
        if tensors.is_empty() {
            continue;
        }
        write_tensors(&file(format!("{}/{WEIGHTS}", part.name()))?, &tensors)?;
        if let Some(config) = model.config().published(part) {
            write_json(&file(format!("{}/{SIZES}", part.name()))?, &config)?;
        }
    }
    if model.config().lora.is_some() {
        for name in adapters::FILES {
            file(format!("{ADAPTERS}/{name}"))?;
        }
        save_adapters(&part.join(ADAPTERS), model)?;
    }
    if let Some((optimizer, state)) = contents.training {
        write_tensors(&file(MOMENTS.to_owned())?, &optimizer.state().tensors)?;
        write_json(&file(STATE.to_owned())?, state)?;
    }
    let text = toml::to_string(model.config()).expect("a configuration is plain data");
    write_whole(&file(CONFIG.to_owned())?, text.as_bytes())?;
    for (name, tokenizer) in [(TOKENIZER, &contents.tokenizers.llm), (TEXT_TOKENIZER, &contents.tokenizers.text)] {
        if let Some(tokenizer) = tokenizer {
            let bytes = fs::read(tokenizer).map_err(TrainerError::io(tokenizer, "read"))?;
            write_whole(&file(name.to_owned())?, &bytes)?;
        }
    }

    let hash = |relative: &String| Ok((relative.clone(), hash_of(&part.join(relative))?));
    let manifest = Manifest { files: files.iter().map(hash).collect::<Result<_, TrainerError>>()? };
    write_json(&part.join(MANIFEST), &manifest)?;
    fs::rename(&part, folder).map_err(TrainerError::io(folder, "rename"))?;
    let above = folder.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(above).and_then(|above| above.sync_all()).map_err(TrainerError::io(above, "sync"))
}

/// The folder's name while it is written.
fn sibling(folder: &Path) -> PathBuf {
    let mut name = folder.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    folder.with_file_name(name)
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), TrainerError> {
    let text = serde_json::to_vec_pretty(value).expect("plain data can be written as JSON");
    Ok(write_whole(path, &text)?)
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
        let folder = match path.join(MANIFEST).is_file() {
            true => path.to_owned(),
            false => last(path).ok_or_else(|| TrainerError::File {
                path: path.to_owned(),
                expected: "a checkpoint, or a run with one".into(),
                found: if path.exists() { "no step-N folder with a manifest".into() } else { "nothing".into() },
            })?,
        };
        let path = folder.join(MANIFEST);
        let manifest: Manifest = read_json(&path, OWN_JSON)?;
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

    /// Its tokenizers' files, those that are there.
    pub fn tokenizers(&self) -> Tokenizers {
        let there = |name: &str| Some(self.folder.join(name)).filter(|path| path.is_file());
        Tokenizers { llm: there(TOKENIZER), text: there(TEXT_TOKENIZER) }
    }

    /// The language model's tokenizer.
    ///
    /// # Errors
    /// The checkpoint has none.
    pub fn tokenizer(&self) -> Result<PathBuf, TrainerError> {
        self.tokenizers().llm.ok_or_else(|| TrainerError::File {
            path: self.folder.join(TOKENIZER),
            expected: "the language model's tokenizer".into(),
            found: "nothing".into(),
        })
    }

    /// Builds the model and loads every part's weights strictly, in f32.
    ///
    /// # Errors
    /// A configuration or weights that do not fit together.
    pub fn model(&self, device: Device) -> Result<Med2e3, TrainerError> {
        let files = ModelFiles::open(&self.folder, None)?;
        Ok(files.load(device, Kind::Float)?.model)
    }

    /// What is needed to go on with training.
    ///
    /// # Errors
    /// A checkpoint without a state, or one that does not read.
    pub fn state(&self) -> Result<(TrainState, AdamWState), TrainerError> {
        let state: TrainState = read_json(&self.folder.join(STATE), OWN_JSON)?;
        let tensors = WeightsFile::open(&self.folder.join(MOMENTS))?.tensors(Device::Cpu, None)?;
        let moments = AdamWState { step: state.step, tensors };
        Ok((state, moments))
    }
}

/// The run's checkpoint with the highest step.
pub fn last(run: &Path) -> Option<PathBuf> {
    let steps = fs::read_dir(run).ok()?.flatten().filter_map(|entry| {
        let step: u64 = entry.file_name().to_str()?.strip_prefix("step-")?.parse().ok()?;
        entry.path().join(MANIFEST).is_file().then_some((step, entry.path()))
    });
    steps.max().map(|(_, path)| path)
}

/// A JSON file's value; `expected` says what it should be where it is not.
pub(crate) fn read_json<T: serde::de::DeserializeOwned>(path: &Path, expected: &str) -> Result<T, TrainerError> {
    let text = fs::read_to_string(path).map_err(TrainerError::io(path, "read"))?;
    serde_json::from_str(&text).map_err(|e| TrainerError::File {
        path: path.to_owned(),
        expected: expected.into(),
        found: e.to_string(),
    })
}

fn hash_of(path: &Path) -> Result<String, TrainerError> {
    Ok(blake3::hash(MappedFile::open(path)?.as_ref()).to_hex().to_string())
}
