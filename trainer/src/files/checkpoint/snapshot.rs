//! A checkpoint in host memory: everything that its folder will hold.

use std::fs;
use std::path::{Path, PathBuf};

use med2e3_schemas::inputs::Inputs;
use med2e3_store::FileError;
use tch::{Device, Tensor};

use super::carried::CarriedFile;
use super::layout::{INPUTS, MOMENTS, STATE, TEXT_TOKENIZER, TOKENIZER, WEIGHTS};
use super::state::TrainState;
use crate::TrainerError;
use crate::files::adapters;
use crate::files::json::to_json;
use crate::files::names::{ADAPTERS, CONFIG, GENERATION, SIZES};
use crate::libtorch::Download;
use crate::model::{M3dClip, Med2e3, Part};

/// What a checkpoint is made of.
pub struct Contents<'a> {
    /// The model: a file of weights a part, and the configurations.
    pub model: &'a Med2e3,
    /// Its tokenizers' files, copied in under the checkpoint's names where they are given.
    pub tokenizers: Tokenizers,
    /// How its inputs were made, where that is known.
    pub inputs: Option<Inputs>,
    /// What training goes on from, with the optimizer's state by name; None for a model alone.
    pub training: Option<(&'a TrainState, Vec<(String, Tensor)>)>,
}

/// The files of a model's tokenizers.
#[derive(Clone, Debug, Default)]
pub struct Tokenizers {
    /// The language model's `tokenizer.json`.
    pub llm: Option<PathBuf>,
    /// The text encoder's, where questions go through one.
    pub text: Option<PathBuf>,
    /// What goes along with them and with the encoders, unread.
    pub carried: Vec<CarriedFile>,
}

/// Everything that a checkpoint's folder will hold. It shares its tensors with the model, which must not change until it is
/// written, or until a [copy](Snapshot::copy) has begun. `Send`, so that another thread may write it.
pub struct Snapshot {
    /// By path in the folder, in the order of writing.
    pub(super) files: Vec<(String, FileContents)>,
}

/// A [`Snapshot`] on its way to the host.
pub struct SnapshotCopy {
    /// What is copied: its tensors stay where they are until the copies are made.
    shared: Snapshot,
    /// A copy a tensor, in their order.
    downloads: Vec<Download>,
}

impl SnapshotCopy {
    /// The snapshot with tensors of its own on the host; waits for the copies.
    ///
    /// # Errors
    /// The device reports a failed computation.
    pub fn finish(self) -> Result<Snapshot, TrainerError> {
        let mut copies = self.downloads.into_iter();
        let mut own = |(name, _): &(String, Tensor)| {
            let download = copies.next().expect("one a tensor");
            Ok((name.clone(), download.finish()?))
        };
        let files = self.shared.files.into_iter().map(|(path, contents)| {
            let contents = match contents {
                FileContents::Bytes(bytes) => FileContents::Bytes(bytes),
                FileContents::Tensors(tensors) => {
                    FileContents::Tensors(tensors.iter().map(&mut own).collect::<Result<_, TrainerError>>()?)
                }
            };
            Ok((path, contents))
        });
        Ok(Snapshot { files: files.collect::<Result<_, TrainerError>>()? })
    }
}

/// A file before it is written.
pub(super) enum FileContents {
    Bytes(Vec<u8>),
    /// Tensors of any device, for a safetensors file.
    Tensors(Vec<(String, Tensor)>),
}

/// A checkpoint of the model and its run as they are, with its tokenizers' files.
///
/// # Errors
/// A tokenizer's file can't be read.
pub fn snapshot(contents: &Contents<'_>) -> Result<Snapshot, TrainerError> {
    let (model, mut files) = (contents.model, Vec::new());
    for part in Part::ALL {
        let parameters = model.parameters(part);
        if parameters.is_empty() {
            continue;
        }
        files.push((format!("{part}/{WEIGHTS}"), shared(parameters)));
        if let Some(config) = model.config().published(part) {
            files.push((format!("{part}/{SIZES}"), FileContents::Bytes(to_json(&config))));
        }
        if let Some(ids) = model.config().llm.special_ids.to_generation().filter(|_| part == Part::Llm) {
            files.push((format!("{part}/{GENERATION}"), FileContents::Bytes(to_json(&ids))));
        }
    }
    if let Some(lora) = &model.config().lora {
        let adapters = adapters::of(model, lora);
        files.push((format!("{ADAPTERS}/{}", adapters::WEIGHTS), shared(adapters.weights)));
        files.push((format!("{ADAPTERS}/{}", adapters::CONFIG), FileContents::Bytes(to_json(&adapters.config))));
    }
    if let Some((state, moments)) = &contents.training {
        let moments = moments.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect();
        files.push((MOMENTS.to_owned(), shared(moments)));
        files.push((STATE.to_owned(), FileContents::Bytes(to_json(state))));
    }
    if let Some(inputs) = &contents.inputs {
        files.push((INPUTS.to_owned(), FileContents::Bytes(to_json(inputs))));
    }
    let config = toml::to_string(model.config()).expect("a configuration is plain data");
    files.push((CONFIG.to_owned(), FileContents::Bytes(config.into_bytes())));
    for (name, tokenizer) in [(TOKENIZER, &contents.tokenizers.llm), (TEXT_TOKENIZER, &contents.tokenizers.text)] {
        if let Some(tokenizer) = tokenizer {
            let bytes = fs::read(tokenizer).map_err(FileError::of(tokenizer, "read"))?;
            files.push((name.to_owned(), FileContents::Bytes(bytes)));
        }
    }
    let carried = contents.tokenizers.carried.iter();
    files.extend(carried.map(|file| (file.path.clone(), FileContents::Bytes(file.bytes.clone()))));
    Ok(Snapshot { files })
}

/// A snapshot of an M3D-CLIP in training: weights and config.json as it is published, with its tokenizer next to them.
///
/// # Errors
/// The tokenizer's file can't be read.
pub fn clip_snapshot(
    clip: &M3dClip,
    tokenizer: &Path,
    inputs: Option<&Inputs>,
    (state, moments): (&TrainState, Vec<(String, Tensor)>),
) -> Result<Snapshot, TrainerError> {
    let tokenizer = fs::read(tokenizer).map_err(FileError::of(tokenizer, "read"))?;
    let mut files = vec![
        (WEIGHTS.to_owned(), shared(clip.parameters())),
        (SIZES.to_owned(), FileContents::Bytes(to_json(&clip.config().to_published()))),
        (TOKENIZER.to_owned(), FileContents::Bytes(tokenizer)),
        (MOMENTS.to_owned(), shared(moments)),
        (STATE.to_owned(), FileContents::Bytes(to_json(state))),
    ];
    files.extend(inputs.map(|inputs| (INPUTS.to_owned(), FileContents::Bytes(to_json(inputs)))));
    Ok(Snapshot { files })
}

impl Snapshot {
    /// Bytes of host memory that a copy of it takes.
    pub fn copy_bytes(&self) -> u64 {
        self.tensors().map(|(_, tensor)| Download::host_bytes(tensor)).sum()
    }

    /// Whether all of its tensors are on the host.
    pub fn is_on_host(&self) -> bool {
        self.tensors().all(|(_, tensor)| tensor.device() == Device::Cpu)
    }

    /// Begins to copy it to the host: the copy gets the values of this moment, while training goes on. On a GPU the copies are
    /// queued behind what is computed there and before what comes; nobody waits for them but [`SnapshotCopy::finish`].
    ///
    /// # Errors
    /// The system gives no memory.
    pub fn copy(&self) -> Result<SnapshotCopy, TrainerError> {
        let started = self.tensors().map(|(_, tensor)| Download::start(tensor)).collect::<Result<_, _>>()?;
        let files = self.files.iter().map(|(path, contents)| (path.clone(), contents.share())).collect();
        Ok(SnapshotCopy { shared: Snapshot { files }, downloads: started })
    }

    fn tensors(&self) -> impl Iterator<Item = &(String, Tensor)> {
        self.files.iter().flat_map(|(_, contents)| match contents {
            FileContents::Tensors(tensors) => tensors.as_slice(),
            FileContents::Bytes(_) => &[],
        })
    }

    /// Puts the tokenizer's files, which are at the top, next to the language model too, where transformers looks for them.
    pub fn with_tokenizer_of_llm(mut self) -> Snapshot {
        let is_of_tokenizer = |path: &str| !path.contains('/') && ![CONFIG, INPUTS, TEXT_TOKENIZER].contains(&path);
        let of_tokenizer = self.files.iter().filter_map(|(path, contents)| match contents {
            FileContents::Bytes(bytes) if is_of_tokenizer(path) => {
                Some((format!("{}/{path}", Part::Llm), FileContents::Bytes(bytes.clone())))
            }
            _ => None,
        });
        let more: Vec<_> = of_tokenizer.collect();
        self.files.extend(more);
        self
    }
}

impl FileContents {
    /// The same, which shares its tensors.
    pub(super) fn share(&self) -> FileContents {
        match self {
            FileContents::Bytes(bytes) => FileContents::Bytes(bytes.clone()),
            FileContents::Tensors(tensors) => FileContents::Tensors(
                tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect(),
            ),
        }
    }
}

/// A file of these tensors, which share their storage with whoever has them.
fn shared(named: Vec<(String, Tensor)>) -> FileContents {
    FileContents::Tensors(named.into_iter().map(|(name, tensor)| (name, tensor.detach())).collect())
}
