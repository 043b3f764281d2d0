//! Windows of attention by family and by spelling of config.json, as transformers reads each. Expected numbers:
//! `golden/windows.py`.

use med2e3_trainer::generate::{Decoding, Until, continue_rows};
use med2e3_trainer::model::{LanguageModelConfig, Med2e3, Med2e3Config, Part};
use serde_json::{Value, json};
use tch::{Device, Kind, no_grad};

use crate::golden_file::{Golden, assert_close, small};

fn model(case: &str, llm: LanguageModelConfig) -> Med2e3 {
    let weights = match case.split('_').next() {
        Some("phi3") => "phi3",
        Some("qwen2") => "qwen2",
        _ => "llama",
    };
    let mut model = Med2e3::new(&Med2e3Config { llm, ..small() }, Device::Cpu, 0).unwrap();
    model.load_tensors(Part::Llm, &Golden::open("language_models").below(&format!("{weights}.weights/"))).unwrap();
    model
}

#[test]
fn windows_are_those_of_transformers_in_every_spelling() {
    let golden = Golden::open("windows");
    let ids = golden.get("ids").to_kind(Kind::Int64);
    let length = ids.size()[1] as usize;
    for case in golden.keys() {
        let llm = LanguageModelConfig::from_published(&golden.config::<Value>(case)).unwrap();
        // What is written is read back as the same.
        let again = LanguageModelConfig::from_published(&llm.to_published()).unwrap();
        assert_eq!(again, llm, "{case}");
        let model = model(case, again);
        let embeddings = model.llm().embed(&ids);
        let hidden = no_grad(|| model.llm().forward(&embeddings, &[length], None)).unwrap();
        let logits = no_grad(|| model.llm().logits(&hidden.narrow(1, length as i64 - 4, 4)));
        assert_close(case, &logits, &golden.get(&format!("{case}.logits")), 1e-5);

        // The cache hides what the window does, layer by layer.
        let expected = Vec::<i64>::try_from(golden.get(&format!("{case}.greedy"))).unwrap();
        let until = Until { max_new_tokens: expected.len(), stop_ids: Vec::new() };
        let answer = continue_rows(model.llm(), &embeddings, &[length], &[0], Decoding::Greedy, &until).unwrap();
        assert_eq!(answer, [expected], "{case}");
    }
}

#[test]
fn an_exported_window_keeps_its_family() {
    let golden = Golden::open("windows");
    let of = |case: &str| LanguageModelConfig::from_published(&golden.config::<Value>(case)).unwrap().to_published();
    assert_eq!(
        (of("mistral_6")["model_type"].as_str(), of("mistral_6")["sliding_window"].as_i64()),
        (Some("mistral"), Some(6))
    );
    assert_eq!(of("mistral_null")["model_type"], "mistral");
    assert_eq!(
        (of("llama_6")["model_type"].as_str(), of("llama_6")["sliding_window"].is_null()),
        (Some("llama"), true)
    );
    assert_eq!(of("qwen2_from_1")["max_window_layers"], 1);
    assert_eq!(of("qwen2_types_first")["layer_types"], json!(["sliding_attention", "full_attention"]));
    assert_eq!(of("qwen2_no_layers")["use_sliding_window"], false);
}

#[test]
fn layers_that_contradict_themselves_are_refused() {
    let golden = Golden::open("windows");
    for (case, key, value) in [
        ("qwen2_types_last", "use_sliding_window", json!(false)),
        ("qwen2_types_last", "layer_types", json!(["full_attention"])),
        ("qwen2_types_last", "layer_types", json!(["full_attention", "chunked_attention"])),
        ("mistral_6", "layer_types", json!(["full_attention", "sliding_attention"])),
        ("phi3_6", "sliding_window", json!("six")),
    ] {
        let mut config: Value = golden.config(case);
        config[key] = value;
        let message = LanguageModelConfig::from_published(&config).unwrap_err().to_string();
        assert!(message.contains("layer_types") || message.contains(key), "{message}");
    }
}
