//! A model on disk, in parts: this project's folder, the released layout, or files from several places.
//!
//! A folder with `med2e3.toml` says by itself what it is. In any other the sizes come from the parts' own config.json, or
//! from `args/config.json` beside them as the released code writes it, the connectors from the names of their weights, and
//! what joins the parts from a preset.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tch::{Device, Kind};

use crate::TrainerError;
use crate::checkpoint::adapters::{load_adapters, read_adapter_config};
use crate::checkpoint::{ADAPTERS, CONFIG, read_json};
use crate::model::weights::{TextProjection, connector_kind, preset_of};
use crate::model::{
    BertConfig, ConnectorKind, Initializer, LanguageModelConfig, M3dClipVisionConfig, Med2e3, Med2e3Config, Part,
    Preset, SiglipVisionConfig, Variant,
};
use crate::weights_file::WeightsFile;

/// Files of a model, opened, and what they make together.
pub struct ModelFiles {
    config: Med2e3Config,
    weights: BTreeMap<Part, WeightsFile>,
    adapters: Option<PathBuf>,
    inferred: Option<Preset>,
}

/// Where each part lies: a file of weights, or a folder with one and its config.json.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// Parts that have a place. A part that the variant needs and that has none is an error, but for connectors, which are
    /// then drawn from a seed.
    pub parts: BTreeMap<Part, PathBuf>,
    /// The released code's `args/config.json`, for parts without their own.
    pub args: Option<PathBuf>,
    /// Adapters of the language model: a folder as PEFT writes it.
    pub adapters: Option<PathBuf>,
}

impl Places {
    /// The parts in a folder of either layout, those that are there.
    pub fn of_folder(folder: &Path) -> Places {
        let part = |part: Part| (part, folder.join(part.name()));
        let args = ["args/config.json", "config.json"].map(|name| folder.join(name));
        Places {
            parts: Part::ALL.into_iter().map(part).filter(|(_, path)| path.is_dir()).collect(),
            args: args.into_iter().find(|args| args.is_file()),
            adapters: Some(folder.join(ADAPTERS)).filter(|folder| folder.is_dir()),
        }
    }
}

/// A loaded model, and what of the files is not in it.
pub struct Loaded {
    /// The model.
    pub model: Med2e3,
    /// Tensors that the files hold beside the parts.
    pub passed_over: Vec<(Part, Vec<String>)>,
}

impl ModelFiles {
    /// Opens a folder of either layout. A preset decides what joins the parts: in the released layout all of it, in this
    /// project's what has no weights; without one a released folder's weights do.
    ///
    /// # Errors
    /// Neither layout, a file that does not read, sizes that are not built here.
    pub fn open(folder: &Path, preset: Option<Preset>) -> Result<ModelFiles, TrainerError> {
        let own = folder.join(CONFIG);
        let places = Places::of_folder(folder);
        if !own.is_file() {
            return ModelFiles::gather(&places, preset);
        }
        let text = fs::read_to_string(&own).map_err(TrainerError::io(&own, "read"))?;
        let mut config: Med2e3Config = med2e3_schemas::config::parse(&own.display().to_string(), &text, &[])?;
        if let Some(preset) = preset {
            let (connector3d, connector2d) = (config.variant.connector3d, config.variant.connector2d);
            let max_length = config.variant.max_length;
            config.variant = Variant { connector3d, connector2d, max_length, ..preset.variant() };
        }
        let weights = open_all(&places)?;
        Ok(ModelFiles { config, weights, adapters: places.adapters, inferred: None })
    }

    /// Opens parts that lie apart. Without a preset the connectors' weights decide.
    ///
    /// # Errors
    /// A file that does not read, sizes that are not built here, no language model.
    pub fn gather(places: &Places, preset: Option<Preset>) -> Result<ModelFiles, TrainerError> {
        let weights = open_all(places)?;
        let shapes = |part| weights.get(&part).map(WeightsFile::shapes).unwrap_or_default();
        let inferred = preset.is_none().then(|| preset_of(&shapes(Part::Vision3dConnector)));
        let preset = preset.or(inferred).unwrap_or(Preset::Paper);
        let mut variant = preset.variant();
        let args = places.args.as_deref().map(|args| read_json(args, "JSON")).transpose()?;
        let sizes = |part: Part| sizes_of(part, places, args.as_ref());

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

        // A part that the variant does not build has sizes all the same, which nothing depends on.
        let vision2d = match variant.needs_2d() {
            true => SiglipVisionConfig::from_published(&sizes(Part::Vision2dModel)?)?,
            false => SiglipVisionConfig::large_patch16_256(),
        };
        let vision3d_sizes = sizes(Part::Vision3dModel)?;
        let text_encoder = match variant.needs_text_encoder() {
            true => Some(BertConfig::of_published(&vision3d_sizes, &shapes(Part::Vision3dModel))?),
            false => None,
        };
        let config = Med2e3Config {
            llm: LanguageModelConfig::from_published(&sizes(Part::Llm)?)?,
            vision2d,
            vision3d: M3dClipVisionConfig::from_published(&vision3d_sizes)?,
            text_encoder,
            variant,
            initializer: Initializer::Normal(0.02),
            lora: places.adapters.as_deref().map(read_adapter_config).transpose()?,
        };
        Ok(ModelFiles { config, weights, adapters: places.adapters.clone(), inferred })
    }

    /// What the files make together.
    pub fn config(&self) -> &Med2e3Config {
        &self.config
    }

    /// The preset that was read off the weights, for want of another.
    pub fn inferred(&self) -> Option<Preset> {
        self.inferred
    }

    /// Parts that the model needs and that no file brings.
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
        match self.missing()?.first() {
            None => self.load_what_is_there(device, kind),
            Some(part) => Err(TrainerError::Config {
                key: part.name().into(),
                expected: "a file of weights, as the variant needs".into(),
                found: "none".into(),
            }),
        }
    }

    /// As [`ModelFiles::load`], connectors without a file drawn from the seed, and the text projection too where `text`
    /// says so.
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
        let mut loaded = self.load_what_is_there(device, kind)?;
        for part in missing {
            loaded.model.draw_connector(part, seed);
        }
        if text == TextProjection::Fresh {
            loaded.model.draw_text_projection(seed);
        }
        Ok(loaded)
    }

    fn load_what_is_there(&self, device: Device, kind: Kind) -> Result<Loaded, TrainerError> {
        let mut model = Med2e3::unloaded(&self.config, device, kind)?;
        let mut passed_over = Vec::new();
        for (part, weights) in &self.weights {
            if model.parameters(*part).is_empty() {
                passed_over.push((*part, weights.names().map(str::to_owned).collect()));
                continue;
            }
            let read = |name: &str| weights.tensor(name, device, Some(kind));
            let named =
                |error: TrainerError| TrainerError::Part { path: weights.path().to_owned(), source: error.into() };
            let beside = model.load(*part, &weights.shapes(), read).map_err(named)?;
            if !beside.is_empty() {
                passed_over.push((*part, beside));
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

fn open_all(places: &Places) -> Result<BTreeMap<Part, WeightsFile>, TrainerError> {
    places.parts.iter().map(|(part, path)| Ok((*part, WeightsFile::open(path)?))).collect()
}

/// The part's config.json, or its share of the released code's.
fn sizes_of(part: Part, places: &Places, args: Option<&Value>) -> Result<Value, TrainerError> {
    let place = places.parts.get(&part);
    let own =
        place.map(|place| if place.is_dir() { place.join("config.json") } else { place.with_file_name("config.json") });
    if let Some(own) = own.as_ref().filter(|own| own.is_file()) {
        return read_json(own, "JSON");
    }
    let key = format!("{}_config", part.name());
    let share = args.and_then(|args| args.get(&key)).cloned();
    share.ok_or_else(|| TrainerError::File {
        path: own.unwrap_or_else(|| PathBuf::from(part.name())),
        expected: format!("the part's sizes, here or as {key} in args/config.json"),
        found: "neither".into(),
    })
}
