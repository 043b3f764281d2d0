//! Adapters against PEFT: computing with them, their gradients, merging, PEFT's folder in and out. Expected numbers:
//! `golden/lora.py`, `golden/lora_tables.py`.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use med2e3_trainer::TrainerError;
use med2e3_trainer::files::adapters::{load_adapters, read_adapter_config, save_adapters};
use med2e3_trainer::model::piece::{How, Piece, Tuning, Tunings};
use med2e3_trainer::model::weights::Table;
use med2e3_trainer::model::{LanguageModelConfig, LoraConfig, Med2e3, Med2e3Config, ModelError, Part};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor, no_grad};
use tempfile::TempDir;

use crate::golden_file::{Golden, assert_close, mean_loss, small};

/// Name, adapted model, its config, maps that are adapted.
const CASES: [(&str, &str, &str, &[&str]); 4] = [
    ("phi3", "phi3", "plain", &["down_proj", "gate_up_proj", "o_proj", "qkv_proj"]),
    ("phi3_attention", "phi3", "plain", &["o_proj", "qkv_proj"]),
    ("llama", "llama", "llama", &["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]),
    ("llama_query_value", "llama", "llama", &["q_proj", "v_proj"]),
];

/// A folder as PEFT wrote it.
fn folder(golden: &Golden, case: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_config(folder.path(), &golden.config(case));
    let adapters = golden.below(&format!("{case}.adapters/"));
    Tensor::write_safetensors(&adapters, folder.path().join("adapter_model.safetensors")).unwrap();
    folder
}

fn write_config(folder: &Path, config: &Value) {
    fs::write(folder.join("adapter_config.json"), config.to_string()).unwrap();
}

/// A tiny language model with its published weights; adapters, where the config has some, are fresh.
fn base(weights: &str, config: &str, lora: Option<LoraConfig>) -> Result<Med2e3, ModelError> {
    let golden = Golden::open("language_models");
    let llm = LanguageModelConfig::from_published(&golden.config::<Value>(config)).unwrap();
    let mut model = Med2e3::new(&Med2e3Config { llm, lora, ..small() }, Device::Cpu, 3)?;
    model.load_tensors(Part::Llm, &golden.below(&format!("{weights}.weights/"))).unwrap();
    Ok(model)
}

fn phi3(lora: LoraConfig) -> Result<Med2e3, ModelError> {
    base("phi3", "plain", Some(lora))
}

fn lora(targets: &[&str]) -> LoraConfig {
    LoraConfig::plain(4, 8.0, 0.0, targets.iter().map(|name| name.to_string()).collect())
}

/// What a folder states for one of the tiny language models.
fn read(folder: &Path, config: &str) -> Result<LoraConfig, TrainerError> {
    let published: Value = Golden::open("language_models").config(config);
    read_adapter_config(folder, &LanguageModelConfig::from_published(&published).unwrap())
}

/// The tiny Phi-3 with all of PEFT's adapters.
fn adapted(golden: &Golden) -> Med2e3 {
    let folder = folder(golden, "phi3");
    let mut model = phi3(read(folder.path(), "plain").unwrap()).unwrap();
    load_adapters(folder.path(), &mut model).unwrap();
    model
}

fn hidden(model: &Med2e3, ids: &Tensor, train: bool) -> Tensor {
    let llm = model.llm();
    llm.forward(&llm.embed(ids), &[ids.size()[1] as usize], train.then_some(1)).unwrap()
}

fn logits(model: &Med2e3, ids: &Tensor, train: bool) -> Tensor {
    no_grad(|| model.llm().logits(&hidden(model, ids, train)))
}

#[test]
fn adapters_equal_pefts_in_logits_loss_gradients_and_after_merging() {
    let golden = Golden::open("lora");
    let ids = golden.get("ids");
    for (case, weights, config, targets) in CASES {
        let folder = folder(&golden, case);
        let lora = read(folder.path(), config).unwrap();
        assert_eq!(lora.targets, targets, "{case}");
        let mut model = base(weights, config, Some(lora)).unwrap();
        load_adapters(folder.path(), &mut model).unwrap();
        assert_close(
            &format!("{case} logits"),
            &logits(&model, &ids, false),
            &golden.get(&format!("{case}.logits")),
            1e-5,
        );

        model.set_trainable(&[Part::Llm]);
        let norms: HashMap<String, Tensor> = golden.below(&format!("{case}.norms/")).into_iter().collect();
        let (trainable, length) = (model.trainable(), ids.size()[1]);
        assert_eq!(trainable.len(), norms.len(), "{case}: adapters are trained, and nothing else");
        let positions: Vec<i64> = (0..length - 1).collect();
        let next = Vec::<i64>::try_from(ids.narrow(1, 1, length - 1).flatten(0, 1)).unwrap();
        let loss = mean_loss(model.llm().output_embedding(), &hidden(&model, &ids, true), &positions, &next);
        assert_close(&format!("{case} loss"), &loss, &golden.get(&format!("{case}.loss")), 1e-5);
        loss.backward();
        let mut worst = 0.0f64;
        for (name, param) in trainable {
            let expected = norms[name.strip_prefix("adapters/").unwrap()].double_value(&[]);
            let off = (param.grad().norm().double_value(&[]) - expected).abs() / expected;
            assert!(off <= 1e-4, "{case} {name}: {off}");
            worst = worst.max(off);
        }
        assert!(model.parameters(Part::Llm).iter().all(|(_, param)| !param.grad().defined()));

        let difference = model.merge_adapters(1e-5).unwrap();
        // Two orders of summation never agree to the last bit everywhere: something was compared.
        assert!(difference > 0.0);
        println!("{case}: gradient norms within {worst:.2e}, merging within {difference:.2e}");
        assert!(model.adapters().is_empty() && model.config().lora.is_none());
        assert_close(
            &format!("{case} merged"),
            &logits(&model, &ids, false),
            &golden.get(&format!("{case}.merged")),
            1e-5,
        );
        assert_eq!(model.merge_adapters(0.0).unwrap(), 0.0);
    }
}

/// Expected numbers: `golden/lora_tables.py`.
#[test]
fn tables_that_learn_beside_adapters_equal_pefts() {
    let golden = Golden::open("lora_tables");
    let ids = golden.get("ids");
    for (case, tables) in [("both", &[Table::Embeddings, Table::Head][..]), ("head", &[Table::Head])] {
        let folder = folder(&golden, case);
        let lora = read(folder.path(), "plain").unwrap();
        assert_eq!(lora.tables, tables, "{case}");
        let mut model = phi3(lora).unwrap();
        load_adapters(folder.path(), &mut model).unwrap();
        let found = logits(&model, &ids, false);
        assert_close(&format!("{case} logits"), &found, &golden.get(&format!("{case}.logits")), 1e-5);

        let mut tunings = Tunings::default();
        tunings.set(Piece::LlmBlocks, Tuning::of(How::Lora));
        for (table, piece) in [(Table::Embeddings, Piece::LlmEmbeddings), (Table::Head, Piece::LlmHead)] {
            let how = if tables.contains(&table) { How::Full } else { How::Frozen };
            tunings.set(piece, Tuning { how, learning_rate: Some(1e-5), weight_decay: None });
        }
        model.tune(&tunings);
        let norms: HashMap<String, Tensor> = golden.below(&format!("{case}.norms/")).into_iter().collect();
        let trained = model.trained(&tunings);
        assert_eq!(trained.len(), norms.len(), "{case}");
        let length = ids.size()[1];
        let positions: Vec<i64> = (0..length - 1).collect();
        let next = Vec::<i64>::try_from(ids.narrow(1, 1, length - 1).flatten(0, 1)).unwrap();
        let loss = mean_loss(model.llm().output_embedding(), &hidden(&model, &ids, true), &positions, &next);
        assert_close(&format!("{case} loss"), &loss, &golden.get(&format!("{case}.loss")), 1e-5);
        loss.backward();
        for (name, tensor, Tuning { learning_rate, .. }) in trained {
            let (peft, is_table) = match (name.strip_prefix("adapters/"), name.strip_prefix("llm/")) {
                (Some(adapter), _) => (adapter.to_owned(), false),
                (None, table) => (format!("base_model.model.{}", table.unwrap()), true),
            };
            assert_eq!(learning_rate.is_some(), is_table, "{name}");
            let expected = norms[&peft].double_value(&[]);
            let off = (tensor.grad().norm().double_value(&[]) - expected).abs() / expected;
            assert!(off <= 1e-4, "{case} {name}: {off}");
        }

        // What PEFT wrote is written again: the same names, the same values, the same modules.
        let again = folder.path().join("again");
        save_adapters(&again, &model).unwrap();
        let values = |folder: &Path| -> HashMap<String, Tensor> {
            Tensor::read_safetensors(folder.join("adapter_model.safetensors")).unwrap().into_iter().collect()
        };
        let (written, pefts) = (values(&again), values(folder.path()));
        assert_eq!(written.len(), pefts.len(), "{case}");
        assert!(pefts.iter().all(|(name, values)| written[name].equal(values)), "{case}");
        let config: Value = serde_json::from_slice(&fs::read(again.join("adapter_config.json")).unwrap()).unwrap();
        assert_eq!(config["modules_to_save"], golden.config::<Value>(case)["modules_to_save"]);

        // A table that the configuration names and the file lacks.
        let fewer: Vec<_> = written.into_iter().filter(|(name, _)| !name.contains("lm_head")).collect();
        Tensor::write_safetensors(&fewer, again.join("adapter_model.safetensors")).unwrap();
        let error = load_adapters(&again, &mut phi3(read(&again, "plain").unwrap()).unwrap()).unwrap_err().to_string();
        assert!(error.contains("lm_head.weight is missing"), "{error}");
    }
}

#[test]
fn one_table_for_both_is_stored_as_two_beside_adapters() {
    let golden = Golden::open("language_models");
    let llm = LanguageModelConfig::from_published(&golden.config::<Value>("qwen2")).unwrap();
    assert!(llm.tie_word_embeddings);
    let mut model = Med2e3::new(&Med2e3Config { llm, ..small() }, Device::Cpu, 3).unwrap();
    model.store_with_adapters(&[Table::Embeddings]);
    assert!(model.adapter_tables().is_empty(), "there are no adapters to store it with");
    model.add_adapters(&lora(&["q_proj"]), 1).unwrap();
    model.store_with_adapters(&[]);
    assert!(model.adapter_tables().is_empty());
    model.store_with_adapters(&[Table::Embeddings]);
    let [embeddings, head] = &model.adapter_tables()[..] else { panic!("both") };
    assert!(embeddings.1.equal(&head.1) && head.0.ends_with("lm_head.weight"));
}

#[test]
fn merging_in_bf16_reports_the_rounding() {
    let golden = Golden::open("lora");
    let bf16 = || {
        let mut model = adapted(&golden);
        model.to_kind(Kind::BFloat16);
        model
    };
    let difference = bf16().merge_adapters(1.0).unwrap();
    println!("merging in bf16 within {difference:.2e}");
    assert!((1e-4..2e-2).contains(&difference), "{difference}");
    let error = bf16().merge_adapters(1e-5).unwrap_err();
    assert!(matches!(error, ModelError::Merge { difference: found, tolerance: 1e-5 } if found == difference));
}

#[test]
fn dropout_acts_in_training_only() {
    let golden = Golden::open("lora");
    let folder = folder(&golden, "phi3");
    let config = LoraConfig { dropout: 0.5, ..read(folder.path(), "plain").unwrap() };
    let mut model = phi3(config).unwrap();
    load_adapters(folder.path(), &mut model).unwrap();
    let ids = golden.get("ids");
    assert_close("without training", &logits(&model, &ids, false), &golden.get("phi3.logits"), 1e-5);
    let off = (logits(&model, &ids, true) - golden.get("phi3.logits")).abs().max().double_value(&[]);
    assert!(off > 1e-2, "{off}");
}

#[test]
fn fresh_adapters_change_nothing() {
    let ids = Golden::open("lora").get("ids");
    let without = logits(&base("phi3", "plain", None).unwrap(), &ids, true);
    let with = phi3(lora(&["all-linear"])).unwrap();
    assert_eq!(with.adapters().len(), 16);
    assert!(logits(&with, &ids, true) == without);
    // A holds draws, so that B gets a gradient.
    assert!(
        with.adapters()
            .iter()
            .all(|(name, tensor)| name.contains("lora_B") == (tensor.abs().max().double_value(&[]) == 0.0))
    );
}

#[test]
fn configs_that_no_adapter_fits_are_errors() {
    let error = |config| match phi3(config).err().unwrap() {
        ModelError::Config { field, expected, found } => (field, expected, found),
        other => panic!("{other}"),
    };
    let (field, expected, found) = error(lora(&["qkv_proj", "gate_up_prj"]));
    assert_eq!((field.as_str(), found.as_str()), ("lora.targets", "gate_up_prj"));
    assert!(expected.contains("did you mean gate_up_proj?"), "{expected}");
    assert_eq!(error(lora(&["q_proj"])).2, "q_proj");
    assert_eq!(error(lora(&["all-linear", "o_proj"])).2, "all-linear");
    assert_eq!(error(lora(&[])).0, "lora.targets");
    for rank in [0, -1, 97, 1 << 40] {
        assert_eq!(error(LoraConfig { rank, ..lora(&["gate_up_proj"]) }).0, "lora.rank");
    }
}

#[test]
fn a_saved_folder_comes_back_bit_for_bit() {
    let golden = Golden::open("lora");
    let (model, folder) = (adapted(&golden), tempfile::tempdir().unwrap());
    let folder = folder.path().join("adapters");
    save_adapters(&folder, &model).unwrap();
    let config = read(&folder, "plain").unwrap();
    assert_eq!(Some(&config), model.config().lora.as_ref());
    let mut again = phi3(config).unwrap();
    load_adapters(&folder, &mut again).unwrap();
    assert!(model.adapters().iter().zip(again.adapters()).all(|(a, b)| a.0 == b.0 && a.1.equal(&b.1)));

    // All maps are written by their names.
    save_adapters(&folder, &phi3(LoraConfig { alpha: 0.5, ..lora(&["all-linear"]) }).unwrap()).unwrap();
    assert_eq!(
        read(&folder, "plain").unwrap(),
        LoraConfig { alpha: 0.5, ..lora(&["down_proj", "gate_up_proj", "o_proj", "qkv_proj"]) }
    );
    let none = save_adapters(&folder, &base("phi3", "plain", None).unwrap()).unwrap_err();
    assert!(matches!(none, TrainerError::Model(ModelError::Config { field, .. }) if field == "lora"));
}

#[test]
fn what_is_not_plain_lora_is_refused_by_name() {
    let golden = Golden::open("lora");
    let folder = folder(&golden, "phi3");
    let good: Value = golden.config("phi3");
    for (key, value) in [
        ("peft_type", json!("IA3")),
        ("task_type", json!("SEQ_CLS")),
        ("use_dora", json!(true)),
        ("bias", json!("all")),
        ("lora_bias", json!(true)),
        ("fan_in_fan_out", json!(true)),
        ("modules_to_save", json!(["norm"])),
        ("rank_pattern", json!({"qkv_(proj": 8})),
        ("rank_pattern", json!({"qkv_proj": 0.5})),
        ("layers_to_transform", json!("first")),
        ("layers_to_transform", json!([7])),
        ("exclude_modules", json!(".*_proj")),
        ("target_modules", json!("^(?!lm_head).*")),
        ("use_qalora", json!(true)),
        ("trainable_token_indices", json!([3])),
        ("ensure_weight_tying", json!(true)),
        ("init_lora_weights", json!("pissa")),
        ("target_modules", json!([])),
        ("target_modules", json!([7])),
        ("target_modules", Value::Null),
        ("r", json!(4.5)),
        ("r", json!("4")),
        ("lora_alpha", Value::Null),
        ("something_of_tomorrow", json!(3)),
    ] {
        let mut config = good.clone();
        config[key] = value;
        write_config(folder.path(), &config);
        let error = read(folder.path(), "plain").unwrap_err();
        let text = error.to_string();
        // Where no map is left, it is target_modules that names none.
        let no_map = ["layers_to_transform", "exclude_modules"].contains(&key) && text.contains("target_modules");
        let named = text.contains(key) || no_map;
        assert!(matches!(error, TrainerError::File { .. }) && named, "{key}: {text}");
    }
    for (key, value) in [("init_lora_weights", json!("gaussian")), ("target_modules", json!("all-linear"))] {
        let mut config = good.clone();
        config[key] = value;
        write_config(folder.path(), &config);
        read(folder.path(), "plain").unwrap();
    }
    fs::write(folder.path().join("adapter_config.json"), "{").unwrap();
    assert!(matches!(read(folder.path(), "plain"), Err(TrainerError::File { .. })));
    fs::remove_file(folder.path().join("adapter_config.json")).unwrap();
    assert!(matches!(read(folder.path(), "plain"), Err(TrainerError::Disk(_))));
}

#[test]
fn a_folder_that_is_not_the_models_is_an_error_and_changes_nothing() {
    let golden = Golden::open("lora");
    let folder = folder(&golden, "phi3");
    let all: LoraConfig = read(folder.path(), "plain").unwrap();
    let load = |config: LoraConfig| {
        let mut model = phi3(config).unwrap();
        let error = load_adapters(folder.path(), &mut model).unwrap_err();
        assert!(
            model.adapters().iter().all(|(name, b)| name.contains("lora_A") || b.abs().max().double_value(&[]) == 0.0)
        );
        error
    };
    let rank = load(LoraConfig { rank: 8, ..all.clone() });
    assert!(rank.to_string().contains("r 8, as the model has, found 4"), "{rank}");
    let alpha = load(LoraConfig { alpha: 4.0, ..all.clone() });
    assert!(alpha.to_string().contains("lora_alpha 4, as the model has, found 8"), "{alpha}");
    let fewer = load(lora(&["qkv_proj"]));
    assert!(matches!(fewer, TrainerError::Model(ModelError::UnexpectedWeight { part: "adapters", .. })), "{fewer}");
    let mut none = base("phi3", "plain", None).unwrap();
    assert!(load_adapters(folder.path(), &mut none).is_err());

    // Adapters in the first block alone.
    let first =
        golden.below("phi3.adapters/").into_iter().filter(|(name, _)| name.contains("layers.0.")).collect::<Vec<_>>();
    Tensor::write_safetensors(&first, folder.path().join("adapter_model.safetensors")).unwrap();
    let missing = load(all.clone());
    assert!(matches!(missing, TrainerError::Model(ModelError::MissingWeight { part: "adapters", .. })), "{missing}");
    fs::remove_file(folder.path().join("adapter_model.safetensors")).unwrap();
    assert!(load(all).to_string().contains("adapter_model"));
}
