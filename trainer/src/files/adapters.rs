//! Adapters as PEFT stores them: a folder with `adapter_config.json` and `adapter_model.safetensors`.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use med2e3_store::FileError;
use regex::{Regex, RegexBuilder};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};
use tch::Tensor;

use super::json::{read_json, write_json};
use super::tensors::write_tensors;
use crate::TrainerError;
use crate::files::weights_file::WeightsFile;
use crate::model::error::shown;
use crate::model::lora::ALL_LINEAR;
use crate::model::weights::Table;
use crate::model::weights::adapt::{adapters_of, by_shortest_names, maps};
use crate::model::{LanguageModelConfig, LoraConfig, LoraScale, Med2e3, ModelError};

/// Where PEFT stores the configuration.
pub(super) const CONFIG: &str = "adapter_config.json";
/// Where PEFT stores the weights.
pub(super) const WEIGHTS: &str = "adapter_model.safetensors";
/// Written by releases of PEFT before 0.7, by `torch.save`.
const OLD_WEIGHTS: &str = "adapter_model.bin";

/// Keys that state where adapters come from, or configure kinds of training that are off: nothing depends on them.
const WITHOUT_EFFECT: [&str; 7] = [
    "auto_mapping",
    "base_model_name_or_path",
    "inference_mode",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
];

/// The configuration that `adapter_config.json` states for a language model: which of its maps PEFT would adapt, by names or
/// a pattern, without those that are excluded and in the layers that are named, each with its rank and alpha. Maps are then
/// written by their last name where all blocks agree, else by their paths. Tables that PEFT trained and saved next to the
/// adapters (`modules_to_save`) are the model's then, and no longer one table where they were.
///
/// # Errors
/// No file, or one that asks for anything but LoRA of a causal language model. A key that is not known here must be null,
/// false or empty, so that a feature of another release of PEFT is never passed over.
pub fn read_adapter_config(folder: &Path, llm: &LanguageModelConfig) -> Result<LoraConfig, TrainerError> {
    Fields::read(folder)?.adapters(llm)
}

/// Adapters as PEFT stores them.
pub(super) struct AdapterFiles {
    /// For [`WEIGHTS`].
    pub(super) weights: Vec<(String, Tensor)>,
    /// For [`CONFIG`].
    pub(super) config: Value,
}

/// The model's adapters, their weights sharing storage with the model.
pub(super) fn of(model: &Med2e3, lora: &LoraConfig) -> AdapterFiles {
    let weights = model.adapters().into_iter().chain(model.adapter_tables()).collect();
    let llm = &model.config().llm;
    let adapters = adapters_of(lora, llm).expect("the model was built with it");
    // As PEFT has it, every target by name.
    let names = by_shortest_names(&adapters.keys().map(|map| (map.clone(), ())).collect(), llm);
    let ranks: BTreeMap<_, _> = adapters.iter().map(|(map, adapter)| (map.clone(), adapter.rank)).collect();
    let alphas: BTreeMap<_, _> = adapters.iter().map(|(map, adapter)| (map.clone(), adapter.alpha)).collect();
    let ranks = by_shortest_names(&ranks, llm).into_iter().filter(|(_, rank)| *rank != lora.rank);
    let alphas = by_shortest_names(&alphas, llm).into_iter().filter(|(_, alpha)| *alpha != lora.alpha);
    // Tables that learned beside the adapters are whole in the file.
    let tables: Vec<&str> =
        Table::ALL.iter().filter(|table| lora.tables.contains(table)).map(|table| table.module()).collect();
    let tables = if tables.is_empty() { Value::Null } else { json!(tables) };
    let config = json!({
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": null,
        "inference_mode": true,
        "r": lora.rank,
        "lora_alpha": number(lora.alpha),
        "lora_dropout": lora.dropout,
        "target_modules": names.keys().collect::<Vec<_>>(),
        "rank_pattern": ranks.collect::<BTreeMap<_, _>>(),
        "alpha_pattern": alphas.map(|(map, alpha)| (map, number(alpha))).collect::<BTreeMap<_, _>>(),
        "use_rslora": lora.scale == LoraScale::RootOfRank,
        "bias": "none",
        "fan_in_fan_out": false,
        "init_lora_weights": true,
        "modules_to_save": tables,
    });
    AdapterFiles { weights, config }
}

/// PEFT takes alpha for an integer, and shows it so.
fn number(alpha: f64) -> Value {
    if alpha.fract() == 0.0 { json!(alpha as i64) } else { json!(alpha) }
}

/// Writes the model's adapters, weights first, so that a folder with a configuration is whole.
///
/// # Errors
/// The model has no adapters, or the system refuses to write.
pub fn save_adapters(folder: &Path, model: &Med2e3) -> Result<(), TrainerError> {
    let AdapterFiles { weights, config } = of(model, config_of(model)?);
    fs::create_dir_all(folder).map_err(FileError::of(folder, "create"))?;
    write_tensors(&folder.join(WEIGHTS), &weights)?;
    write_json(&folder.join(CONFIG), &config)
}

/// Gives a model that was built with the folder's configuration the folder's weights, tables that were saved with the adapters
/// included. Its dropout may differ: it acts in training alone.
///
/// # Errors
/// The model has no adapters or other ones, a weight is missing, unexpected or misshapen: the model is then unchanged.
pub fn load_adapters(folder: &Path, model: &mut Med2e3) -> Result<(), TrainerError> {
    let llm = &model.config().llm;
    let (given, own) = (read_adapter_config(folder, llm)?, config_of(model)?);
    let differs = |key: &str, expected: String, found: String| {
        let (path, expected) = (folder.join(CONFIG), format!("{key} {expected}, as the model has"));
        Err(TrainerError::File { path, expected, found })
    };
    if given.rank != own.rank {
        return differs("r", own.rank.to_string(), given.rank.to_string());
    }
    if given.alpha != own.alpha {
        return differs("lora_alpha", own.alpha.to_string(), given.alpha.to_string());
    }
    let of_model = adapters_of(own, llm)?;
    for (map, found) in adapters_of(&given, llm)? {
        // The weights' names state which maps are adapted.
        if let Some(expected) = of_model.get(&map).filter(|expected| **expected != found) {
            let said = |rank: i64, factor: f64| format!("rank {rank} and factor {factor}");
            let key = format!("for {map}");
            return differs(&key, said(expected.rank, expected.factor), said(found.rank, found.factor));
        }
    }
    let safetensors = folder.join(WEIGHTS);
    let path = if safetensors.is_file() { safetensors } else { folder.join(OLD_WEIGHTS) };
    let tensors = WeightsFile::open(&path)?.tensors(model.device(), None)?;
    Ok(model.load_adapters(&tensors)?)
}

fn config_of(model: &Med2e3) -> Result<&LoraConfig, TrainerError> {
    let none = || ModelError::config("lora", "a model with adapters", "none");
    Ok(model.config().lora.as_ref().ok_or_else(none)?)
}

/// Most names of modules; the largest models have some hundreds of maps.
const MOST_NAMES: usize = 4096;
/// Most patterns with a rank or an alpha of their own.
const MOST_PATTERNS: usize = 1024;
/// Largest compiled pattern in bytes.
const PATTERN_BYTES: usize = 1 << 20;

fn compiled(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).size_limit(PATTERN_BYTES).build()
}

/// A configuration that is being read; known fields are removed.
struct Fields {
    path: PathBuf,
    fields: Map<String, Value>,
    patterns: Patterns,
}

/// Maps of which the first key that matches counts, in the file's order.
#[derive(Deserialize)]
struct Patterns {
    #[serde(default)]
    rank_pattern: Option<Pairs>,
    #[serde(default)]
    alpha_pattern: Option<Pairs>,
}

/// Which modules are meant: by the ends of their names, or by a pattern of the whole name.
enum Modules {
    Names(Vec<String>),
    Pattern(Regex),
}

impl Modules {
    fn has(&self, map: &str) -> bool {
        match self {
            Modules::Names(names) => names.iter().any(|name| LoraConfig::is_name_of(name, map)),
            Modules::Pattern(pattern) => pattern.is_match(map),
        }
    }
}

impl Fields {
    fn read(folder: &Path) -> Result<Fields, TrainerError> {
        let path = folder.join(CONFIG);
        let expected = "PEFT's configuration of adapters";
        let (fields, patterns) = (read_json(&path, expected)?, read_json(&path, expected)?);
        Ok(Fields { path, fields, patterns })
    }

    /// The adapters of a language model.
    fn adapters(mut self, llm: &LanguageModelConfig) -> Result<LoraConfig, TrainerError> {
        self.expect("peft_type", &[json!("LORA")])?;
        self.expect("task_type", &[json!("CAUSAL_LM"), Value::Null])?;
        self.expect("bias", &[json!("none"), Value::Null])?;
        // Other ways change the base weights before training, so that the adapters fit no published ones.
        self.expect("init_lora_weights", &[json!(true), json!(false), json!("gaussian"), Value::Null])?;
        let rank = self.take("r", "an integer", Value::as_i64)?;
        let alpha = self.take("lora_alpha", "a number", Value::as_f64)?;
        let has_dropout = self.fields.contains_key("lora_dropout");
        let dropout = if has_dropout { self.take("lora_dropout", "a number", Value::as_f64)? } else { 0.0 };
        let is_rslora = matches!(self.fields.remove("use_rslora"), Some(Value::Bool(true)));
        let scale = if is_rslora { LoraScale::RootOfRank } else { LoraScale::Rank };
        let maps = self.adapted_maps(llm)?;
        let tables = self.tables()?;
        self.fields.remove("rank_pattern");
        self.fields.remove("alpha_pattern");
        let Patterns { rank_pattern, alpha_pattern } = &self.patterns;
        let mut ranks = self.by_pattern("rank_pattern", rank_pattern.as_ref(), Value::as_i64, &maps, llm)?;
        let mut alphas = self.by_pattern("alpha_pattern", alpha_pattern.as_ref(), Value::as_f64, &maps, llm)?;
        for key in WITHOUT_EFFECT {
            self.fields.remove(key);
        }
        if let Some((key, value)) = self.fields.iter().find(|(_, value)| !is_off(value)) {
            return Err(self.error(key, "null, false or empty", Some(value)));
        }
        let targets = by_shortest_names(&maps.into_iter().map(|map| (map, ())).collect(), llm).into_keys().collect();
        ranks.retain(|_, found| *found != rank);
        alphas.retain(|_, found| *found != alpha);
        Ok(LoraConfig { rank, alpha, dropout, targets, scale, ranks, alphas, tables })
    }

    /// The paths of the maps that PEFT would adapt.
    fn adapted_maps(&mut self, llm: &LanguageModelConfig) -> Result<Vec<String>, TrainerError> {
        let key = "target_modules";
        let found = self.fields.remove(key);
        let is_all = found.as_ref().and_then(Value::as_str).is_some_and(|name| name.eq_ignore_ascii_case(ALL_LINEAR));
        let targets = if is_all { None } else { self.modules(key, found.as_ref())? };
        if targets.is_none() && !is_all {
            return Err(self.error(key, "a list of names, a pattern, or all-linear", found.as_ref()));
        }
        let excluded = self.fields.remove("exclude_modules");
        let excluded = self.modules("exclude_modules", excluded.as_ref())?;
        let layers = self.layers()?;
        let mut maps = maps(llm);
        maps.retain(|map| {
            targets.as_ref().is_none_or(|targets| targets.has(map))
                && !excluded.as_ref().is_some_and(|excluded| excluded.has(map))
                && layers.as_ref().is_none_or(|layers| layer_of(map).is_some_and(|layer| layers.contains(&layer)))
        });
        if maps.is_empty() {
            return Err(self.error(key, "maps of the language model's blocks", found.as_ref()));
        }
        Ok(maps)
    }

    /// A list of names, or a pattern; None where nothing is there.
    fn modules(&self, key: &str, found: Option<&Value>) -> Result<Option<Modules>, TrainerError> {
        let wrong = || self.error(key, "a list of names, or a pattern without look-around", found);
        match found {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Array(names)) if names.is_empty() => Ok(None),
            Some(Value::Array(names)) if names.len() > MOST_NAMES => {
                Err(self.error(key, &format!("at most {MOST_NAMES} names"), Some(&names.len().into())))
            }
            Some(Value::Array(names)) => {
                let names: Option<_> = names.iter().map(|name| name.as_str().map(str::to_owned)).collect();
                names.map(|names| Some(Modules::Names(names))).ok_or_else(wrong)
            }
            Some(Value::String(pattern)) => compiled(&format!("^(?:{pattern})$"))
                .map(|pattern| Some(Modules::Pattern(pattern)))
                .map_err(|_| wrong()),
            Some(_) => Err(wrong()),
        }
    }

    /// The blocks that are adapted; None where all are.
    fn layers(&mut self) -> Result<Option<Vec<i64>>, TrainerError> {
        let key = "layers_to_transform";
        let layers = match self.fields.remove(key) {
            None | Some(Value::Null) => None,
            Some(Value::Array(layers)) if layers.is_empty() => None,
            Some(found) => {
                let many = found.as_array().map_or_else(|| vec![found.clone()], Clone::clone);
                let layers: Option<Vec<i64>> = many.iter().map(Value::as_i64).collect();
                Some(layers.ok_or_else(|| self.error(key, "numbers of layers", Some(&found)))?)
            }
        };
        let pattern = self.fields.remove("layers_pattern");
        let names: Vec<&Value> =
            pattern.iter().flat_map(|value| value.as_array().map_or(vec![value], |v| v.iter().collect())).collect();
        let is_usual = names.iter().all(|name| name.is_null() || **name == "layers");
        if layers.is_some() && !is_usual {
            return Err(self.error("layers_pattern", "layers, as the blocks are named", pattern.as_ref()));
        }
        Ok(layers)
    }

    /// The tables that `modules_to_save` names.
    fn tables(&mut self) -> Result<Vec<Table>, TrainerError> {
        let found = self.fields.remove("modules_to_save").filter(|value| !is_off(value));
        let Some(found) = found else { return Ok(Vec::new()) };
        let table = |name: &Value| name.as_str().and_then(Table::of_module);
        let tables: Option<Vec<Table>> = found.as_array().and_then(|names| names.iter().map(table).collect());
        tables.ok_or_else(|| self.error("modules_to_save", "embed_tokens, lm_head or both", Some(&found)))
    }

    /// The value of each map that a pattern's key matches, the first one in the file's order.
    fn by_pattern<V: Copy + PartialEq>(
        &self,
        key: &str,
        pairs: Option<&Pairs>,
        number: fn(&Value) -> Option<V>,
        maps: &[String],
        llm: &LanguageModelConfig,
    ) -> Result<BTreeMap<String, V>, TrainerError> {
        let Some(Pairs(pairs)) = pairs else { return Ok(BTreeMap::new()) };
        if pairs.len() > MOST_PATTERNS {
            return Err(self.error(key, &format!("at most {MOST_PATTERNS} patterns"), Some(&pairs.len().into())));
        }
        let mut patterns = Vec::new();
        for (pattern, value) in pairs {
            let regex = compiled(&format!(r"^(?:.*\.)?(?:{pattern})$"));
            let wrong = |expected: &str| self.error(key, expected, Some(&json!({pattern: value})));
            let regex = regex.map_err(|_| wrong("patterns without look-around"))?;
            patterns.push((regex, number(value).ok_or_else(|| wrong("a number for each pattern"))?));
        }
        let value = |map: &String| patterns.iter().find(|(regex, _)| regex.is_match(map)).map(|(_, value)| *value);
        let values = maps.iter().filter_map(|map| Some((map.clone(), value(map)?))).collect();
        Ok(by_shortest_names(&values, llm))
    }

    /// Removes a field that must have one of some values; where null is among them, it may be absent.
    fn expect(&mut self, key: &str, allowed: &[Value]) -> Result<(), TrainerError> {
        let found = self.fields.remove(key);
        if allowed.contains(found.as_ref().unwrap_or(&Value::Null)) {
            return Ok(());
        }
        let allowed: Vec<String> = allowed.iter().map(Value::to_string).collect();
        Err(self.error(key, &allowed.join(" or "), found.as_ref()))
    }

    fn take<T>(&mut self, key: &str, expected: &str, value: impl Fn(&Value) -> Option<T>) -> Result<T, TrainerError> {
        let found = self.fields.remove(key);
        found.as_ref().and_then(value).ok_or_else(|| self.error(key, expected, found.as_ref()))
    }

    fn error(&self, key: &str, expected: &str, found: Option<&Value>) -> TrainerError {
        TrainerError::File {
            path: self.path.clone(),
            expected: format!("{key}: {expected}"),
            found: found.map_or("nothing".into(), |value| shown(value.to_string())),
        }
    }
}

/// The number of the block that a map's path names.
fn layer_of(map: &str) -> Option<i64> {
    map.split('.').find_map(|part| part.parse().ok())
}

/// The pairs of a JSON object in its order.
struct Pairs(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Pairs, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Vec<(String, Value)>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object of numbers by pattern")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                std::iter::from_fn(|| map.next_entry().transpose()).collect()
            }
        }
        from.deserialize_map(InOrder).map(Pairs)
    }
}

fn is_off(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(values) => values.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::String(_) | Value::Number(_) | Value::Bool(true) => false,
    }
}
