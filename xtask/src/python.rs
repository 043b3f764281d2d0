//! The Python of the tests, `.python/`: a virtual environment with what reads the products' files, every file by its hash
//! (`tests/peers/requirements.txt`), the packages of `python/` and `python/feed/`, and the torch whose libraries the trainer links.
//!
//! PyTorch publishes wheels for CUDA alone, whose Python half asks for CUDA's libraries when it is loaded. A stand-in of a
//! few kilobytes answers for them (`without_cuda.cpp`), so that no wheel of NVIDIA's, 2.5 GB of them, is fetched for tests.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;
use std::{env, fs};

use anyhow::{Context, Result};

use crate::command::run;
use crate::demo::sha256;
use crate::feed_wheel;
use crate::setup::{CUDA_LIBRARY, Libtorch, bytes_under, remove, setup};

/// The environment's folder in the repository.
pub(crate) const HOME: &str = ".python";
/// What is installed into it.
const REQUIREMENTS: &str = "tests/peers/requirements.txt";
/// Written last; says what the environment was made of.
const STAMP: &str = "made_of";
const STAND_IN: &str = include_str!("without_cuda.cpp");
/// The libraries that torch's Python half names and no CPU has: the first is the stand-in, the others are empty.
const ABSENT: [&str; 3] = ["libtorch_cuda.so", "libcudnn.so.9", "libcufile.so.0"];
/// Imported by every start of the environment's Python, so that the names are answered for before torch is loaded.
const LOAD_STAND_IN: &str = "\
import ctypes, pathlib

for name in (\"libtorch_cuda.so\", \"libcudnn.so.9\", \"libcufile.so.0\"):
    ctypes.CDLL(str(pathlib.Path(__file__).with_name(name)))
";
const IMPORTS: &str =
    "import datasets, duckdb, nibabel, pandas, polars, prometheus_client, pyarrow, torch, torchdata, transformers";

/// A Python 3 that has torch's wheel and the packages of the tests.
pub(crate) struct Python {
    program: String,
    /// The 12 of Python 3.12.
    minor: u32,
}

impl Python {
    /// `python3`, or another of the path where that is older or newer than what the tests' packages are built for.
    fn find() -> Result<Python> {
        let programs = ["python3", "python3.14", "python3.13", "python3.12", "python3.11"];
        let found = programs.iter().find_map(|program| {
            let minor = minor(program).filter(|minor| Libtorch::MINORS.contains(minor))?;
            Some(Python { program: program.to_string(), minor })
        });
        let other = minor("python3").map_or("none".into(), |minor| format!("Python 3.{minor}"));
        found.with_context(|| {
            format!(
                "the tests need Python 3.11 to 3.14 in the path, as `python3` or `python3.12`; `python3` is {other}"
            )
        })
    }

    /// The folder of an environment's packages.
    pub(crate) fn packages(&self, home: &Path) -> PathBuf {
        home.join(format!("lib/python3.{}/site-packages", self.minor))
    }

    /// pip, to be told what to install from where: without what the packages name as their own needs.
    pub(crate) fn pip(&self) -> Command {
        // pip of the machine installs: a venv's own would need a package that Debian keeps apart.
        let mut pip = Command::new(&self.program);
        pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", "--no-compile"]);
        pip.args(["--disable-pip-version-check", "--no-input", "--no-warn-script-location"]);
        pip.env("PIP_ROOT_USER_ACTION", "ignore");
        pip
    }
}

/// The 12 of Python 3.12, where the program runs and has pip.
pub(crate) fn minor(program: &str) -> Option<u32> {
    let ask = "import sys, pip; print(sys.version_info[1])";
    let output = Command::new(program).args(["-c", ask]).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok().filter(|_| output.status.success())
}

/// Makes the environment unless it is in place, and builds `python/feed` into it; libtorch is set up before, in the build for its
/// Python.
pub(crate) fn python(repository: &Path) -> Result<()> {
    let python = Python::find()?;
    environment(repository, &python)?;
    feed_wheel::install(repository, &python)
}

fn environment(repository: &Path, python: &Python) -> Result<()> {
    setup(repository, Libtorch::OfPython(python.minor))?;
    let home = repository.join(HOME);
    let requirements = repository.join(REQUIREMENTS);
    let made_of = made_of(repository, python, &requirements)?;
    if fs::read_to_string(home.join(STAMP)).is_ok_and(|text| text == made_of) {
        eprintln!("the Python of the tests is in place");
        return Ok(());
    }
    eprintln!("making the Python of the tests, Python 3.{}, in {} (download: 210 MB)", python.minor, home.display());
    let started = Instant::now();
    remove(&home)?;
    make(repository, python, &home, &requirements)
        .context("the Python of the tests was not made; run the command again, finished downloads are kept")?;
    fs::write(home.join(STAMP), made_of).with_context(|| format!("cannot write {}", home.join(STAMP).display()))?;
    let megabytes = bytes_under(&home)? / 1_000_000;
    eprintln!("the Python of the tests took {} s and {megabytes} MB", started.elapsed().as_secs());
    Ok(())
}

/// Everything that decides what the environment holds.
fn made_of(repository: &Path, python: &Python, requirements: &Path) -> Result<String> {
    let list = fs::read(requirements).with_context(|| format!("cannot read {}", requirements.display()))?;
    let has_cuda = repository.join(".libtorch").join(CUDA_LIBRARY).exists();
    let [list, stand_in] = [list.as_slice(), STAND_IN.as_bytes()].map(sha256);
    let place = repository.display();
    Ok(format!("Python 3.{}\nrequirements {list}\nstand-in {stand_in}\nCUDA {has_cuda}\n{place}\n", python.minor))
}

fn make(repository: &Path, python: &Python, home: &Path, requirements: &Path) -> Result<()> {
    run(Command::new(&python.program).args(["-m", "venv", "--without-pip"]).arg(home), &[0])?;
    let packages = python.packages(home);
    run(python.pip().args(["--require-hashes", "--target"]).arg(&packages).arg("-r").arg(requirements), &[0])?;

    let libtorch = repository.join(".libtorch");
    let mut paths = format!("{}\n{}\n", libtorch.display(), repository.join("python").display());
    if !libtorch.join(CUDA_LIBRARY).exists() {
        stand_in(home, &packages)?;
        paths += "import without_cuda\n";
    }
    let file = packages.join("med2e3_tests.pth");
    fs::write(&file, paths).with_context(|| format!("cannot write {}", file.display()))?;
    let mut check = Command::new(home.join("bin/python"));
    run(check.args(["-c", IMPORTS]).env_remove("PYTHONPATH").env("PYTHONPYCACHEPREFIX", home.join("pycache")), &[0])
        .map(|_| ())
        .context("its packages cannot be imported")
}

/// Compiles what answers for CUDA's libraries, and has every start of this Python load it.
fn stand_in(home: &Path, packages: &Path) -> Result<()> {
    let source = home.join("without_cuda.cpp");
    let nothing = home.join("nothing.cpp");
    for (path, text) in [(&source, STAND_IN), (&nothing, ""), (&packages.join("without_cuda.py"), LOAD_STAND_IN)] {
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    for (at, name) in ABSENT.iter().enumerate() {
        let mut compiler = Command::new(env::var("CXX").unwrap_or_else(|_| "c++".into()));
        compiler.args(["-std=c++17", "-O1", "-fPIC", "-shared"]).arg(format!("-Wl,-soname,{name}"));
        run(compiler.arg(if at == 0 { &source } else { &nothing }).arg("-o").arg(packages.join(name)), &[0])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_loaded_before_torch() {
        for name in ABSENT {
            assert!(LOAD_STAND_IN.contains(&format!("\"{name}\"")), "{name} is not loaded");
        }
    }

    #[test]
    fn every_requirement_has_one_version_and_a_hash() {
        let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(REQUIREMENTS);
        let list = fs::read_to_string(list).unwrap();
        let lines = list.replace(" \\\n", "");
        let requirements: Vec<&str> = lines.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(requirements.len() > 40);
        for line in requirements {
            let words: Vec<&str> = line.split_whitespace().collect();
            assert!(words[0].contains("=="), "{line}");
            assert!(words.len() > 1 && words[1..].iter().all(|word| word.starts_with("--hash=sha256:")), "{line}");
        }
    }

    #[test]
    fn a_program_that_is_no_python_has_no_version() {
        assert_eq!(minor("true"), None);
        assert_eq!(minor("no-such-program"), None);
    }
}
