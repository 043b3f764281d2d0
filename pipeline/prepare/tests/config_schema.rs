//! The schemas that `config schema` prints, against the configurations of the repository: what parses is as the schema says, a wrong key
//! or value is not, and what the schema forbids is refused by the program too.

#[path = "../../../program/tests/schemas/mod.rs"]
#[allow(unreachable_pub, reason = "it is a part of two packages' tests")]
mod schemas;

use std::fs;

use med2e3_prepare::config::{PrepareConfig, SampleConfig};
use med2e3_schemas::config::parse;
use schemas::{configs, holds, schema, value, violation};

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
    let m3d = fs::read_to_string(configs().join("prepare/ct.toml")).unwrap();
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
    let text = fs::read_to_string(configs().join("prepare/ct.toml")).unwrap();
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
