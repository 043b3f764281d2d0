//! `cargo xtask bench-train`: a training of the demo's model through the feed next to PyTorch, in one run; prints a table.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use crate::command::{cargo, run};
use crate::{peers, setup};

/// What the peer needs.
const PACKAGES: [&str; 2] = ["pyarrow", "torch==2.11.0"];

/// Builds `med2e3` and `trainer/examples/update_time.rs`, provides a Python with the peer (the given one, or a virtual environment in
/// `.bench/venv`), and runs `tests/peers/train_run.py` on the demo's dataset.
pub(crate) fn bench_train(repository: &Path, python: Option<PathBuf>, threads: usize) -> Result<()> {
    let dataset = repository.join(".demo/dataset");
    ensure!(dataset.join("dataset.json").is_file(), "{}: no dataset; `cargo xtask demo` makes it", dataset.display());
    setup::setup(repository, setup::Libtorch::Cpu)?;
    run(&mut cargo(repository, &["build", "--workspace", "--bins", "--example", "update_time"]), &[0])?;
    let python = peers::python(repository, python, &PACKAGES)?;
    // Beside this program, whatever the target folder.
    let built = std::env::current_exe()?;
    let (program, update) = (built.with_file_name("med2e3"), built.with_file_name("examples").join("update_time"));
    let mut command = Command::new(python);
    command.current_dir(repository).arg(repository.join("tests/peers/train_run.py"));
    command.arg(program).arg(update).arg(dataset);
    run(command.args(["--threads", &threads.to_string()]), &[0]).map(|_| ())
}
