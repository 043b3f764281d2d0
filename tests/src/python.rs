//! The Python of the tests: numpy, pandas, polars, pyarrow, DuckDB, datasets, tokenizers, transformers, torch, and the package
//! `med2e3` and `med2e3_feed` of this repository (`tests/peers/requirements.txt`).

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use crate::program::{root, run_to};

/// Names another Python that has the packages, instead of the repository's `.python/bin/python`.
const VARIABLE: &str = "MED2E3_PYTHON";

/// Runs a script, the text of it, in a process of its own; returns what it printed. `sys.argv[1:]` are the arguments.
///
/// Nothing is looked up in a network, and caches are in a folder that is gone afterwards.
///
/// # Panics
/// A script that fails, with what it said; an environment that is not there.
pub fn run<A: AsRef<OsStr>>(script: &str, args: &[A]) -> String {
    let caches = tempfile::tempdir().expect("a temporary folder");
    run_to(0, python().env("HF_HOME", caches.path()).arg("-c").arg(script).args(args)).out
}

/// The interpreter, to be given arguments; it runs in the repository's root.
///
/// # Panics
/// An environment that is not there.
pub fn python() -> Command {
    let home = root().join(".python");
    let program = std::env::var_os(VARIABLE).map_or_else(|| home.join("bin/python"), PathBuf::from);
    assert!(
        program.is_file(),
        "{} is missing: run `cargo xtask setup --python` (or `cargo xtask test`, which does), or name a Python that has {} \
         by {VARIABLE}",
        program.display(),
        "tests/peers/requirements.txt, torch, python/ and python/feed of this repository",
    );
    let mut command = Command::new(program);
    command.current_dir(root()).env_remove("PYTHONPATH").env_remove("PYTHONHOME");
    command.env("PYTHONPYCACHEPREFIX", home.join("pycache")).env("PYTHONIOENCODING", "utf-8");
    command.env("HF_HUB_OFFLINE", "1").env("HF_DATASETS_OFFLINE", "1").env("HF_HUB_DISABLE_TELEMETRY", "1");
    command.env("HF_DATASETS_DISABLE_PROGRESS_BARS", "1").env("OMP_NUM_THREADS", "1");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_sees_its_arguments_and_a_torch_that_computes() {
        let script = "import sys, torch; print(sys.argv[1], torch.arange(4).float().dot(torch.ones(4)).item())";
        assert_eq!(run(script, &["ü"]), "ü 6.0\n");
    }
}
