//! What the schemas of both programs' configurations are held to; a part of their tests.

#[path = "../../../tests/src/json_schema.rs"]
mod json_schema;

use std::fs;
use std::path::{Path, PathBuf};

pub use json_schema::violation;
use med2e3_program::Configuration;
use med2e3_schemas::config::parse;
use schemars::{JsonSchema, schema_for};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The folder of all configurations, from any package of the workspace.
pub fn configs() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let found = package.map(|folder| folder.join("configs")).find(|folder| folder.is_dir());
    found.expect("the workspace has a folder of configurations")
}

/// Files below configs/ that are of this type.
fn files<T: DeserializeOwned>() -> Vec<(PathBuf, String)> {
    let mut open = vec![configs()];
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|ending| ending == "toml") {
                let text = fs::read_to_string(&path).unwrap();
                if parse::<T>("file", &text, &[]).is_ok() {
                    found.push((path, text));
                }
            }
        }
    }
    found
}

/// The schema that `config schema` prints of a configuration.
pub fn schema<T: JsonSchema>() -> Value {
    Configuration::new("verb", schema_for!(T).to_value()).schema
}

/// A configuration's text as JSON.
pub fn value(text: &str) -> Value {
    serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap()
}

/// Every key of a table, at any depth, as the path to it.
fn keys(value: &Value, at: &str, found: &mut Vec<String>) {
    for (key, inner) in value.as_object().into_iter().flatten() {
        let path = format!("{at}/{key}");
        keys(inner, &path, found);
        found.push(path);
    }
}

/// Fails unless every file of this type, `least` of them at least, is as its schema says, and no file with a wrong key or value
/// is by schema or program.
pub fn holds<T: DeserializeOwned + JsonSchema>(least: usize) {
    let (schema, files) = (schema::<T>(), files::<T>());
    assert!(files.len() >= least, "{} files", files.len());
    for (path, text) in files {
        let good = value(&text);
        assert_eq!(violation(&schema, &good), None, "{}", path.display());
        let mut all = Vec::new();
        keys(&good, "", &mut all);
        for key in &all {
            // A key that is spelled otherwise, and a value of another type: both sides refuse them.
            let (table, name) = key.rsplit_once('/').unwrap();
            let mut other = good.clone();
            let inner = other.pointer_mut(table).unwrap().as_object_mut().unwrap();
            let moved = inner.remove(name).unwrap();
            inner.insert(format!("{name}_x"), moved);
            let mut wrong = good.clone();
            *wrong.pointer_mut(key).unwrap() = Value::from(vec![Value::Bool(true)]);
            for bad in [other, wrong] {
                let parses = serde_json::from_value::<T>(bad.clone()).is_ok();
                let fits = violation(&schema, &bad).is_none();
                assert_eq!(parses, fits, "{}: {key}: {bad}", path.display());
                assert!(!fits, "{}: {key}", path.display());
            }
        }
    }
}
