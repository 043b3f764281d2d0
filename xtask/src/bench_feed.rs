//! `cargo xtask bench-feed`: feeding volumes next to its peers, in one run; prints a table.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::command::{cargo, run};
use crate::{peers, setup};

/// What the peers need.
const PACKAGES: [&str; 6] = [
    "monai==1.6.1",
    "numpy==2.4.6",
    "nvidia-dali-cuda120==2.4.0",
    "pyarrow==26.0.1",
    "tokenizers==0.23.3",
    "torch==2.11.0",
];

/// Builds the programs, provides a Python with the peers (the given one, or a virtual environment in `.bench/venv`), and
/// runs `tests/peers/bench_feed.py`.
pub(crate) fn bench_feed(repository: &Path, python: Option<PathBuf>) -> Result<()> {
    setup::setup(repository, setup::Libtorch::Cpu)?;
    run(&mut cargo(repository, &["build", "--workspace", "--bins"]), &[0])?;
    let folder = repository.join(".bench");
    let python = peers::python(repository, python, &PACKAGES)?;
    // Beside this program, whatever the target folder.
    let program = std::env::current_exe()?.with_file_name("med2e3-data");
    let mut command = Command::new(python);
    command.arg(repository.join("tests/peers/bench_feed.py")).arg(program).arg(folder.join("feed"));
    run(&mut command, &[0]).map(|_| ())
}
