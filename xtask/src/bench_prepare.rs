//! `cargo xtask bench-prepare`: preparation next to its peers, in one run; prints the README's table.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::command::{cargo, run};
use crate::{peers, setup};

/// What the peers need.
const PACKAGES: [&str; 6] = ["isal", "monai", "nibabel", "numpy", "pillow", "torch==2.11.0"];

/// Builds the programs, provides a Python with the peers (the given one, or a virtual environment in `.bench/venv`), and
/// runs `tests/peers/bench_prepare.py`.
pub(crate) fn bench_prepare(repository: &Path, python: Option<PathBuf>) -> Result<()> {
    setup::setup(repository, setup::Libtorch::Cpu)?;
    run(&mut cargo(repository, &["build", "--workspace", "--bins"]), &[0])?;
    let folder = repository.join(".bench");
    let python = peers::python(repository, python, &PACKAGES)?;
    let program = repository.join("target/debug/med2e3-data");
    let mut command = Command::new(python);
    command.arg(repository.join("tests/peers/bench_prepare.py")).arg(program).arg(folder.join("prepare"));
    run(&mut command, &[0]).map(|_| ())
}
