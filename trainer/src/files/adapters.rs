//! Adapters as PEFT stores them: a folder with `adapter_config.json` and `adapter_model.safetensors`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use med2e3_store::FileError;
use serde_json::{Map, Value, json};
use tch::Tensor;

use super::json::{read_json, write_json};
use super::tensors::write_tensors;
use crate::TrainerError;
use crate::files::weights_file::WeightsFile;
use crate::model::lora::ALL_LINEAR;
use crate::model::{LoraConfig, Med2e3, ModelError};

/// Where PEFT stores the configuration.
pub(super) const CONFIG: &str = "adapter_config.json";
/// Where PEFT stores the weights.
pub(super) const WEIGHTS: &str = "adapter_model.safetensors";
/// Written by releases of PEFT before 0.7, by `torch.save`.
const OLD_WEIGHTS: &str = "adapter_model.bin";

/// Keys that state where adapters come from, or configure kinds of training that are off: nothing depends on them.
const WITHOUT_EFFECT: [&str; 8] = [
    "auto_mapping",
    "base_model_name_or_path",
    "inference_mode",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "layers_pattern",
];

/// The configuration that `adapter_config.json` states. Targets by a path, such as `model.layers.0.mlp.up_proj`, become the last
/// name: a file that adapts it in some blocks alone then lacks weights when it is loaded.
///
/// # Errors
/// No file, or one that asks for anything but plain LoRA of a causal language model. A key that is not known here must be
/// null, false or empty, so that a feature of another release of PEFT is never passed over.
pub fn read_adapter_config(folder: &Path) -> Result<LoraConfig, TrainerError> {
    let path = folder.join(CONFIG);
    let fields = read_json(&path, "PEFT's configuration of adapters")?;
    Fields { path, fields }.lora()
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
    let weights = model.adapters();
    // `a.b.q_proj.lora_A.weight`: as PEFT has it, every target by name.
    let names: BTreeSet<&str> = weights.iter().filter_map(|(name, _)| name.rsplit('.').nth(2)).collect();
    // PEFT takes the number for an integer, and shows it so.
    let alpha = if lora.alpha.fract() == 0.0 { json!(lora.alpha as i64) } else { json!(lora.alpha) };
    let config = json!({
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": null,
        "inference_mode": true,
        "r": lora.rank,
        "lora_alpha": alpha,
        "lora_dropout": lora.dropout,
        "target_modules": names,
        "bias": "none",
        "fan_in_fan_out": false,
        "init_lora_weights": true,
        "modules_to_save": null,
    });
    AdapterFiles { weights, config }
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

/// Gives a model that was built with the folder's configuration the folder's weights. Its dropout may differ: it acts in
/// training alone.
///
/// # Errors
/// The model has no adapters or other ones, a weight is missing, unexpected or misshapen: the model is then unchanged.
pub fn load_adapters(folder: &Path, model: &mut Med2e3) -> Result<(), TrainerError> {
    let (given, own) = (read_adapter_config(folder)?, config_of(model)?);
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
    // The weights' names state which maps are adapted.
    let safetensors = folder.join(WEIGHTS);
    let path = if safetensors.is_file() { safetensors } else { folder.join(OLD_WEIGHTS) };
    let tensors = WeightsFile::open(&path)?.tensors(model.device(), None)?;
    Ok(model.load_adapters(&tensors)?)
}

fn config_of(model: &Med2e3) -> Result<&LoraConfig, TrainerError> {
    let none = || ModelError::config("lora", "a model with adapters", "none");
    Ok(model.config().lora.as_ref().ok_or_else(none)?)
}

/// A configuration that is being read; known fields are removed.
struct Fields {
    path: PathBuf,
    fields: Map<String, Value>,
}

impl Fields {
    fn lora(mut self) -> Result<LoraConfig, TrainerError> {
        self.expect("peft_type", &[json!("LORA")])?;
        self.expect("task_type", &[json!("CAUSAL_LM")])?;
        self.expect("bias", &[json!("none"), Value::Null])?;
        // Other ways change the base weights before training, so that the adapters fit no published ones.
        self.expect("init_lora_weights", &[json!(true), json!(false), json!("gaussian"), Value::Null])?;
        let rank = self.take("r", "an integer", Value::as_i64)?;
        let alpha = self.take("lora_alpha", "a number", Value::as_f64)?;
        let has_dropout = self.fields.contains_key("lora_dropout");
        let dropout = if has_dropout { self.take("lora_dropout", "a number", Value::as_f64)? } else { 0.0 };
        let targets = self.take("target_modules", "a list of names, or all-linear", targets)?;
        for key in WITHOUT_EFFECT {
            self.fields.remove(key);
        }
        match self.fields.iter().find(|(_, value)| !is_off(value)) {
            Some((key, value)) => Err(self.error(key, "null, false or empty", Some(value))),
            None => Ok(LoraConfig { rank, alpha, dropout, targets }),
        }
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
            found: found.map_or("nothing".into(), Value::to_string),
        }
    }
}

/// Last names, each once and sorted, or all-linear alone. None for a pattern, and for anything but names.
fn targets(value: &Value) -> Option<Vec<String>> {
    if value == ALL_LINEAR {
        return Some(vec![ALL_LINEAR.to_owned()]);
    }
    let last = |name: &Value| Some(name.as_str()?.rsplit('.').next()?.to_owned());
    let names: BTreeSet<String> = value.as_array()?.iter().map(last).collect::<Option<_>>()?;
    (!names.is_empty()).then(|| names.into_iter().collect())
}

fn is_off(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(values) => values.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::String(_) | Value::Number(_) | Value::Bool(true) => false,
    }
}
