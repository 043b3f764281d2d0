//! Published weights to a folder that every verb takes, and from there to a folder that transformers loads.

use std::path::{Path, PathBuf};

use med2e3_program::output::refuse_occupied;
use tch::Device;

use crate::TrainerError;
use crate::files::checkpoint::{Checkpoint, Contents, HostTensors, Tokenizers, inputs_in, inputs_of, snapshot};
use crate::files::model_files::{ModelFiles, ModelPaths};
use crate::model::weights::TextProjection;
use crate::model::{Med2e3, Med2e3Config, Part, Preset};
use crate::precision::Precision;

/// What is imported.
#[derive(Clone, Debug)]
pub struct Import<'a> {
    /// A folder in the released layout (`llm/`, `vision2d_model/`, ..).
    pub released: Option<&'a Path>,
    /// Parts stored elsewhere; they replace those of the folder.
    pub parts: Vec<(Part, PathBuf)>,
    /// Adapters of the language model, in PEFT's layout.
    pub adapters: Option<PathBuf>,
    /// What joins the parts; without one the connectors' weights decide.
    pub variant: Option<Preset>,
    /// Whether a trained text projection is kept.
    pub text_projection: TextProjection,
    /// Of connectors without a file, and of a fresh text projection.
    pub seed: u64,
    /// What the weights are stored in.
    pub precision: Precision,
    /// The tokenizers; without the language model's, one next to its weights is taken.
    pub tokenizers: Tokenizers,
    /// A dataset or checkpoint that states how the inputs were made that the model learned from; without it what the folder
    /// in the released layout states, where an export wrote it.
    pub inputs: Option<PathBuf>,
    /// The folder to write; new or empty.
    pub out: &'a Path,
}

/// What an import or export did.
#[derive(Clone, Debug)]
pub struct Exchanged {
    /// The model.
    pub config: Med2e3Config,
    /// The preset that the weights show, where none was named.
    pub inferred: Option<Preset>,
    /// Number of parameters of each part.
    pub parameters: Vec<(Part, u64)>,
    /// Names of tensors in the files that the model does not use.
    pub passed_over: Vec<(Part, Vec<String>)>,
    /// Parts that were drawn from the seed.
    pub drawn: Vec<Part>,
    /// Tokenizers in the folder.
    pub tokenizers: Tokenizers,
    /// Whether the folder states how the model's inputs are made.
    pub states_inputs: bool,
    /// The largest relative difference that merging adapters made, where there were any.
    pub merged: Option<f64>,
}

/// Reads published weights strictly and writes them as a checkpoint without a training state.
///
/// # Errors
/// Files that do not read or do not make up the variant; an output folder that is not empty.
pub fn import(import: &Import<'_>) -> Result<Exchanged, TrainerError> {
    refuse_occupied(import.out)?;
    let mut paths = import.released.map(ModelPaths::of_folder).unwrap_or_default();
    paths.parts.extend(import.parts.iter().cloned());
    paths.adapters = import.adapters.clone().or(paths.adapters);
    let files = ModelFiles::gather(&paths, import.variant)?;
    let drawn = files.missing()?;
    let (kind, seed) = (import.precision.kind(), import.seed);
    let loaded = files.load_or_draw(Device::Cpu, kind, seed, import.text_projection)?;
    let mut tokenizers = import.tokenizers.clone();
    if tokenizers.llm.is_none() {
        let of_weights =
            paths.parts.get(&Part::Llm).map(|llm| if llm.is_dir() { llm.clone() } else { llm.with_file_name("") });
        let folders = of_weights.into_iter().chain(import.released.map(Path::to_owned));
        tokenizers.llm = folders.map(|folder| folder.join("tokenizer.json")).find(|path| path.is_file());
    }
    let inputs = match (&import.inputs, import.released) {
        (Some(stated), _) => Some(inputs_of(stated)?),
        (None, released) => released.map(inputs_in).transpose()?.flatten(),
    };
    let is_stated = inputs.is_some();
    let contents = Contents { model: &loaded.model, tokenizers: tokenizers.clone(), inputs, training: None };
    snapshot(&contents, HostTensors::Shared)?.write(import.out)?;
    Ok(Exchanged {
        config: files.config().clone(),
        inferred: files.inferred(),
        parameters: counts(&loaded.model),
        passed_over: loaded.passed_over,
        drawn,
        tokenizers,
        states_inputs: is_stated,
        merged: None,
    })
}

/// Writes a checkpoint's model without its training state, in a precision of choice, adapters merged: what users of
/// transformers load part by part.
///
/// # Errors
/// A checkpoint that does not read; an output folder that is not empty; adapters whose merging changes the results.
pub fn export(path: &Path, precision: Precision, out: &Path) -> Result<Exchanged, TrainerError> {
    refuse_occupied(out)?;
    let checkpoint = Checkpoint::open(path)?;
    let mut model = checkpoint.model(Device::Cpu)?;
    let merged = model.config().lora.is_some().then(|| model.merge_adapters(MERGE_TOLERANCE)).transpose()?;
    model.to_kind(precision.kind());
    let tokenizers = checkpoint.tokenizers();
    let inputs = checkpoint.inputs()?;
    let is_stated = inputs.is_some();
    let contents = Contents { model: &model, tokenizers: tokenizers.clone(), inputs, training: None };
    snapshot(&contents, HostTensors::Shared)?.write(out)?;
    Ok(Exchanged {
        config: model.config().clone(),
        inferred: None,
        parameters: counts(&model),
        passed_over: Vec::new(),
        drawn: Vec::new(),
        tokenizers,
        states_inputs: is_stated,
        merged,
    })
}

/// Adapters are merged in f32, where rounding costs a few units of the last digit.
const MERGE_TOLERANCE: f64 = 1e-5;

fn counts(model: &Med2e3) -> Vec<(Part, u64)> {
    Part::ALL.into_iter().map(|part| (part, model.parameter_count(part))).collect()
}
