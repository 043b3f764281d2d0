//! A language model's files as they come: one table or two, adapters of PEFT in all its forms. Expected numbers:
//! `golden/tied.py`, `golden/peft_forms.py`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use med2e3_trainer::files::adapters::{load_adapters, read_adapter_config, save_adapters};
use med2e3_trainer::files::model_files::{ModelFiles, ModelPaths, Tables};
use med2e3_trainer::model::weights::TextProjection;
use med2e3_trainer::model::{LanguageModelConfig, LoraConfig, Med2e3, Med2e3Config, Part, Preset};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor, no_grad};

use crate::golden_file::{Golden, assert_close, path, small};

/// The published folder of one of the tiny language models, with these weights.
fn write_llm(folder: &Path, family: &str, weights: &[(String, Tensor)]) {
    let config: Value = Golden::open("language_models").config(family);
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    Tensor::write_safetensors(weights, folder.join("model.safetensors")).unwrap();
}

fn weights_of(family: &str) -> Vec<(String, Tensor)> {
    Golden::open("language_models").below(&format!("{family}.weights/"))
}

/// A whole model of the folder's language model, the 3D encoder of `released/` and a drawn connector.
fn open(llm: &Path, adapters: Option<&Path>) -> (Med2e3, Tables, Vec<String>) {
    let parts = BTreeMap::from([(Part::Llm, llm.to_owned()), (Part::Vision3dModel, path("released/vision3d_model"))]);
    let paths = ModelPaths {
        parts,
        args: Some(path("released/args/config.json")),
        adapters: adapters.map(Path::to_owned),
        folder: None,
    };
    let files = ModelFiles::gather(&paths, Some(Preset::Vision3dOnly)).unwrap();
    let loaded = files.load_or_draw(Device::Cpu, Kind::Float, 1, TextProjection::Restored).unwrap();
    let passed_over = loaded.passed_over.into_iter().filter(|(part, _)| *part == Part::Llm);
    (loaded.model, files.tables(), passed_over.flat_map(|(_, names)| names).collect())
}

fn logits(model: &Med2e3, ids: &Tensor) -> Tensor {
    let llm = model.llm();
    no_grad(|| llm.logits(&llm.forward(&llm.embed(ids), &[ids.size()[1] as usize], None).unwrap()))
}

#[test]
fn one_table_or_two_as_transformers_has_them() {
    let golden = Golden::open("tied");
    let (embedding, head) = ("model.embed_tokens.weight", "lm_head.weight");
    let table = weights_of("qwen2").into_iter().find(|(name, _)| name == embedding).unwrap().1;
    let without: Vec<_> = weights_of("qwen2").into_iter().filter(|(name, _)| name != embedding).collect();
    let with = |tables: &[(&str, &Tensor)]| {
        let tables = tables.iter().map(|(name, tensor)| (name.to_string(), tensor.shallow_clone()));
        without.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).chain(tables).collect::<Vec<_>>()
    };
    let other = golden.get("other");
    for (case, weights, tables) in [
        ("embedding_alone", with(&[(embedding, &table)]), Tables::One),
        ("alike", with(&[(embedding, &table), (head, &table)]), Tables::One),
        ("another_head", with(&[(embedding, &table), (head, &other)]), Tables::TwoInFiles),
        ("head_alone", with(&[(head, &table)]), Tables::One),
        ("head_alone", with(&[("base_model.model.lm_head.weight", &table)]), Tables::One),
    ] {
        let folder = tempfile::tempdir().unwrap();
        write_llm(folder.path(), "qwen2", &weights);
        let (model, found, passed_over) = open(folder.path(), None);
        assert_close(case, &logits(&model, &golden.get("ids")), &golden.get(&format!("{case}.logits")), 1e-5);
        assert_eq!(found, tables, "{case}");
        assert_eq!(model.config().llm.tie_word_embeddings, tables == Tables::One, "{case}");
        assert_eq!(passed_over.len(), usize::from(case == "alike"), "{case}: {passed_over:?}");
        // What is written says the same of the tables as it holds.
        let written = model.parameters(Part::Llm).iter().any(|(name, _)| name == head);
        assert_eq!(model.config().llm.to_published()["tie_word_embeddings"], !written, "{case}");
    }

    // Without the flag a head that is missing is missing.
    let folder = tempfile::tempdir().unwrap();
    write_llm(folder.path(), "qwen2", &with(&[(embedding, &table)]));
    let mut config: Value = Golden::open("language_models").config("qwen2");
    config["tie_word_embeddings"] = json!(false);
    fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let parts =
        BTreeMap::from([(Part::Llm, folder.path().to_owned()), (Part::Vision3dModel, path("released/vision3d_model"))]);
    let args = Some(path("released/args/config.json"));
    let files =
        ModelFiles::gather(&ModelPaths { parts, args, ..ModelPaths::default() }, Some(Preset::Vision3dOnly)).unwrap();
    let error = files.load_or_draw(Device::Cpu, Kind::Float, 1, TextProjection::Restored).err().unwrap();
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("lm_head.weight is missing"));
}

#[test]
fn every_form_of_adapters_computes_as_in_peft() {
    let golden = Golden::open("peft_forms");
    let families: BTreeMap<String, String> = golden.config("families");
    let ids = golden.get("ids");
    for (case, family) in &families {
        let folder = tempfile::tempdir().unwrap();
        let (llm, adapters) = (folder.path().join("llm"), folder.path().join("adapters"));
        write_llm(&llm, family, &weights_of(family));
        fs::create_dir(&adapters).unwrap();
        fs::write(adapters.join("adapter_config.json"), golden.text(case)).unwrap();
        let saved = golden.below(&format!("{case}.adapters/"));
        Tensor::write_safetensors(&saved, adapters.join("adapter_model.safetensors")).unwrap();
        let (mut model, tables, _) = open(&llm, Some(&adapters));
        let expected = golden.get(&format!("{case}.logits"));
        assert_close(case, &logits(&model, &ids), &expected, 1e-5);
        assert_eq!(tables == Tables::TwoInFiles, case.starts_with("tied"), "{case}");

        // Written in PEFT's form and read back, they are the same.
        let (written, config) = (folder.path().join("written"), model.config().clone());
        save_adapters(&written, &model).unwrap();
        assert_eq!(Some(&read_adapter_config(&written, &config.llm).unwrap()), config.lora.as_ref(), "{case}");
        let mut again = Med2e3::new(&config, Device::Cpu, 5).unwrap();
        again.load_tensors(Part::Llm, &model.parameters(Part::Llm)).unwrap();
        load_adapters(&written, &mut again).unwrap();
        assert_close(case, &logits(&again, &ids), &expected, 1e-5);
        let text = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<Med2e3Config>(&text).unwrap(), config, "{case}");

        model.merge_adapters(1e-5).unwrap();
        assert_close(case, &logits(&model, &ids), &expected, 1e-5);
    }
}

#[test]
fn forms_are_written_by_the_shortest_names() {
    let golden = Golden::open("peft_forms");
    let llm = LanguageModelConfig::from_published(&Golden::open("language_models").config::<Value>("llama")).unwrap();
    let read = |case: &str| {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("adapter_config.json"), golden.text(case)).unwrap();
        read_adapter_config(folder.path(), &llm).unwrap()
    };
    assert_eq!(read("pattern").targets, ["q_proj", "v_proj"]);
    let layer = read("layer").targets;
    assert_eq!(layer, ["model.layers.1.self_attn.q_proj", "model.layers.1.self_attn.v_proj"]);
    let LoraConfig { ranks, alphas, .. } = read("ranks");
    assert_eq!(ranks, BTreeMap::from([("model.layers.1.mlp.up_proj".into(), 6), ("q_proj".into(), 2)]));
    assert!(alphas.is_empty());
    let alphas = read("alphas").alphas;
    assert_eq!(alphas["model.layers.0.self_attn.q_proj"], 3.0);
    assert_eq!(alphas["model.layers.1.self_attn.q_proj"], 16.0);
    assert_eq!(alphas.len(), 3);

    // A configuration may name maps in the same ways.
    let mut lora = LoraConfig::plain(2, 4.0, 0.0, vec!["self_attn.q_proj".into(), "model.layers.1.mlp.up_proj".into()]);
    lora.ranks.insert("up_proj".into(), 3);
    let config = Med2e3Config { llm, lora: Some(lora), ..small() };
    let model = Med2e3::new(&config, Device::Cpu, 1).unwrap();
    let rows: Vec<i64> =
        model.adapters().iter().filter(|(name, _)| name.contains("lora_A")).map(|(_, a)| a.size()[0]).collect();
    assert_eq!(rows, [2, 2, 3]);
}
