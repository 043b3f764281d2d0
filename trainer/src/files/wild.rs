//! No number in a model's files panics or costs memory: each one in turn is replaced by those that overflow, divide by zero or are
//! none, and opening the model then ends in a model or in one message that names the key.

use std::fs;
use std::path::Path;

use safetensors::SafeTensors;
use serde_json::{Value as Json, json};
use tch::{Device, Kind};
use toml::Value as Toml;

use super::checkpoint::{Contents, Tokenizers, snapshot};
use super::model_files::{ModelFiles, ModelPaths};
use super::names::CONFIG;
use crate::TrainerError;
use crate::model::{LoraConfig, Med2e3, Med2e3Config, Preset};
use med2e3_program::with_causes;

const WHOLE: [i64; 8] = [0, -1, 1, 1 << 31, 1 << 32, 1 << 40, i64::MAX, i64::MIN];
const FLOATS: [f64; 9] =
    [0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, 1e-320, f64::MIN_POSITIVE, 1e300];

/// A small model with adapters, as a checkpoint's folder.
fn write_model(folder: &Path) {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/med2e3.safetensors");
    let bytes = fs::read(golden).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let config: Med2e3Config = serde_json::from_str(&header.metadata().as_ref().unwrap()["config"]).unwrap();
    let mut model = Med2e3::new(&config, Device::Cpu, 1).unwrap();
    let lora = LoraConfig::plain(2, 4.0, 0.1, vec!["all-linear".into()]);
    model.add_adapters(&lora, 1).unwrap();
    let contents = Contents { model: &model, tokenizers: Tokenizers::default(), inputs: None, training: None };
    snapshot(&contents).unwrap().write(folder).unwrap();
}

/// Loads the model, which may fail in one message of moderate length that names the key, or a weight of another shape.
fn expect_words(key: &str, what: &str, open: impl Fn() -> Result<ModelFiles, TrainerError>) -> bool {
    let Err(error) = open().and_then(|files| files.load(Device::Cpu, Kind::Float)) else { return true };
    let message = with_causes(&error);
    // Numbers that may stand by themselves may not fit other ones, or the weights.
    let others =
        ["weight", "slices over pooled depth", "the volume's slice", "variant.connector", "adapter_config.json"];
    let is_named = message.contains(key) || others.iter().any(|other| message.contains(other));
    assert!(is_named && message.len() < 1000, "{key} = {what}: {message}");
    false
}

/// Every number of a value by its path.
fn numbers_of_toml(value: &Toml, path: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    let children: Vec<(String, &Toml)> = match value {
        Toml::Table(table) => table.iter().map(|(key, value)| (key.clone(), value)).collect(),
        Toml::Array(list) => list.iter().enumerate().map(|(n, value)| (n.to_string(), value)).collect(),
        Toml::Integer(_) | Toml::Float(_) => return found.push(path.clone()),
        _ => return,
    };
    for (key, value) in children {
        path.push(key);
        numbers_of_toml(value, path, found);
        path.pop();
    }
}

fn slot<'t>(value: &'t mut Toml, path: &[String]) -> &'t mut Toml {
    path.iter().fold(value, |value, key| match value {
        Toml::Array(list) => &mut list[key.parse::<usize>().unwrap()],
        value => &mut value[key.as_str()],
    })
}

/// The last name of a path that is no index.
fn key_of(path: &[String]) -> &str {
    path.iter().rev().find(|key| key.parse::<usize>().is_err()).unwrap()
}

#[test]
fn no_number_of_a_checkpoint_panics() {
    let run = tempfile::tempdir().unwrap();
    let folder = run.path().join("step-1");
    write_model(&folder);
    let text = fs::read_to_string(folder.join(CONFIG)).unwrap();
    let mut base: Toml = Toml::Table(text.parse().unwrap());
    let rope = "[scaling]\nrope_type = \"llama3\"\nfactor = 8.0\nlow_freq_factor = 1.0\nhigh_freq_factor = 4.0\n";
    base["llm"]
        .as_table_mut()
        .unwrap()
        .insert("rope_scaling".into(), rope.parse::<toml::Table>().unwrap().remove("scaling").unwrap());
    base["llm"].as_table_mut().unwrap().insert("original_max_position_embeddings".into(), Toml::Integer(16));
    let mut paths = Vec::new();
    numbers_of_toml(&base, &mut Vec::new(), &mut paths);
    assert!(paths.len() > 30, "{}", paths.len());
    let open = |changed: &Toml| {
        fs::write(folder.join(CONFIG), toml::to_string(changed).unwrap()).unwrap();
        ModelFiles::open(&folder, None)
    };
    assert!(expect_words("none", "as it is", || open(&base)));
    let mut refused = 0;
    for path in &paths {
        let is_float = slot(&mut base.clone(), path).is_float();
        let whole = WHOLE.map(Toml::Integer);
        let floats = FLOATS.map(Toml::Float);
        for value in if is_float { &floats[..] } else { &whole[..] } {
            let mut changed = base.clone();
            *slot(&mut changed, path) = value.clone();
            refused += usize::from(!expect_words(key_of(path), &value.to_string(), || open(&changed)));
        }
    }
    assert!(refused > 3 * paths.len(), "{refused} of {} numbers", paths.len());
}

fn numbers_of_json(value: &Json, pointer: &str, found: &mut Vec<String>) {
    match value {
        Json::Number(_) => found.push(pointer.to_owned()),
        Json::Array(list) => {
            list.iter().enumerate().for_each(|(n, value)| numbers_of_json(value, &format!("{pointer}/{n}"), found));
        }
        Json::Object(map) => {
            map.iter().for_each(|(key, value)| numbers_of_json(value, &format!("{pointer}/{key}"), found));
        }
        _ => {}
    }
}

#[test]
fn no_number_of_published_files_panics() {
    let run = tempfile::tempdir().unwrap();
    let folder = run.path().join("step-1");
    write_model(&folder);
    fs::remove_file(folder.join(CONFIG)).unwrap();
    let open = || ModelFiles::gather(&ModelPaths::of_folder(&folder), Some(Preset::Paper));
    let (mut tried, mut refused) = (0, 0);
    for name in
        ["llm/config.json", "vision2d_model/config.json", "vision3d_model/config.json", "adapters/adapter_config.json"]
    {
        let path = folder.join(name);
        let text = fs::read_to_string(&path).unwrap();
        let base: Json = serde_json::from_str(&text).unwrap();
        let mut pointers = Vec::new();
        numbers_of_json(&base, "", &mut pointers);
        assert!(pointers.len() > 2, "{name}");
        for pointer in pointers {
            let floats = [1e308, -1e308, 1e-320, 0.5].map(|value| json!(value));
            let others = [json!("1"), json!([]), json!(u64::MAX), Json::String("x".repeat(100_000))];
            for value in WHOLE.map(|value| json!(value)).into_iter().chain(floats).chain(others) {
                let mut changed = base.clone();
                *changed.pointer_mut(&pointer).unwrap() = value.clone();
                fs::write(&path, changed.to_string()).unwrap();
                let key = pointer.split('/').rev().find(|key| key.parse::<usize>().is_err()).unwrap();
                // Adapters are named as PEFT does, and their ranges as this program does.
                let key = if name.starts_with("adapters/") { "lora" } else { key };
                let shown: String = value.to_string().chars().take(40).collect();
                refused += usize::from(!expect_words(key, &shown, open));
                tried += 1;
            }
        }
        fs::write(&path, text).unwrap();
    }
    assert!(refused > tried / 3, "{refused} of {tried}");
    // A file that is larger than any of its kind is not held.
    fs::write(folder.join("llm/config.json"), format!("[{}0]", "0,".repeat(5 << 20))).unwrap();
    assert!(with_causes(&open().err().unwrap()).contains("expected 8388608 bytes or fewer"));
}
