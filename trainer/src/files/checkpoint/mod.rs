//! A checkpoint folder: the parts' weights under their published names, the model's configuration, the tokenizers, and
//! what training goes on from.
//!
//! # Layout
//! - `snapshot`: a model and a run's state of one moment
//! - `write`: a snapshot to a folder, whole, in an earlier one's stead
//! - `prune`: the newest stay
//! - `moments`: the optimizer's state, a tensor at a time
//! - `inputs`: how the model's inputs were made
//! - `carried`: files of published models that go along unread
//! - `layout`: the names of the files; `state`: what training goes on from in addition to weights and moments
//!
//! This file opens one.

mod carried;
mod inputs;
mod layout;
mod moments;
mod prune;
mod snapshot;
mod state;
mod write;

use std::fs;
use std::path::{Component, Path, PathBuf};

use med2e3_store::whole::without_earlier;
use tch::{Device, Kind};

use crate::TrainerError;
use crate::files::json::read_json;
use crate::files::model_files::ModelFiles;
use crate::files::weights_file::WeightsFile;
use crate::model::Med2e3;
use layout::{MANIFEST, Manifest, STATE, STATE_FOLDER, TEXT_TOKENIZER, TOKENIZER, hash_of};

pub use carried::CarriedFile;
pub(crate) use carried::TOKENIZER_CONFIG;
pub use inputs::{inputs_in, inputs_of};
pub(crate) use layout::MOMENTS;
pub use moments::StoredMoments;
pub use prune::{note_latest, remove_earlier};
pub use snapshot::{Contents, Snapshot, SnapshotCopy, Tokenizers, clip_snapshot, snapshot};
pub use state::TrainState;

const OWN_JSON: &str = "JSON as this program writes it";

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
        let folder = write::complete(path).or_else(|| last(path)).ok_or_else(|| TrainerError::File {
            path: path.to_owned(),
            expected: "a checkpoint, or a run with one".into(),
            found: if path.exists() { "no step-N folder with a manifest".into() } else { "nothing".into() },
        })?;
        Checkpoint::checked(folder)
    }

    /// Opens the last checkpoint of a run's folder, where there is one.
    ///
    /// # Errors
    /// A file that is missing or differs from the manifest.
    pub fn open_last(run: &Path) -> Result<Option<Checkpoint>, TrainerError> {
        last(run).map(Checkpoint::checked).transpose()
    }

    fn checked(folder: PathBuf) -> Result<Checkpoint, TrainerError> {
        match check_files(&folder) {
            Ok(()) => Ok(Checkpoint { folder }),
            Err(error) => Err(match whole_before(&folder) {
                Some(whole) => TrainerError::Damaged { problem: error.to_string(), damaged: folder, whole },
                None => error,
            }),
        }
    }

    /// The checkpoint's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What tells this checkpoint from any other: the hash of its manifest, which has the hash of every file.
    ///
    /// # Errors
    /// The manifest does not read.
    pub fn identity(&self) -> Result<String, TrainerError> {
        hash_of(&self.folder.join(MANIFEST))
    }

    /// Its tokenizers' files, those that are there.
    pub fn tokenizers(&self) -> Tokenizers {
        let there = |name: &str| Some(self.folder.join(name)).filter(|path| path.is_file());
        let mut carried = CarriedFile::of_tokenizer(&self.folder.join(TOKENIZER));
        carried.extend(CarriedFile::of_encoders(|part, name| Some(self.folder.join(part.name()).join(name))));
        Tokenizers { llm: there(TOKENIZER), text: there(TEXT_TOKENIZER), carried }
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

    /// What training goes on from, with the optimizer's state, which is read a tensor at a time.
    ///
    /// # Errors
    /// A checkpoint without a state, or one that does not read.
    pub fn state(&self) -> Result<(TrainState, StoredMoments), TrainerError> {
        let state: TrainState = read_json(&self.folder.join(STATE), OWN_JSON)?;
        let file = WeightsFile::open(&self.folder.join(MOMENTS))?;
        let moments = StoredMoments { updates: state.updates(), file };
        Ok((state, moments))
    }
}

/// Endings of files that a model is read from.
const READ: [&str; 9] = ["safetensors", "bin", "pt", "pth", "json", "toml", "model", "jinja", "txt"];

/// Compares every file with the manifest, and finds files that would be read but that it does not name.
fn check_files(folder: &Path) -> Result<(), TrainerError> {
    let manifest: Manifest = read_json(&folder.join(MANIFEST), OWN_JSON)?;
    for path in files_below(folder) {
        let name = path.strip_prefix(folder).unwrap_or(&path);
        let is_read = name.extension().is_some_and(|ending| READ.iter().any(|read| ending == *read));
        let is_named = name.to_str().is_some_and(|name| name == MANIFEST || manifest.files.contains_key(name));
        if is_read && !is_named {
            let expected = format!("files that {MANIFEST} names");
            return Err(TrainerError::File { path, expected, found: "one that it does not; remove it".into() });
        }
    }
    for (relative, expected) in manifest.files {
        let inside = |part: Component<'_>| matches!(part, Component::Normal(_));
        let within = Path::new(&relative).components().all(inside);
        let path = folder.join(&relative);
        if relative.starts_with(STATE_FOLDER) && !path.exists() {
            continue;
        }
        let found = if within { hash_of(&path)? } else { "a path that leads out of the checkpoint".into() };
        if found != expected {
            return Err(TrainerError::File { path, expected: format!("blake3 {expected}"), found });
        }
    }
    Ok(())
}

/// The files in a checkpoint's folder and the folders of its parts.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let list = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let (folders, mut files): (Vec<PathBuf>, Vec<PathBuf>) = list(folder).partition(|path| path.is_dir());
    files.extend(folders.iter().flat_map(|folder| list(folder)).filter(|path| !path.is_dir()));
    files.sort();
    files
}

/// The last whole checkpoint before this one in the same run.
fn whole_before(folder: &Path) -> Option<PathBuf> {
    let step = step_of(folder)?;
    let mut earlier: Vec<_> = checkpoints(folder.parent()?).into_iter().filter(|(other, _)| *other < step).collect();
    earlier.sort();
    earlier.into_iter().rev().map(|(_, path)| path).find(|path| check_files(path).is_ok())
}

/// The folder of a run's checkpoint.
pub fn folder_of(run: &Path, step: u64) -> PathBuf {
    run.join(format!("step-{step}"))
}

/// The step that a checkpoint's folder is named by.
pub fn step_of(folder: &Path) -> Option<u64> {
    folder.file_name()?.to_str()?.strip_prefix("step-")?.parse().ok()
}

/// The run's checkpoint with the highest step.
pub fn last(run: &Path) -> Option<PathBuf> {
    checkpoints(run).into_iter().max().map(|(_, path)| path)
}

/// Every complete checkpoint of a run, by its step.
fn checkpoints(run: &Path) -> Vec<(u64, PathBuf)> {
    let entries = fs::read_dir(run).into_iter().flatten().flatten();
    let step = |entry: fs::DirEntry| {
        let name = entry.file_name();
        let step: u64 = without_earlier(name.to_str()?).strip_prefix("step-")?.parse().ok()?;
        Some((step, write::complete(&folder_of(run, step))?))
    };
    entries.filter_map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Med2e3Config, Part};
    use crate::train::optimizer::StoredState;
    use med2e3_feed::{FeedCursor, Order, Tail};
    use safetensors::SafeTensors;
    use tch::{Tensor, no_grad};

    /// What is in a folder, sorted.
    pub(super) fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// A small random model.
    fn small() -> Med2e3 {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/med2e3.safetensors");
        let bytes = fs::read(golden).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let config: Med2e3Config = serde_json::from_str(&header.metadata().as_ref().unwrap()["config"]).unwrap();
        Med2e3::new(&config, Device::Cpu, 1).unwrap()
    }

    #[test]
    fn a_copied_snapshot_keeps_the_values_of_its_moment() {
        fn is_send<T: Send>(_: &T) {}
        let run = tempfile::tempdir().unwrap();
        let model = small();
        let values =
            || Part::ALL.map(|part| model.parameters(part).into_iter().map(|(_, tensor)| tensor.copy()).collect());
        let before: [Vec<Tensor>; 5] = values();
        let moment = Tensor::from_slice(&[1f32, 2.0]);
        let cursor = FeedCursor::start([1; 32], Order::ById, Tail::Keep);
        let state = TrainState {
            step: 7,
            cursor,
            selection: "ab".into(),
            trained: vec!["llm".into()],
            validation: vec![(7, 0.5)],
            skipped: vec![3, 9],
        };
        let training = Some((&state, vec![("exp_avg/x".to_owned(), moment.shallow_clone())]));
        let contents = Contents { model: &model, tokenizers: Tokenizers::default(), inputs: None, training };
        let copy = snapshot(&contents).unwrap().copy().unwrap();
        let shared = snapshot(&contents).unwrap();
        is_send(&copy);

        for (_, tensor) in Part::ALL.into_iter().flat_map(|part| model.parameters(part)) {
            let _ = no_grad(|| tensor.shallow_clone().fill_(0.25));
        }
        let _ = no_grad(|| moment.shallow_clone().fill_(0.25));
        copy.finish().unwrap().write(&folder_of(run.path(), 7)).unwrap();
        let checkpoint = Checkpoint::open(run.path()).unwrap();
        assert_eq!(checkpoint.folder(), run.path().join("step-7"));
        let (found_state, moments) = checkpoint.state().unwrap();
        assert_eq!((found_state.updates(), &found_state), (6, &state));
        let moment = moments.tensor("exp_avg/x").unwrap();
        assert_eq!(Vec::<f32>::try_from(&moment).unwrap(), [1.0, 2.0]);
        let found = checkpoint.model(Device::Cpu).unwrap();
        for (part, before) in Part::ALL.into_iter().zip(&before) {
            assert!(
                found.parameters(part).iter().zip(before).all(|((_, found), before)| found.equal(before)),
                "{part}"
            );
        }

        // What is shared is not in memory twice, and so changes with the model.
        shared.write(&folder_of(run.path(), 8)).unwrap();
        let found = Checkpoint::open(run.path()).unwrap().model(Device::Cpu).unwrap();
        let (_, first) = &found.parameters(Part::Llm)[0];
        assert!(first.equal(&first.full_like(0.25)));
    }

    #[test]
    fn a_file_that_the_manifest_does_not_name_is_not_read() {
        let run = tempfile::tempdir().unwrap();
        let contents = Contents { model: &small(), tokenizers: Tokenizers::default(), inputs: None, training: None };
        let folder = folder_of(run.path(), 1);
        snapshot(&contents).unwrap().write(&folder).unwrap();
        for name in ["llm/model-00002.safetensors", "adapters/adapter_model.bin", "tokenizer.json"] {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, b"other weights").unwrap();
            let error = Checkpoint::open(&folder).err().unwrap().to_string();
            assert!(error.contains(name) && error.contains("files that manifest.json names"), "{error}");
            fs::remove_file(&path).unwrap();
        }
        // Nothing is read from these.
        fs::write(folder.join("README.md"), b"notes").unwrap();
        fs::write(folder.join(".gitattributes"), b"").unwrap();
        Checkpoint::open(&folder).unwrap();
    }
}
