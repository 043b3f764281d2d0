//! A phantom study prepared by the program, and what tests ask of the dataset.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::phantom;
use crate::program::{program, run_to};

/// The demo's configuration, turned to a phantom study and small volumes.
pub fn prepare(study: &Path, out: &Path, more: &[&str]) -> Command {
    let mut command = program("med2e3-data");
    command.args(["prepare", "configs/demo/prepare.toml", "--json", "--out"]).arg(out);
    let questions =
        r#"manifest.questions=[{path="M3D_VQA_train.csv",split="train"},{path="M3D_VQA_test.csv",split="test"}]"#;
    let shape = "volume.shape=[4,16,16]";
    let root = format!("root={:?}", study.display().to_string());
    for set in [questions, shape, &root, "limits.reject_rows=100", "engine.volumes_per_range=4"].iter().chain(more) {
        command.args(["--set", set]);
    }
    command
}

/// The phantom study in a temporary folder, below `study`.
pub fn study() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    phantom::write(&folder.path().join("study"));
    folder
}

/// Every file below a folder but reports, which hold times.
pub fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(place) = open.pop() {
        for entry in fs::read_dir(&place).unwrap().flatten() {
            let path = entry.path();
            let name = path.strip_prefix(folder).unwrap().display().to_string();
            if path.is_dir() {
                open.push(path);
            } else if name != "report.json" && name != "prepare.toml" {
                found.insert(name, fs::read(path).unwrap());
            }
        }
    }
    found
}

/// The rows of a query.
pub fn sql(dataset: &Path, query: &str) -> Vec<Value> {
    let said = run_to(0, program("med2e3-data").arg("sql").arg(dataset).arg(query).arg("--json"));
    said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What a run says as JSON.
pub fn report(command: &mut Command) -> Value {
    serde_json::from_str(&run_to(1, command).out).unwrap()
}
