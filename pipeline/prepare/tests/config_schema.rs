//! The schemas that `config schema` prints, against the configurations of the repository: what parses is as the schema says, a wrong key
//! or value is not, and what the schema forbids is refused by the program too.

#[path = "../../../tests/src/json_schema.rs"]
#[allow(unreachable_pub, reason = "it is public in the tests' own crate")]
mod json_schema;

use std::fs;
use std::path::{Path, PathBuf};

use json_schema::violation;
use med2e3_prepare::config::{PrepareConfig, SampleConfig};
use med2e3_program::Configuration;
use med2e3_schemas::config::parse;
use schemars::{JsonSchema, schema_for};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Files below configs/ that are of this type.
fn files<T: DeserializeOwned>() -> Vec<(PathBuf, String)> {
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs")];
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

fn schema<T: JsonSchema>() -> Value {
    Configuration::new("verb", schema_for!(T).to_value()).schema
}

fn value(text: &str) -> Value {
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

fn holds<T: DeserializeOwned + JsonSchema>(least: usize) {
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

#[test]
fn every_file_is_as_its_schema_says_and_no_wrong_one() {
    holds::<PrepareConfig>(3);
    holds::<SampleConfig>(2);
}

#[test]
fn other_words_and_forms_that_are_read_are_in_the_schema() {
    let sample = "name = \"a\"\nseed = 1\nsplit = \"val\"\ngroup_by = \"case\"\ncounts = []\n";
    parse::<SampleConfig>("sample", sample, &[]).unwrap();
    assert_eq!(violation(&schema::<SampleConfig>(), &value(sample)), None);
    let m3d = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/prepare/ct.toml")).unwrap();
    let schema = schema::<PrepareConfig>();
    for intensity in [
        "\"none\"",
        "{ window = \"lung\" }",
        "{ window = { center = 40, width = 400 } }",
        "{ percentile = { low = 0.5, high = 99.5 } }",
    ] {
        for crop in ["\"none\"", "{ above_hu = -300 }"] {
            let text = m3d.replace("{ window = \"wide\" }", intensity).replace("\"foreground\"", crop);
            parse::<PrepareConfig>("ct", &text, &[]).unwrap();
            assert_eq!(violation(&schema, &value(&text)), None, "{intensity} {crop}");
        }
    }
}

#[test]
fn numbers_out_of_the_range_are_refused_by_both() {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/prepare/ct.toml")).unwrap();
    let schema = schema::<PrepareConfig>();
    let root = format!("root={:?}", folder.path().display().to_string());
    for (key, bad) in [
        ("engine.volumes_per_range", "0"),
        ("engine.texts_per_range", "16777217"),
        ("text.length", "0"),
        ("volume.max_decoded_mib", "0"),
        ("limits.reject_percent", "101"),
        ("manifest.limits.field_kib", "4097"),
        ("text.tokenizer.train", "1048577"),
    ] {
        let sets = [root.clone(), format!("{key}={bad}")];
        let config: PrepareConfig = parse("ct", &text, &sets).unwrap();
        let error = config.check().unwrap_err().to_string();
        assert!(error.starts_with(key), "{error}");
        let found = violation(&schema, &value(&toml::to_string(&config).unwrap())).unwrap_or_default();
        assert!(found.contains(key), "{key}: {found}");
    }
}
