//! The schemas that `config schema` prints, against the configurations of the repository: what parses is as the schema says, a wrong key
//! or value is not, and what the schema forbids is refused by the program too.

#[path = "../../program/tests/schemas/mod.rs"]
#[allow(unreachable_pub, reason = "it is a part of two packages' tests")]
mod schemas;

use std::fs;

use med2e3_schemas::config::parse;
use med2e3_trainer::config::{
    AblateConfig, EvaluateConfig, ExplainConfig, RetrieveConfig, TrainClipConfig, TrainConfig,
};
use med2e3_trainer::train::{Existing, Observed};
use schemas::{configs, holds, schema, value, violation};

#[test]
fn every_file_is_as_its_schema_says_and_no_wrong_one() {
    holds::<TrainConfig>(8);
    holds::<TrainClipConfig>(1);
    holds::<EvaluateConfig>(1);
    holds::<AblateConfig>(3);
    holds::<ExplainConfig>(1);
    holds::<RetrieveConfig>(1);
}

#[test]
fn every_word_of_a_form_and_a_tail_is_read() {
    let schema = schema::<TrainConfig>();
    let path = configs().join("demo/finetune.toml");
    let text = fs::read_to_string(path).unwrap();
    for (key, count) in [("form", 3), ("tail", 3)] {
        let words = schema.pointer(&format!("/$defs/DataConfig/properties/{key}/oneOf")).unwrap().as_array().unwrap();
        assert_eq!(words.len(), count);
        for word in words {
            let word = word["const"].as_str().unwrap();
            parse::<TrainConfig>("finetune", &text, &[format!("data.{key}={word}")]).unwrap();
        }
    }
}

#[test]
fn a_preset_and_adapters_are_in_the_schema() {
    let schema = schema::<TrainConfig>();
    let path = configs().join("demo/pretrain.toml");
    let text = fs::read_to_string(path).unwrap();
    let start = text.find("[model.start.fresh.variant]").unwrap();
    let end = text.find("[step]").unwrap();
    let preset =
        text[..start].replace("initializer = \"fan_in\"", "initializer = { normal = 0.02 }\nvariant = \"paper\"");
    let preset = preset + &text[end..];
    parse::<TrainConfig>("preset", &preset, &[]).unwrap();
    assert_eq!(violation(&schema, &value(&preset)), None);
    let lora = "[model.lora]\nrank = 8\nalpha = 16\ndropout = 0.0\ntargets = [\"all-linear\"]\nscale = \"root_of_rank\"\nranks = { q_proj = 4 }\n";
    let lora = text.clone() + lora;
    parse::<TrainConfig>("lora", &lora, &[]).unwrap();
    assert_eq!(violation(&schema, &value(&lora)), None);
    let wrong = text.replace("scorer = \"text_guided\"", "scorer = \"text_guide\"");
    assert!(violation(&schema, &value(&wrong)).unwrap().contains("variant"));
}

#[test]
fn what_learns_is_in_the_schema_as_a_list_and_as_a_table() {
    let schema = schema::<TrainConfig>();
    let text = fs::read_to_string(configs().join("train/m3d-lamed.toml")).unwrap();
    let own = "llm.head = { how = \"full\", learning_rate = 1e-5, weight_decay = 0.1 }";
    for changed in [
        text.replace("llm.head = \"full\"", own),
        text.replace("llm.blocks = \"lora\"\nllm.embeddings = \"full\"\nllm.head = \"full\"", "llm = \"lora\""),
    ] {
        assert_ne!(changed, text);
        parse::<TrainConfig>("m3d-lamed", &changed, &[]).unwrap();
        assert_eq!(violation(&schema, &value(&changed)), None);
    }
    for (from, to) in [
        ("llm.head = \"full\"", "llm.head = \"whole\""),
        ("llm.head = \"full\"", "llm.heads = \"full\""),
        ("vision3d_model = \"full\"", "vision3d_model = { how = \"full\", rate = 1.0 }"),
    ] {
        let wrong = text.replace(from, to);
        parse::<TrainConfig>("m3d-lamed", &wrong, &[]).unwrap_err();
        assert!(violation(&schema, &value(&wrong)).unwrap().contains("train"), "{to}");
    }
}

#[test]
fn numbers_out_of_the_range_are_refused_by_both() {
    let schema = schema::<TrainConfig>();
    let path = configs().join("demo/pretrain.toml");
    let text = fs::read_to_string(path).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (key, bad) in [
        ("optimizer.warmup_ratio", "1.5"),
        ("optimizer.learning_rate", "-1.0"),
        ("step.batch", "0"),
        ("data.depth", "0"),
        ("model.start.fresh.llm.hidden_size", "0"),
        ("model.start.fresh.vision2d.image_size", "4096"),
        ("model.start.fresh.vision3d.in_channels", "17"),
    ] {
        let config: TrainConfig = parse("pretrain", &text, &[format!("{key}={bad}")]).unwrap();
        let refused =
            med2e3_trainer::train::train(&config, &folder.path().join("run"), Existing::Refuse, &Observed::default());
        let error = refused.err().unwrap().to_string();
        assert!(error.contains(key.rsplit('.').next().unwrap()), "{key}: {error}");
        let found = violation(&schema, &value(&toml::to_string(&config).unwrap())).unwrap_or_default();
        assert!(found.contains(key.rsplit('.').next().unwrap()), "{key}: {found}");
    }
}
