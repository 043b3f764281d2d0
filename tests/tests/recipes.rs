//! The recipes of configs/train: each file as it is, but for sizes, paths and the machine, trains a model of a few thousand weights
//! on a phantom study.

use std::fs;
use std::path::Path;
use std::process::Command;

use med2e3_tests::program::{program, run_to};
use med2e3_tests::tiny::{dataset, train};
use serde_json::{Value, json};

/// What a twin may state in another way than its recipe.
const SIZES_AND_PATHS: [&str; 8] = [
    "data.dataset=",
    "data.text_tokenizer=",
    "data.max_text_tokens=",
    "model.start=",
    "model.text_encoder=",
    "model.start.fresh.sizes.",
    "device=",
    "threads=",
];

/// The recipe's run into a folder of its name.
fn recipe(folder: &Path, verb: &str, name: &str, out: &str, more: &[&str]) -> Command {
    let mut command = program("med2e3");
    command.args([verb, &format!("configs/train/{name}.toml"), "--json", "--out"]).arg(folder.join(out));
    let data = format!("data.dataset={:?}", folder.join("dataset").display().to_string());
    for set in [data.as_str(), "device=cpu", "threads=1"].iter().chain(more) {
        assert!(SIZES_AND_PATHS.iter().any(|key| set.starts_with(key)), "{set} is more than sizes and paths");
        command.args(["--set", set]);
    }
    command
}

/// A stage that begins with a run of the folder; its report.
fn stage(folder: &Path, name: &str, start: &str) -> Value {
    let start = format!("model.start={{checkpoint={:?}}}", folder.join(start).display().to_string());
    let report: Value =
        serde_json::from_str(&run_to(0, &mut recipe(folder, "train", name, name, &[&start])).out).unwrap();
    let finite = |step: &Value| step["loss"].as_f64().unwrap() > 0.0 && step["gradient_norm"].as_f64().unwrap() > 0.0;
    assert!(report["steps"].as_array().unwrap().iter().all(finite), "{report}");
    report
}

/// Learning rates of its steps.
fn rates(report: &Value) -> Vec<f64> {
    report["steps"].as_array().unwrap().iter().map(|step| step["learning_rate"].as_f64().unwrap()).collect()
}

#[test]
fn both_stages_of_med2e3_follow_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dataset(folder, &[]);
    // In the stead of published weights.
    run_to(0, &mut train(folder, "start", &["data.max_steps=1"]));

    let first = stage(folder, "med2e3-pretrain", "start");
    assert_eq!(first["trained"], json!(["vision2d_connector", "vision3d_connector"]));
    // Five captions are one step of up to 64 an epoch; the rate warms up in 0.03 of three steps, rounded up.
    let [warmup, peak, last] = rates(&first)[..] else { panic!("{first}") };
    assert_eq!((warmup, peak), (0.0, 1e-4));
    assert!((last - 0.5e-4).abs() < 1e-9, "{last}");

    let second = stage(folder, "med2e3-finetune", "med2e3-pretrain");
    assert_eq!(second["trained"], json!(["llm", "vision2d_model", "vision2d_connector", "vision3d_connector"]));
    assert_eq!(rates(&second)[..2], [0.0, 5e-5]);
    assert_eq!(rates(&second).len(), 4);
    let adapters = stage(folder, "med2e3-lora", "med2e3-pretrain");
    assert_eq!(adapters["trained"], json!(["llm.blocks by adapters", "vision2d_connector", "vision3d_connector"]));
    assert_eq!(rates(&adapters), rates(&second));

    // A first step at a rate of 0 leaves what stage 1 ended with.
    let start = format!("model.start={{checkpoint={:?}}}", folder.join("med2e3-pretrain").display().to_string());
    let mut once = recipe(folder, "train", "med2e3-finetune", "once", &[&start]);
    run_to(0, once.args(["--set", "data.max_steps=1"]));
    for part in ["llm", "vision2d_model", "vision2d_connector", "vision3d_model", "vision3d_connector"] {
        let bytes = |run: &str| fs::read(folder.join(run).join(part).join("model.safetensors")).unwrap();
        assert!(bytes("once/step-1") == bytes("med2e3-pretrain/step-3"), "{part}");
        let moved = bytes("med2e3-finetune/step-4") != bytes("med2e3-pretrain/step-3");
        assert_eq!(moved, part != "vision3d_model", "{part}");
    }

    let counts = r#"counts=[{task="caption",count=2},{task="open_vqa",count=1},{task="closed_vqa",count=1}]"#;
    let mut sample = program("med2e3-data");
    sample.args(["sample", "configs/sample/ablation-100k.toml", "--set", counts, "--out"]).arg(folder.join("dataset"));
    run_to(0, &mut sample);
    let ablation = stage(folder, "ablation-100k", "med2e3-pretrain");
    assert_eq!((&ablation["samples"], &ablation["trained"]), (&json!(4), &second["trained"]));
    assert_eq!(rates(&ablation), rates(&second));
}

#[test]
fn both_stages_of_m3d_lamed_follow_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dataset(folder, &[]);
    run_to(0, &mut train(folder, "start", &["data.max_steps=1", r#"model.start.fresh.variant="m3d_lamed""#]));

    let first = stage(folder, "m3d-pretrain", "start");
    assert_eq!(first["trained"], json!(["llm.embeddings", "vision3d_connector"]));
    assert_eq!(rates(&first).len(), 3);
    let second = stage(folder, "m3d-lamed", "m3d-pretrain");
    let trained = ["llm.blocks by adapters", "llm.embeddings", "llm.head", "vision3d_model", "vision3d_connector"];
    assert_eq!(second["trained"], json!(trained));
    assert_eq!((rates(&second).len(), rates(&second)[1]), (5, 5e-5));
    let config = fs::read_to_string(folder.join("m3d-lamed/step-5/adapters/adapter_config.json")).unwrap();
    let config: Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config["modules_to_save"], json!(["embed_tokens", "lm_head"]));
    assert_eq!((&config["r"], &config["lora_alpha"], &config["lora_dropout"]), (&json!(16), &json!(32), &json!(0.05)));
}

#[test]
fn m3d_clip_is_trained_from_a_published_text_encoder() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dataset(folder, &[]);
    let report: Value = serde_json::from_str(&run_to(0, &mut clip(folder)).out).unwrap();
    let steps = report["steps"].as_array().unwrap();
    // Five captions, a hundred epochs of one step each.
    assert_eq!((steps.len(), &steps[0]["pairs"]), (100, &json!(5)));
    assert_eq!((rates(&report)[0], rates(&report)[3]), (0.0, 1e-4));
    assert!((steps[0]["logit_scale"].as_f64().unwrap() - 2.659).abs() < 1e-3);
    assert_ne!(steps[0]["logit_scale"], steps[99]["logit_scale"]);
    assert_eq!(report["validation"].as_array().unwrap().len(), 1);
}

/// The recipe of M3D-CLIP with the sizes of the small one among the golden files.
fn clip(folder: &Path) -> Command {
    let more = [
        "data.text_tokenizer=trainer/tests/golden/m3d_clip_tiny",
        "data.max_text_tokens=16",
        "model.text_encoder=trainer/tests/golden/m3d_clip_tiny",
        "model.start.fresh.sizes.vision={img_size=[4,16,16],patch_size=[2,4,8],hidden_size=24,mlp_dim=40,num_layers=2,num_heads=3,in_channels=1}",
        "model.start.fresh.sizes.text={vocab_size=61,hidden_size=24,num_hidden_layers=2,num_attention_heads=3,intermediate_size=40,max_position_embeddings=16,type_vocab_size=2,layer_norm_eps=1e-12}",
    ];
    recipe(folder, "train-clip", "m3d-clip", "m3d-clip", &more)
}
