//! A model on disk, in parts: this project's folder, the released layout, or files from several folders.
//!
//! A folder with `med2e3.toml` states its whole configuration. In any other the sizes come from the parts' own config.json, or
//! from `args/config.json` next to them as the released code writes it, the connectors from the names of their weights, and
//! what joins the parts from a preset.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tch::{Device, Kind};

use crate::TrainerError;
use crate::files::adapters::{CONFIG as ADAPTER_CONFIG, load_adapters, read_adapter_config};
use crate::files::json::{read_json, read_text};
use crate::files::names::{ADAPTERS, CONFIG, GENERATION, SIZES};
use crate::files::weights_file::WeightsFile;
use crate::model::weights::{Table, TextProjection, connector_kind, is_idle, preset_of};
use crate::model::{
    BertConfig, ConnectorKind, Initializer, LanguageModelConfig, M3dClipVisionConfig, Med2e3, Med2e3Config, ModelError,
    Part, Preset, SiglipVisionConfig, Variant,
};

/// Files of a model, opened, and what they make together.
pub struct ModelFiles {
    config: Med2e3Config,
    weights: BTreeMap<Part, WeightsFile>,
    adapters: Option<PathBuf>,
    inferred: Option<Preset>,
    tables: Tables,
}

/// How many tables the language model's embedding and head are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tables {
    /// As many as the file has weights for.
    AsStored,
    /// One by config.json, which a file may hold under either name.
    One,
    /// One by config.json, and two in the files: both are kept, as transformers keeps them.
    TwoInFiles,
}

/// The paths of the parts: each a file of weights, or a folder with one and its config.json.
#[derive(Clone, Debug, Default)]
pub struct ModelPaths {
    /// Parts with a path. A part that the variant needs and that has none is an error, except for connectors, which are then
    /// drawn from a seed.
    pub parts: BTreeMap<Part, PathBuf>,
    /// The released code's `args/config.json`, for parts without their own.
    pub args: Option<PathBuf>,
    /// Adapters of the language model: a folder as PEFT writes it.
    pub adapters: Option<PathBuf>,
    /// The folder that the parts were looked for in, for messages.
    pub folder: Option<PathBuf>,
}

impl ModelPaths {
    /// A file next to a part's weights, if it is there.
    pub fn beside(&self, part: Part, name: &str) -> Option<PathBuf> {
        self.parts.get(&part).map(|path| sibling(path, name)).filter(|path| path.is_file())
    }

    /// The parts in a folder of either layout, those that are there.
    pub fn of_folder(folder: &Path) -> ModelPaths {
        let part = |part: Part| (part, folder.join(part.name()));
        let args = ["args/config.json", SIZES].map(|name| folder.join(name));
        ModelPaths {
            parts: Part::ALL.into_iter().map(part).filter(|(_, path)| path.is_dir()).collect(),
            args: args.into_iter().find(|args| args.is_file()),
            adapters: Some(folder.join(ADAPTERS)).filter(|folder| folder.is_dir()),
            folder: Some(folder.to_owned()),
        }
    }
}

/// A loaded model, and what of the files is not in it.
pub struct Loaded {
    /// The model.
    pub model: Med2e3,
    /// Names of tensors in the files that the model does not use.
    pub passed_over: Vec<(Part, Vec<String>)>,
}

impl ModelFiles {
    /// Opens a folder of either layout. A preset decides what joins the parts: in the released layout all of it, in this
    /// project's what has no weights. Without one the weights of a released folder decide.
    ///
    /// # Errors
    /// Neither layout, a file that does not read, sizes that are not built here.
    pub fn open(folder: &Path, preset: Option<Preset>) -> Result<ModelFiles, TrainerError> {
        let own = folder.join(CONFIG);
        let paths = ModelPaths::of_folder(folder);
        if !own.is_file() {
            return ModelFiles::gather(&paths, preset);
        }
        let text = read_text(&own)?;
        let mut config: Med2e3Config = med2e3_schemas::config::parse(&own.display().to_string(), &text, &[])?;
        if let Some(preset) = preset {
            let (connector3d, connector2d) = (config.variant.connector3d, config.variant.connector2d);
            let max_length = config.variant.max_length;
            config.variant = Variant { connector3d, connector2d, max_length, ..preset.variant() };
        }
        let named = |error: ModelError| TrainerError::Part { path: own.clone(), source: Box::new(error.into()) };
        config.check().map_err(named)?;
        let weights = open_all(&paths)?;
        Ok(ModelFiles { config, weights, adapters: paths.adapters, inferred: None, tables: Tables::AsStored })
    }

    /// Opens parts from several folders. Without a preset the connectors' weights decide.
    ///
    /// # Errors
    /// A file that does not read, sizes that are not built here, no language model.
    pub fn gather(paths: &ModelPaths, preset: Option<Preset>) -> Result<ModelFiles, TrainerError> {
        let weights = open_all(paths)?;
        let shapes = |part| weights.get(&part).map(WeightsFile::shapes).unwrap_or_default();
        let inferred = preset.is_none().then(|| preset_of(&shapes(Part::Vision3dConnector)));
        let preset = preset.or(inferred).unwrap_or(Preset::Paper);
        let mut variant = preset.variant();
        let args = paths.args.as_deref().map(|args| read_json(args, "JSON")).transpose()?;
        let sizes = |part: Part| sizes_of(part, paths, args.as_ref());

        let declared = |key: &str| -> Result<Option<ConnectorKind>, TrainerError> {
            let name = args.as_ref().and_then(|args| args.get(key)).and_then(Value::as_str);
            Ok(name.map(ConnectorKind::from_published).transpose()?)
        };
        let connector = |part, key, usual: ConnectorKind| -> Result<ConnectorKind, TrainerError> {
            let base = declared(key)?.unwrap_or(usual);
            Ok(if weights.contains_key(&part) { connector_kind(&shapes(part), base) } else { base })
        };
        variant.connector3d = connector(Part::Vision3dConnector, "vision3d_connector_type", variant.connector3d)?;
        variant.connector2d = connector(Part::Vision2dConnector, "vision2d_connector_type", variant.connector2d)?;
        if let Some(length) = args.as_ref().and_then(|args| args.get("llm_max_length")).and_then(Value::as_u64) {
            variant.max_length = length as usize;
        }

        // Sizes of another kind of part are named with their file.
        let of = |part: Part| {
            move |error: ModelError| TrainerError::Part {
                path: sizes_file(part, paths),
                source: Box::new(error.into()),
            }
        };
        // A part that the variant does not build has sizes too, which nothing depends on.
        let vision2d = if variant.needs_2d() {
            SiglipVisionConfig::from_published(&sizes(Part::Vision2dModel)?).map_err(of(Part::Vision2dModel))?
        } else {
            SiglipVisionConfig::large_patch16_256()
        };
        let vision3d_sizes = sizes(Part::Vision3dModel)?;
        let text_encoder = if variant.needs_text_encoder() {
            Some(BertConfig::of_published(&vision3d_sizes, &shapes(Part::Vision3dModel))?)
        } else {
            None
        };
        let mut llm = LanguageModelConfig::from_published(&sizes(Part::Llm)?).map_err(of(Part::Llm))?;
        if let Some(generation) = paths.beside(Part::Llm, GENERATION) {
            llm.special_ids = llm.special_ids.with_generation(&read_json(&generation, "JSON")?)?;
        }
        let tables = tables_of(&llm, weights.get(&Part::Llm), paths.adapters.as_deref())?;
        llm.tie_word_embeddings &= tables != Tables::TwoInFiles;
        let lora = paths.adapters.as_deref().map(|folder| read_adapter_config(folder, &llm)).transpose()?;
        let config = Med2e3Config {
            llm,
            vision2d,
            vision3d: M3dClipVisionConfig::from_published(&vision3d_sizes).map_err(of(Part::Vision3dModel))?,
            text_encoder,
            variant,
            initializer: Initializer::Normal(0.02),
            lora,
        };
        config.check().map_err(|error| match file_of(&error, paths) {
            Some(path) => TrainerError::Part { path, source: Box::new(error.into()) },
            None => error.into(),
        })?;
        Ok(ModelFiles { config, weights, adapters: paths.adapters.clone(), inferred, tables })
    }

    /// What the files make together.
    pub fn config(&self) -> &Med2e3Config {
        &self.config
    }

    /// The preset that the weights show, where none was named.
    pub fn inferred(&self) -> Option<Preset> {
        self.inferred
    }

    /// Names an id that ends an answer, where the files name none.
    pub fn end_with(&mut self, id: i64) {
        let end = &mut self.config.llm.special_ids.end;
        if end.is_empty() {
            end.push(id);
        }
    }

    /// How many tables the language model's embedding and head are.
    pub fn tables(&self) -> Tables {
        self.tables
    }

    /// Parts that the model needs and that have no file.
    ///
    /// # Errors
    /// The config's sizes do not fit together.
    pub fn missing(&self) -> Result<Vec<Part>, TrainerError> {
        let needed = |part: &Part| Ok::<_, TrainerError>(!self.config.parameter_shapes(*part)?.is_empty());
        let without = Part::ALL.into_iter().filter(|part| !self.weights.contains_key(part));
        without.filter_map(|part| needed(&part).map(|needed| needed.then_some(part)).transpose()).collect()
    }

    /// Loads every part, one tensor at a time, straight to the device and kind.
    ///
    /// # Errors
    /// A part without a file, weights that the configuration does not account for.
    pub fn load(&self, device: Device, kind: Kind) -> Result<Loaded, TrainerError> {
        if let Some(part) = self.missing()?.first() {
            return Err(TrainerError::Config {
                key: part.name().into(),
                expected: "a file of weights, as the variant needs".into(),
                found: "none".into(),
            });
        }
        self.load_present(device, kind)
    }

    /// As [`ModelFiles::load`], connectors without a file drawn from the seed, and the text projection too if `text` is
    /// fresh.
    ///
    /// # Errors
    /// As [`ModelFiles::load`].
    pub fn load_or_draw(
        &self,
        device: Device,
        kind: Kind,
        seed: u64,
        text: TextProjection,
    ) -> Result<Loaded, TrainerError> {
        let missing = self.missing()?;
        if missing.iter().any(|part| !matches!(part, Part::Vision2dConnector | Part::Vision3dConnector)) {
            return self.load(device, kind);
        }
        let mut loaded = self.load_present(device, kind)?;
        for part in missing {
            loaded.model.draw_connector(part, seed);
        }
        if text == TextProjection::Fresh {
            loaded.model.draw_text_projection(seed);
        }
        Ok(loaded)
    }

    fn load_present(&self, device: Device, kind: Kind) -> Result<Loaded, TrainerError> {
        let mut model = Med2e3::unloaded(&self.config, device, kind)?;
        let mut passed_over = Vec::new();
        for (part, weights) in &self.weights {
            if model.parameters(*part).is_empty() {
                passed_over.push((*part, weights.names().map(str::to_owned).collect()));
                continue;
            }
            let mut given = weights.shapes();
            let shared =
                if *part == Part::Llm && self.tables != Tables::AsStored { share_table(&mut given) } else { None };
            let read = |name: &str| match &shared {
                Some((missing, source)) if missing == name => weights.tensor(source, device, Some(kind)),
                _ => weights.tensor(name, device, Some(kind)),
            };
            let named =
                |error: TrainerError| TrainerError::Part { path: weights.path().to_owned(), source: error.into() };
            let mut unused = model.load(*part, &given, read).map_err(named)?;
            unused.retain(|name| shared.as_ref().is_none_or(|(missing, source)| name != missing && name != source));
            unused.extend(weights.absent().map(str::to_owned));
            if !unused.is_empty() {
                passed_over.push((*part, unused));
            }
        }
        if self.config.lora.is_some() {
            let folder = self.adapters.as_ref().ok_or_else(|| TrainerError::Config {
                key: "lora".into(),
                expected: format!("a folder {ADAPTERS}"),
                found: "none".into(),
            })?;
            load_adapters(folder, &mut model)?;
        }
        Ok(Loaded { model, passed_over })
    }
}

fn open_all(paths: &ModelPaths) -> Result<BTreeMap<Part, WeightsFile>, TrainerError> {
    // Whether a head that an index lists and no file holds is missed, the configuration decides.
    let is_head = |part: Part, name: &str| part == Part::Llm && Table::of_weight(name) == Some(Table::Head);
    let open =
        |part: Part, path: &Path| WeightsFile::open_without(path, &|name| is_idle(part, name) || is_head(part, name));
    paths.parts.iter().map(|(part, path)| Ok((*part, open(*part, path)?))).collect()
}

/// How many tables the files hold for a language model's embedding and head.
fn tables_of(
    llm: &LanguageModelConfig,
    weights: Option<&WeightsFile>,
    adapters: Option<&Path>,
) -> Result<Tables, TrainerError> {
    let Some(weights) = weights.filter(|_| llm.tie_word_embeddings) else {
        return Ok(Tables::AsStored);
    };
    let of = |table: Table| weights.names().find(|name| Table::of_weight(name) == Some(table));
    let is_same = match (of(Table::Embeddings), of(Table::Head)) {
        (Some(embedding), Some(head)) => {
            let read = |name| weights.tensor(name, Device::Cpu, None);
            weights.shape(embedding)? == weights.shape(head)? && read(embedding)?.equal(&read(head)?)
        }
        _ => true,
    };
    let is_trained_apart = match adapters {
        Some(folder) => !read_adapter_config(folder, llm)?.tables.is_empty(),
        None => false,
    };
    Ok(if is_same && !is_trained_apart { Tables::One } else { Tables::TwoInFiles })
}

/// Where a language model's file holds one table for embedding and head, adds the other under its published name: that name
/// and the one in the file.
fn share_table(given: &mut Vec<(String, Vec<i64>)>) -> Option<(String, String)> {
    let of = |table: Table| given.iter().find(|(name, _)| Table::of_weight(name) == Some(table));
    let (missing, (source, shape)) = match (of(Table::Embeddings), of(Table::Head)) {
        (Some(embedding), None) => (Table::Head, embedding.clone()),
        (None, Some(head)) => (Table::Embeddings, head.clone()),
        _ => return None,
    };
    given.push((missing.name().to_owned(), shape));
    Some((missing.name().to_owned(), source))
}

/// The part's config.json, or its share of the released code's.
fn sizes_of(part: Part, paths: &ModelPaths, args: Option<&Value>) -> Result<Value, TrainerError> {
    if let Some(own) = paths.beside(part, SIZES) {
        return read_json(&own, "JSON");
    }
    let key = format!("{}_config", part.name());
    if let Some(share) = args.and_then(|args| args.get(&key)) {
        return Ok(share.clone());
    }
    if !paths.parts.contains_key(&part) {
        return Err(TrainerError::Config {
            key: part.name().into(),
            expected: "a folder with its weights and config.json, given alone or in a released folder".into(),
            found: paths.folder.as_ref().map_or("none".into(), |folder| format!("none in {}", folder.display())),
        });
    }
    Err(TrainerError::File {
        path: sizes_file(part, paths),
        expected: format!("the part's sizes, here or as {key} in args/config.json"),
        found: "neither".into(),
    })
}

/// The file that states the size that an error names.
fn file_of(error: &ModelError, paths: &ModelPaths) -> Option<PathBuf> {
    let ModelError::Config { field, .. } = error else { return None };
    let part = match field.split(['.', ':', ' ']).next()? {
        "llm" => Part::Llm,
        "vision2d" => Part::Vision2dModel,
        "vision3d" | "text_encoder" => Part::Vision3dModel,
        "lora" => return paths.adapters.as_ref().map(|folder| folder.join(ADAPTER_CONFIG)),
        _ => return None,
    };
    let own = sizes_file(part, paths);
    Some(if own.is_file() { own } else { paths.args.clone().unwrap_or(own) })
}

/// Where a part's config.json is, or would be.
fn sizes_file(part: Part, paths: &ModelPaths) -> PathBuf {
    paths.parts.get(&part).map_or_else(|| PathBuf::from(part.name()), |path| sibling(path, SIZES))
}

/// A file in a folder, or next to a file.
fn sibling(path: &Path, name: &str) -> PathBuf {
    if path.is_dir() { path.join(name) } else { path.with_file_name(name) }
}
