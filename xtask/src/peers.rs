//! A Python with the peers that something is compared with.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::command::run;

/// The given Python, or that of the virtual environment `.bench/venv` with these packages in it, which is made where it is absent.
pub(crate) fn python(repository: &Path, given: Option<PathBuf>, packages: &[&str]) -> Result<PathBuf> {
    if let Some(given) = given {
        return Ok(given);
    }
    let venv = repository.join(".bench/venv");
    let python = venv.join("bin/python");
    if !python.is_file() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv), &[0])?;
    }
    // Quick where all of it is there.
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(packages), &[0])?;
    Ok(python)
}
