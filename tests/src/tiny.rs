//! A phantom study, prepared, and a model of a few thousand weights that trains on it in seconds.

use std::path::Path;
use std::process::Command;

use crate::phantom;
use crate::program::{program, run_to};

const SHAPE: &str = "[4,16,16]";

/// The demo's runs, turned to the phantom's dataset and a model of a few thousand weights.
const TINY: [&str; 13] = [
    "model.start.fresh.llm.hidden_size=32",
    "model.start.fresh.llm.intermediate_size=48",
    "model.start.fresh.llm.num_hidden_layers=2",
    "model.start.fresh.vision2d.hidden_size=32",
    "model.start.fresh.vision2d.intermediate_size=32",
    "model.start.fresh.vision2d.image_size=16",
    "model.start.fresh.vision2d.patch_size=4",
    "model.start.fresh.vision3d.img_size=[4,16,16]",
    "model.start.fresh.vision3d.patch_size=[2,4,4]",
    "model.start.fresh.vision3d.hidden_size=32",
    "model.start.fresh.vision3d.mlp_dim=32",
    "device=cpu",
    "threads=1",
];

/// Prepares a phantom study in `folder/study` to `folder/dataset`, with overrides of its configuration.
pub fn dataset(folder: &Path, more: &[&str]) {
    phantom::write(&folder.join("study"));
    let mut command = program("med2e3-data");
    command.args(["prepare", "configs/demo/prepare.toml", "--out"]).arg(folder.join("dataset"));
    let root = format!("root={:?}", folder.join("study").display().to_string());
    let questions =
        r#"manifest.questions=[{path="M3D_VQA_train.csv",split="train"},{path="M3D_VQA_test.csv",split="test"}]"#;
    let shape = format!("volume.shape={SHAPE}");
    for set in [root.as_str(), questions, &shape, "limits.reject_rows=100"].iter().chain(more) {
        command.args(["--set", set]);
    }
    run_to(1, &mut command);
}

/// `med2e3 train` on it, six steps with a checkpoint after each third, into `folder/OUT`.
pub fn train(folder: &Path, out: &str, more: &[&str]) -> Command {
    let mut command = program("med2e3");
    command.args(["train", "configs/demo/pretrain.toml", "--json", "--out"]).arg(folder.join(out));
    let data = format!("data.dataset={:?}", folder.join("dataset").display().to_string());
    for set in
        TINY.iter().chain(&[data.as_str(), "step.batch=2", "data.max_steps=6", "checkpoint.every_steps=3"]).chain(more)
    {
        command.args(["--set", set]);
    }
    command
}

/// `med2e3 evaluate` of the run `folder/RUN` on the dataset `folder/DATA`, into `folder/OUT`.
pub fn evaluate(folder: &Path, run: &str, data: &str, out: &str, more: &[&str]) -> Command {
    let path = |name: &str| format!("{:?}", folder.join(name).display().to_string());
    let mut command = program("med2e3");
    command.args(["evaluate", "configs/demo/evaluate.toml", "--json", "--out"]).arg(folder.join(out));
    let sets = [format!("dataset={}", path(data)), format!("checkpoint={}", path(run))];
    let fixed = ["device=cpu", "threads=1", "max_new_tokens=6"];
    for set in sets.iter().map(String::as_str).chain(fixed).chain(more.iter().copied()) {
        command.args(["--set", set]);
    }
    command
}

/// `med2e3 explain` of the run `folder/RUN` on the dataset `folder/DATA`, into `folder/OUT`.
pub fn explain(folder: &Path, run: &str, data: &str, out: &str, more: &[&str]) -> Command {
    let path = |name: &str| format!("{:?}", folder.join(name).display().to_string());
    let mut command = program("med2e3");
    command.args(["explain", "configs/demo/explain.toml", "--json", "--out"]).arg(folder.join(out));
    let sets = [format!("dataset={}", path(data)), format!("checkpoint={}", path(run))];
    let fixed = ["device=cpu", "threads=1", "max_new_tokens=6", "slices=4"];
    for set in sets.iter().map(String::as_str).chain(fixed).chain(more.iter().copied()) {
        command.args(["--set", set]);
    }
    command
}
