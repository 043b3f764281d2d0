//! `setup --browser`: what the tests of pages drive a Chromium with, into `.browser/`, from the package registry of npm; and the Chromium
//! itself, which the machine must have.
//!
//! `tests/browser/package-lock.json` has the hashes of the packages, so that nothing else is ever unpacked. Neither brings a browser.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::command::{line, output};
use crate::setup::{remove, rename};

/// The folder in the repository.
const HOME: &str = ".browser";
/// What is installed, below `tests/browser`.
const LOCK: &str = "package-lock.json";
/// Browsers that speak what the tests speak, by the names that distributions give them.
const CHROMIUMS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
/// The first Node that the packages run on.
const NODE: u32 = 20;

/// What became of a set-up.
pub(crate) enum Browser {
    InPlace,
    /// Something is missing that this program does not install, or the registry does not answer: what, and the remedy.
    OutOfReach(String),
}

/// Sets the tests of pages up for the user.
pub(crate) fn setup_browser(repository: &Path) -> Result<()> {
    match browser(repository)? {
        Browser::InPlace => Ok(()),
        Browser::OutOfReach(reasons) => bail!("{reasons}"),
    }
}

/// Installs the packages unless they are in place, and looks for Node and a Chromium.
pub(crate) fn browser(repository: &Path) -> Result<Browser> {
    let missing = missing();
    if !missing.is_empty() {
        return Ok(Browser::OutOfReach(missing.join("; ")));
    }
    let source = repository.join("tests/browser");
    let lock = source.join(LOCK);
    let wanted = fs::read(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
    let home = repository.join(HOME);
    // Renamed into place with all of it, so that the list stands for what it lists.
    if fs::read(home.join(LOCK)).is_ok_and(|found| found == wanted) {
        eprintln!("the browser's driver is in place");
        return Ok(Browser::InPlace);
    }
    eprintln!("installing the browser's driver into {} (download: 4 MB)", home.display());
    let staging = repository.join(".browser.part");
    remove(&staging)?;
    fs::create_dir_all(&staging).with_context(|| format!("cannot create {}", staging.display()))?;
    for name in ["package.json", LOCK] {
        fs::copy(source.join(name), staging.join(name))
            .with_context(|| format!("cannot copy {name} of {}", source.display()))?;
    }
    let mut npm = Command::new("npm");
    npm.current_dir(&staging).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
    if let Err(error) = output(&mut npm) {
        remove(&staging)?;
        return Ok(Browser::OutOfReach(format!("{error:#}")));
    }
    remove(&home)?;
    rename(&staging, &home)?;
    Ok(Browser::InPlace)
}

/// What of the machine is missing, each with its remedy.
fn missing() -> Vec<String> {
    let mut missing = Vec::new();
    match output(Command::new("node").arg("--version")).ok().and_then(|text| major(&String::from_utf8_lossy(&text))) {
        Some(version) if version >= NODE => {}
        Some(version) => missing.push(format!("Node {version} is too old: install Node {NODE} or later")),
        None => missing.push(format!("Node {NODE} is missing: install it with npm, as https://nodejs.org says")),
    }
    if output(Command::new("npm").arg("--version")).is_err() {
        missing.push("npm is missing: run `sudo apt-get install npm`".to_owned());
    }
    let named = std::env::var_os("CHROMIUM");
    let runs = |program: &std::ffi::OsStr| output(Command::new(program).arg("--version")).is_ok();
    match named {
        Some(program) if !runs(&program) => {
            missing.push(format!("CHROMIUM is {}, which does not run", Path::new(&program).display()));
        }
        None if !CHROMIUMS.iter().any(|name| runs(name.as_ref())) => {
            missing
                .push("a Chromium is missing: run `sudo apt-get install chromium`, or name one in CHROMIUM".to_owned());
        }
        _ => {}
    }
    missing
}

/// 20 of `v20.20.2`.
fn major(version: &str) -> Option<u32> {
    version.trim().strip_prefix('v')?.split('.').next()?.parse().ok()
}

/// Runs the tests of pages alone; what they need must be there.
pub(crate) fn test_pages(repository: &Path) -> Result<()> {
    setup_browser(repository)?;
    crate::demo::build(repository)?;
    let mut command = crate::command::cargo(repository, &["test", "--workspace", "--test", "browser"]);
    eprintln!("\ntesting: {}", line(&command));
    command.args(["--", "--nocapture"]);
    let status = command.status().with_context(|| format!("cannot start `{}`", line(&command)))?;
    ensure!(status.success(), "`{}` failed with {status}", line(&command));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_of_node_is_read() {
        assert_eq!((major("v20.20.2\n"), major("v8.1.0"), major("20")), (Some(20), Some(8), None));
    }

    #[test]
    fn every_package_has_a_hash() {
        let lock =
            fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/browser").join(LOCK)).unwrap();
        let packages = lock.matches("\"node_modules/").count();
        assert_eq!((packages, lock.matches("\"integrity\": \"sha512-").count()), (2, 2), "{lock}");
    }
}
