//! The package `med2e3_feed` (`python/feed/`): built by maturin into the Python of the tests, and checked as the workspace is, of
//! which it is no part.

use std::path::Path;
use std::process::Command;
use std::time::Instant;
use std::{env, fs};

use anyhow::{Context, Result, ensure};

use crate::command::{cargo, run};
use crate::python::{HOME, Python};
use crate::setup::remove;

const MANIFEST: &str = "python/feed/Cargo.toml";
/// Its build: other features of its dependencies than the workspace's, so a folder of its own.
const TARGET: &str = "target/python_feed";

/// Builds the wheel and installs it; what was built before and has not changed is not built again.
pub(crate) fn install(repository: &Path, python: &Python) -> Result<()> {
    let started = Instant::now();
    let home = repository.join(HOME);
    let packages = python.packages(&home);
    let wheels = repository.join(TARGET).join("wheels");
    remove(&wheels)?;
    let mut maturin = Command::new(packages.join("bin/maturin"));
    maturin.args([
        "build",
        "--quiet",
        "--locked",
        "--profile",
        "dev",
        "--compatibility",
        "linux",
        "--manifest-path",
        MANIFEST,
    ]);
    maturin.args(["--target-dir", TARGET, "--out"]).arg(&wheels).arg("--interpreter").arg(home.join("bin/python"));
    run(maturin.current_dir(repository), &[0]).context("python/feed was not built")?;
    let found = fs::read_dir(&wheels).with_context(|| format!("cannot list {}", wheels.display()))?;
    let found = found.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    ensure!(found.len() == 1, "maturin built {} wheels in {}, expected 1", found.len(), wheels.display());
    let mut pip = python.pip();
    run(pip.args(["--no-index", "--upgrade", "--target"]).arg(&packages).args(&found), &[0])?;
    eprintln!("python/feed is built and installed, in {} s", started.elapsed().as_secs());
    Ok(())
}

/// Its format, lints and documentation.
pub(crate) fn check(repository: &Path) -> Result<()> {
    let place = ["--manifest-path", MANIFEST];
    let mut format = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    run(format.current_dir(repository).arg("fmt").args(place).arg("--check"), &[0])?;
    let built = [&place[..], &["--target-dir", TARGET]].concat();
    let mut lints = cargo(repository, &[&["clippy", "--quiet", "--all-targets"], &built[..]].concat());
    run(lints.args(["--", "-D", "warnings"]), &[0])?;
    let mut documentation =
        cargo(repository, &[&["doc", "--quiet", "--no-deps", "--document-private-items"], &built[..]].concat());
    run(documentation.env("RUSTDOCFLAGS", "-D warnings"), &[0])?;
    Ok(())
}
