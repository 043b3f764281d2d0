//! Published weights to a folder that every verb takes, and from there to a folder that transformers loads.

use std::path::{Path, PathBuf};

use med2e3_input::text::{QuestionTokenizer, Tokenizer};
use med2e3_program::output::refuse_occupied;
use serde_json::{Map, Value};
use tch::Device;

use crate::TrainerError;
use crate::files::checkpoint::{
    CarriedFile, Checkpoint, Contents, TOKENIZER_CONFIG, Tokenizers, inputs_in, inputs_of, snapshot,
};
use crate::files::json::to_json;
use crate::files::model_files::{ModelFiles, ModelPaths, Tables};
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
    /// How many tables the language model's embedding and head were in the files.
    pub tables: Tables,
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
    let mut files = ModelFiles::gather(&paths, import.variant)?;
    let drawn = files.missing()?;
    let mut tokenizers = import.tokenizers.clone();
    if tokenizers.llm.is_none() {
        let of_weights =
            paths.parts.get(&Part::Llm).map(|llm| if llm.is_dir() { llm.clone() } else { llm.with_file_name("") });
        let folders = of_weights.into_iter().chain(import.released.map(Path::to_owned));
        tokenizers.llm = folders.map(|folder| folder.join("tokenizer.json")).find(|path| path.is_file());
    }
    if let Some(end) = check_tokenizers(&tokenizers, files.config())? {
        files.end_with(end);
    }
    tokenizers.carried = tokenizers.llm.as_deref().map(CarriedFile::of_tokenizer).unwrap_or_default();
    tokenizers.carried.extend(CarriedFile::of_encoders(|part, name| paths.beside(part, name)));
    let (kind, seed) = (import.precision.kind(), import.seed);
    let loaded = files.load_or_draw(Device::Cpu, kind, seed, import.text_projection)?;
    let inputs = match (&import.inputs, import.released) {
        (Some(stated), _) => Some(inputs_of(stated)?),
        (None, released) => released.map(inputs_in).transpose()?.flatten(),
    };
    let is_stated = inputs.is_some();
    let contents = Contents { model: &loaded.model, tokenizers: tokenizers.clone(), inputs, training: None };
    snapshot(&contents)?.write_new(import.out)?;
    Ok(Exchanged {
        config: files.config().clone(),
        inferred: files.inferred(),
        parameters: counts(&loaded.model),
        passed_over: loaded.passed_over,
        drawn,
        tables: files.tables(),
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
    let mut tokenizers = checkpoint.tokenizers();
    let inputs = checkpoint.inputs()?;
    // transformers stops where this program does.
    let stated = inputs.as_ref().and_then(|inputs| inputs.text.as_ref()?.end_token);
    stated.into_iter().for_each(|id| model.end_with(id.into()));
    if let Some(path) = &tokenizers.llm {
        let tokenizer = Tokenizer::load(path)?;
        tokenizer.end_token().into_iter().for_each(|end| model.end_with(end.id.into()));
        complete_tokenizer_config(&mut tokenizers.carried, &tokenizer, model.config());
    }
    let is_stated = inputs.is_some();
    let contents = Contents { model: &model, tokenizers: tokenizers.clone(), inputs, training: None };
    snapshot(&contents)?.with_tokenizer_of_llm().write_new(out)?;
    Ok(Exchanged {
        config: model.config().clone(),
        inferred: None,
        parameters: counts(&model),
        passed_over: Vec::new(),
        drawn: Vec::new(),
        tables: Tables::AsStored,
        tokenizers,
        states_inputs: is_stated,
        merged,
    })
}

/// Checks that the tokenizers can serve the model: they read, and every id has a row. Returns the end token's id.
fn check_tokenizers(tokenizers: &Tokenizers, config: &Med2e3Config) -> Result<Option<i64>, TrainerError> {
    let fits = |path: &Path, largest: Option<u32>, rows: i64| match largest.map(i64::from) {
        Some(id) if id >= rows => Err(TrainerError::File {
            path: path.to_owned(),
            expected: format!("ids below {rows}, the rows of the model's table"),
            found: format!("a token with id {id}"),
        }),
        Some(_) => Ok(()),
        None => Err(TrainerError::File {
            path: path.to_owned(),
            expected: "a tokenizer with tokens".into(),
            found: "none".into(),
        }),
    };
    if let (Some(path), Some(encoder)) = (&tokenizers.text, &config.text_encoder) {
        fits(path, QuestionTokenizer::load(path)?.largest_id(), encoder.vocab_size)?;
    }
    let Some(path) = &tokenizers.llm else { return Ok(None) };
    let tokenizer = Tokenizer::load(path)?;
    fits(path, tokenizer.largest_id(), config.llm.vocab_size)?;
    Ok(tokenizer.end_token().map(|end| end.id.into()))
}

/// Adds to `tokenizer_config.json`, or makes one of, what AutoTokenizer needs and the model knows.
fn complete_tokenizer_config(carried: &mut Vec<CarriedFile>, tokenizer: &Tokenizer, config: &Med2e3Config) {
    let own = carried.iter().position(|file| file.path == TOKENIZER_CONFIG);
    let own = own.map(|place| carried.remove(place)).and_then(|file| serde_json::from_slice(&file.bytes).ok());
    let mut fields: Map<String, Value> = own.unwrap_or_default();
    let ids = &config.llm.special_ids;
    let word = |id: Option<i64>| id.and_then(|id| tokenizer.token(u32::try_from(id).ok()?));
    let end = tokenizer.end_token().map(|end| end.text.clone());
    let known = [
        ("tokenizer_class", Some("PreTrainedTokenizerFast".to_owned())),
        ("bos_token", word(tokenizer.bos().map(i64::from).or(ids.begin))),
        ("pad_token", word(ids.pad).or(end.clone())),
        ("eos_token", end),
    ];
    for (key, value) in known {
        if let (Some(value), None) = (value, fields.get(key)) {
            fields.insert(key.to_owned(), value.into());
        }
    }
    fields.entry("model_max_length").or_insert_with(|| config.llm.max_position_embeddings.into());
    carried.push(CarriedFile { path: TOKENIZER_CONFIG.into(), bytes: to_json(&fields) });
}

/// Adapters are merged in f32, where rounding costs a few units of the last digit.
const MERGE_TOLERANCE: f64 = 1e-5;

fn counts(model: &Med2e3) -> Vec<(Part, u64)> {
    Part::ALL.into_iter().map(|part| (part, model.parameter_count(part))).collect()
}
