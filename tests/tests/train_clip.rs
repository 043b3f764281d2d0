//! `med2e3 train-clip` from the outside: pairs are learned, whatever the micro-batch; a stopped run goes on; its checkpoints are what
//! `retrieve` and `import` take; what does not fit is named.

use std::fs;
use std::path::Path;
use std::process::Command;

use med2e3_tests::program::{program, run_to};
use med2e3_tests::tiny::dataset;
use serde_json::Value;

/// A model of some ten thousand weights that learns five pairs in a second.
const RUN: &str = r#"
name = "pairs"
seed = 3
device = "cpu"
threads = 1
checkpoint = { every_steps = 30 }
[data]
split = "train"
text_tokenizer = "trainer/tests/golden/m3d_clip_tiny"
max_text_tokens = 16
epochs = 60
readers = 1
depth = 1
[model.start.fresh]
initializer = "fan_in"
[model.start.fresh.sizes.vision]
img_size = [4, 16, 16]
patch_size = [2, 4, 8]
hidden_size = 24
mlp_dim = 48
num_layers = 1
num_heads = 3
in_channels = 1
[model.start.fresh.sizes.text]
vocab_size = 61
hidden_size = 24
num_hidden_layers = 1
num_attention_heads = 3
intermediate_size = 48
max_position_embeddings = 16
type_vocab_size = 2
layer_norm_eps = 1e-12
[step]
batch = 8
[optimizer]
learning_rate = 3e-3
warmup_ratio = 0.03
beta1 = 0.9
beta2 = 0.999
eps = 1e-8
weight_decay = 0.1
"#;

fn train_clip(folder: &Path, out: &str, more: &[&str]) -> Command {
    let data = format!("dataset = {:?}", folder.join("dataset").display().to_string());
    fs::write(folder.join("clip.toml"), RUN.replace("[data]\n", &format!("[data]\n{data}\n"))).unwrap();
    let mut command = program("med2e3");
    command.arg("train-clip").arg(folder.join("clip.toml")).args(["--json", "--out"]).arg(folder.join(out));
    more.iter().for_each(|set| {
        command.args(["--set", set]);
    });
    command
}

/// How often a volume's own caption comes first, and a caption's own volume.
fn recalls(folder: &Path, clip: &str) -> [f64; 2] {
    let text = format!(
        "device = \"cpu\"\nthreads = 1\nclip = {:?}\ntext_tokenizer = \"trainer/tests/golden/m3d_clip_tiny\"\ndataset = {:?}\nsplit = \"train\"\nbatch_size = 4\nmax_text_tokens = 16\n",
        folder.join(clip).display().to_string(),
        folder.join("dataset").display().to_string()
    );
    let _ = fs::remove_dir_all(folder.join("retrieved"));
    fs::write(folder.join("retrieve.toml"), text).unwrap();
    let mut command = program("med2e3");
    command.arg("retrieve").arg(folder.join("retrieve.toml")).args(["--json", "--out"]).arg(folder.join("retrieved"));
    let report: Value = serde_json::from_str(&run_to(0, &mut command).out).unwrap();
    ["image_to_text", "text_to_image"].map(|side| report["by_index"][side]["at_1"].as_f64().unwrap())
}

fn losses(report: &Value) -> Vec<f64> {
    report["steps"].as_array().unwrap().iter().map(|step| step["loss"].as_f64().unwrap()).collect()
}

#[test]
fn pairs_are_learned_and_a_stopped_run_goes_on_to_the_same_weights() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dataset(folder, &[]);
    let report: Value = serde_json::from_str(&run_to(0, &mut train_clip(folder, "run", &[])).out).unwrap();
    let losses_of_whole = losses(&report);
    assert_eq!(losses_of_whole.len(), 60);
    // ln 5 is what five equal similarities cost.
    assert!((losses_of_whole[0] - 5f64.ln()).abs() < 0.7, "{}", losses_of_whole[0]);
    assert!(losses_of_whole[59] < 0.8 * losses_of_whole[0], "{losses_of_whole:?}");

    // The first step's rate is 0: its checkpoint holds first weights.
    run_to(0, &mut train_clip(folder, "first", &["data.max_steps=1"]));
    let (before, after) = (recalls(folder, "first"), recalls(folder, "run"));
    assert!(before.iter().sum::<f64>() <= 0.8 && after == [1.0, 1.0], "from {before:?} to {after:?}");

    // As if killed after the first checkpoint.
    let last = folder.join("run/step-60");
    let bytes = |file: &str| fs::read(last.join(file)).unwrap();
    let files = ["model.safetensors", "state/optimizer.safetensors", "config.json", "tokenizer.json"];
    let kept = files.map(bytes);
    fs::remove_dir_all(&last).unwrap();
    fs::remove_file(folder.join("run/report.json")).unwrap();
    let said = run_to(2, &mut train_clip(folder, "run", &[]));
    assert!(said.err.contains("--resume"), "{}", said.err);
    let again: Value = serde_json::from_str(&run_to(0, train_clip(folder, "run", &[]).arg("--resume")).out).unwrap();
    assert_eq!(losses(&again), losses_of_whole);
    assert!(files.map(bytes) == kept);

    // Features of parts of a step make the loss of the whole step.
    let parts: Value =
        serde_json::from_str(&run_to(0, &mut train_clip(folder, "parts", &["step.micro_batch=2"])).out).unwrap();
    for (part, whole) in losses(&parts).into_iter().zip(&losses_of_whole).take(10) {
        assert!((part - whole).abs() < 1e-4 * whole, "{part} and {whole}");
    }

    // The encoder of a checkpoint is a part of a Med-2E3.
    let mut import = program("med2e3");
    import.args(["import", "--llm", "trainer/tests/golden/released/llm", "--variant", "vision3d_only", "--vision3d"]);
    run_to(0, import.arg(&last).arg("--out").arg(folder.join("imported")));
    assert!(folder.join("imported/vision3d_model/model.safetensors").is_file());
}

#[test]
fn a_run_begins_with_another_ones_weights_and_its_scale_may_act_by_its_exponential() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dataset(folder, &[]);
    let short = ["data.max_steps=2", "model.start.fresh.sizes.exp_logit_scale=true"];
    run_to(0, &mut train_clip(folder, "first", &short));
    let config = fs::read_to_string(folder.join("first/step-2/config.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&config).unwrap()["exp_logit_scale"], true);
    let start = format!("model.start={{checkpoint={:?}}}", folder.join("first").display().to_string());
    run_to(0, &mut train_clip(folder, "second", &["data.max_steps=1", &start]));
    // At a rate of 0 nothing moves.
    let bytes = |path: &str| fs::read(folder.join(path)).unwrap();
    assert!(bytes("second/step-1/model.safetensors") == bytes("first/step-2/model.safetensors"));
    assert!(bytes("second/step-1/config.json") == bytes("first/step-2/config.json"));
}

#[test]
fn steps_without_finite_gradients_change_nothing_and_too_many_in_a_row_end_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dataset(folder, &[]);
    // The second step throws the weights so far that no later one has a finite loss.
    let far = ["optimizer.learning_rate=1e30", "step.max_skipped=2", "optimizer.weight_decay=0.0"];
    let said = run_to(2, &mut train_clip(folder, "far", &far)).err;
    let log = fs::read_to_string(folder.join("far/train.jsonl")).unwrap();
    let steps: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let skipped: Vec<u64> =
        steps.iter().filter(|step| step["skipped"] == true).map(|step| step["step"].as_u64().unwrap()).collect();
    let last = steps.len() as u64;
    // The third in a row is known one step later, which is left out too.
    assert!(skipped.len() == 4 && skipped == [last - 3, last - 2, last - 1, last], "{skipped:?} of {last}");
    for step in &skipped {
        assert!(said.contains(&format!("step {step} is left out")), "{said}");
    }
    assert!(said.contains(&format!("error: step {last}: loss")), "{said}");
    // A run that goes on begins behind them.
    let state = fs::read_to_string(folder.join(format!("far/step-{last}/state/state.json"))).unwrap();
    let state: Value = serde_json::from_str(&state).unwrap();
    assert_eq!((&state["step"], &state["skipped"]), (&Value::from(last), &Value::from(skipped)));
}

#[test]
fn what_does_not_fit_is_named_before_the_first_step() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dataset(folder, &[]);
    for (change, words) in [
        ("step.batch=1", "step.batch: expected 2 or more"),
        ("step.micro_batch=0", "step.micro_batch: expected 1 or more"),
        ("step.micro=2", "did you mean `micro_batch`?"),
        ("data.max_text_tokens=17", "data.max_text_tokens: expected at most 16"),
        ("data.max_text_tokens=2", "max_text_tokens: expected 3 or more"),
        ("data.text_tokenizer=nowhere", "nowhere"),
        ("model.start.fresh.sizes.vision.img_size=[8,16,16]", "model.start: expected volumes of [4, 16, 16]"),
        ("model.start.fresh.sizes.text.hidden_size=48", "text.hidden_size: expected 24"),
        ("model.start.fresh.sizes.text.vocab_size=20", "data.text_tokenizer: expected at most 20 tokens"),
        ("model.text_encoder=trainer/tests/golden/released/vision2d_model", "weight"),
        ("optimizer.learning_rate=-1.0", "optimizer.learning_rate"),
        ("validation={every=0,pairs=4}", "validation.every: expected 1 or more"),
    ] {
        let said = run_to(2, &mut train_clip(folder, "run", &[change]));
        assert!(said.err.contains(words), "{change}: {}", said.err);
        assert!(!folder.join("run").exists(), "{change}");
    }
}
