//! `cargo xtask bench-step`: one training step next to PyTorch eager, in one run; prints a table.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::command::{cargo, run};
use crate::{peers, setup};

/// What the peers need.
const PACKAGES: [&str; 6] = ["einops", "monai", "numpy", "safetensors", "torch==2.11.0", "transformers"];

/// Builds `trainer/examples/train_step.rs`, provides a Python with the peers (the given one, or a virtual environment in
/// `.bench/venv`), and runs `tests/peers/train_step.py`.
pub(crate) fn bench_step(repository: &Path, python: Option<PathBuf>, threads: usize) -> Result<()> {
    setup::setup(repository, setup::Libtorch::Cpu)?;
    run(&mut cargo(repository, &["build", "--workspace", "--example", "train_step"]), &[0])?;
    let folder = repository.join(".bench");
    let python = peers::python(repository, python, &PACKAGES)?;
    // Beside this program, whatever the target folder.
    let program = std::env::current_exe()?.with_file_name("examples").join("train_step");
    let mut command = Command::new(python);
    command.arg(repository.join("tests/peers/train_step.py")).arg(program).arg(folder.join("step"));
    run(command.args(["--threads", &threads.to_string()]), &[0]).map(|_| ())
}
