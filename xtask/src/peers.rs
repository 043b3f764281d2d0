//! A Python with the peers that something is compared with.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::command::run;

/// The virtual environment `venv` of the folder, with these packages in it; made where it is absent.
pub(crate) fn environment(folder: &Path, packages: &[&str]) -> Result<PathBuf> {
    let venv = folder.join("venv");
    let python = venv.join("bin/python");
    if !python.is_file() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv), &[0])?;
    }
    // Quick where all of it is there.
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(packages), &[0])?;
    Ok(python)
}
