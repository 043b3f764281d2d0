//! BERTScore against bert_score itself, and models that are none; `tests/golden/bertscore.py` made the models and the values.

use super::*;
use std::fs;
use std::path::PathBuf;

use serde::Deserialize;
use tempfile::TempDir;

#[derive(Deserialize)]
struct Golden {
    pairs: Vec<(String, String)>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    model: String,
    layer: usize,
    baseline: Option<[f64; 3]>,
    values: Vec<[f64; 3]>,
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn config(model: PathBuf, layer: usize) -> BertScoreConfig {
    BertScoreConfig { model, layer: Some(layer), rescale: None }
}

fn open(config: &BertScoreConfig) -> Result<BertScore, TrainerError> {
    BertScore::open(config, Device::Cpu)
}

/// What is refused, with its causes.
fn refused(config: &BertScoreConfig) -> String {
    let error = anyhow::Error::from(open(config).err().expect("an error"));
    format!("{error:#}")
}

/// A copy of a model that may be changed.
fn copy(name: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(golden(name)).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    folder
}

/// Changes a value of a model's JSON file.
fn change(folder: &Path, file: &str, change: impl Fn(&mut Value)) {
    let mut value: Value = read_json(&folder.join(file), "JSON").unwrap();
    change(&mut value);
    fs::write(folder.join(file), value.to_string()).unwrap();
}

fn numbers(score: &Prf) -> [f64; 3] {
    [score.precision, score.recall, score.f1]
}

#[test]
fn scores_are_those_of_bert_score() {
    let golden_values: Golden = read_json(&golden("bertscore.json"), "JSON").unwrap();
    let pairs: Vec<(&str, &str)> =
        golden_values.pairs.iter().map(|(one, other)| (one.as_str(), other.as_str())).collect();
    for case in &golden_values.cases {
        let rescale =
            case.baseline.map(|[precision, recall, f1]| Baseline::Stated(StatedBaseline { precision, recall, f1 }));
        let bert_score = open(&BertScoreConfig { rescale, ..config(golden(&case.model), case.layer) }).unwrap();
        let found = bert_score.scores(&pairs).unwrap();
        assert_eq!((found.rows.len(), found.empty), (case.values.len(), 3));
        for ((pair, score), expected) in pairs.iter().zip(&found.rows).zip(&case.values) {
            let differs = numbers(score).iter().zip(expected).any(|(found, expected)| (found - expected).abs() > 1e-5);
            assert!(!differs, "{} layer {}: {pair:?}: {score:?}, not {expected:?}", case.model, case.layer);
        }
        assert!(found.cut > 0);
    }
}

#[test]
fn a_score_depends_on_its_pair_alone() {
    let bert_score = open(&config(golden("roberta_tiny"), 2)).unwrap();
    let texts: Vec<String> =
        (0..70).map(|number| "The liver is large. ".repeat(number % 13) + &number.to_string()).collect();
    let pair = |at: usize| (texts[at * 7 % 70].as_str(), texts[at * 3 % 31].as_str());
    let pairs: Vec<(&str, &str)> = (0..2500).map(pair).collect();
    let together = bert_score.scores(&pairs).unwrap().rows;
    for at in [0, 1, 40, 2499] {
        let alone = bert_score.scores(&pairs[at..=at]).unwrap().rows[0];
        let same = numbers(&together[at]).iter().zip(numbers(&alone)).all(|(one, other)| (one - other).abs() < 1e-5);
        assert!(same, "{:?} and {alone:?}", together[at]);
    }
    assert_eq!(bert_score.scores(&[]).unwrap(), BertScores { rows: vec![], empty: 0, cut: 0 });
    let bert = open(&config(golden("bert_tiny"), 1)).unwrap();
    let marks = bert.scores(&[("[SEP]", "The liver")]).unwrap();
    assert_eq!((marks.rows[0], marks.empty), (Prf::default(), 1));
}

#[test]
fn the_tokenizer_in_one_file_is_that_in_two() {
    let folder = copy("roberta_tiny");
    let two = open(&config(folder.path().into(), 2)).unwrap();
    let identity = EncoderTokenizer::load(folder.path()).unwrap().identity().unwrap();
    fs::write(folder.path().join("tokenizer.json"), identity).unwrap();
    for name in ["vocab.json", "merges.txt"] {
        fs::remove_file(folder.path().join(name)).unwrap();
    }
    let one = open(&config(folder.path().into(), 2)).unwrap();
    assert_eq!(one.identity(), two.identity());
    assert!(one.identity().starts_with("bert_score 0.3.13, roberta ") && one.identity().ends_with(", layer 2 of 3"));
    let pairs = [("It's a mass; the liver", "a <mask> of 3 mm")];
    assert_eq!(one.scores(&pairs).unwrap(), two.scores(&pairs).unwrap());
    // Other weights have another hash.
    let weights = fs::read(folder.path().join("model.safetensors")).unwrap();
    let changed: Vec<u8> = weights[..weights.len() - 1].iter().copied().chain([0x3f]).collect();
    fs::write(folder.path().join("model.safetensors"), changed).unwrap();
    assert_ne!(open(&config(folder.path().into(), 2)).unwrap().identity(), two.identity());
}

#[test]
fn what_is_no_model_is_refused_by_file_and_key() {
    let says = |config: &BertScoreConfig, words: &[&str]| {
        let said = refused(config);
        assert!(words.iter().all(|word| said.contains(word)), "{words:?}: {said}");
    };
    says(&config("nowhere".into(), 2), &["bert_score.model", "nothing at nowhere"]);
    for (file, words) in [
        ("config.json", "config.json"),
        ("model.safetensors", "one of model.safetensors"),
        ("merges.txt", "merges.txt"),
        ("vocab.json", "tokenizer.json, or vocab.json and merges.txt"),
    ] {
        let folder = copy("roberta_tiny");
        fs::remove_file(folder.path().join(file)).unwrap();
        says(&config(folder.path().into(), 2), &[words]);
    }
    for (key, value, words) in [
        ("model_type", Value::from("deberta-v2"), "model_type: expected bert or roberta, found deberta-v2"),
        ("hidden_act", "gelu_new".into(), "hidden_act: expected gelu, found gelu_new"),
        ("position_embedding_type", "relative_key".into(), "position_embedding_type: expected absolute"),
        ("hidden_size", "24".into(), "hidden_size: expected a whole number, found \"24\""),
        ("hidden_size", 48.into(), "expected shape"),
        ("num_attention_heads", 5.into(), "hidden_size: expected a positive multiple of 5, found 24"),
        ("num_attention_heads", 0.into(), "num_attention_heads"),
        ("layer_norm_eps", 0.into(), "layer_norm_eps"),
        ("pad_token_id", 90.into(), "first_position: expected 0 to below 66"),
        ("pad_token_id", i64::MAX.into(), "first_position"),
        ("vocab_size", Value::Null, "vocab_size: expected a whole number, found null"),
    ] {
        let folder = copy("roberta_tiny");
        change(folder.path(), "config.json", |sizes| sizes[key] = value.clone());
        let file = if words == "expected shape" { "model.safetensors" } else { "config.json" };
        says(&config(folder.path().into(), 2), &[file, words]);
    }
    let folder = copy("roberta_tiny");
    change(folder.path(), "vocab.json", |entries| entries["another"] = 420.into());
    says(&config(folder.path().into(), 2), &["a tokenizer of 4", "ids, as config.json states", "found 421"]);
    change(folder.path(), "vocab.json", |entries| drop(entries.as_object_mut().unwrap().remove("</s>")));
    says(&config(folder.path().into(), 2), &["vocab.json", "none of </s>"]);
    let folder = copy("roberta_tiny");
    change(folder.path(), "tokenizer_config.json", |settings| settings["model_max_length"] = 2.into());
    says(&config(folder.path().into(), 2), &["tokenizer_config.json", "model_max_length of 3 or more, found 2"]);
}

#[test]
fn a_layer_and_a_baseline_are_those_of_the_model() {
    let of = |layer, rescale| BertScoreConfig { model: golden("roberta_tiny"), layer, rescale };
    assert!(refused(&of(None, None)).starts_with("bert_score.layer: expected a layer, 0 to 3"));
    assert!(refused(&of(Some(4), None)).starts_with("bert_score.layer: expected 0 to 3"));
    let known = Some(Baseline::Known(KnownBaseline::RobertaLarge));
    assert!(refused(&of(Some(2), known)).starts_with("bert_score.rescale: expected { precision, recall, f1 }"));
    let stated = Some(Baseline::Stated(StatedBaseline { precision: 0.5, recall: 1.0, f1: 0.5 }));
    assert!(refused(&of(Some(2), stated)).starts_with("bert_score.rescale.recall: expected a number below 1"));

    let large = BertConfig { num_hidden_layers: 24, ..BertConfig::base_uncased() };
    assert_eq!(layer(None, TextArchitecture::Roberta, &large).unwrap(), 17);
    assert!(layer(None, TextArchitecture::Bert, &large).is_err());
    let found = baseline(known, TextArchitecture::Roberta, 17, &large).unwrap();
    assert_eq!(found, Some(BASELINE_OF_LARGE));
    assert!(baseline(known, TextArchitecture::Roberta, 16, &large).is_err());
}

#[test]
fn weights_that_are_not_numbers_give_no_score() {
    let folder = copy("bert_tiny");
    let path = folder.path().join("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let header = 8 + u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    bytes[header..].chunks_exact_mut(4).for_each(|value| value.copy_from_slice(&f32::NAN.to_le_bytes()));
    fs::write(&path, bytes).unwrap();
    let bert_score = open(&config(folder.path().into(), 1)).unwrap();
    let said = bert_score.scores(&[("The liver", "The spleen")]).unwrap_err().to_string();
    assert!(said.starts_with("bert_score.model: expected an encoder whose vectors are numbers"), "{said}");
}
