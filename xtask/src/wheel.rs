//! Wheels: what is fetched from the Python package registry, each in one version and with the hash of its one file, so that
//! nothing else is ever unpacked, whoever answers for the registry.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

/// One wheel for Linux x86_64.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wheel {
    /// `NAME==VERSION`.
    requirement: &'static str,
    sha256: &'static str,
}

impl Wheel {
    /// A wheel by `NAME==VERSION`, and the file's sha256.
    pub(crate) const fn pinned(requirement: &'static str, sha256: &'static str) -> Wheel {
        Wheel { requirement, sha256 }
    }

    fn name_and_version(&self) -> (&'static str, &'static str) {
        self.requirement.split_once("==").expect("a wheel has one version")
    }

    pub(crate) fn version(&self) -> &'static str {
        self.name_and_version().1
    }

    /// The folder in which pip notes that the wheel is installed.
    pub(crate) fn note(&self) -> String {
        let (name, version) = self.name_and_version();
        format!("{}-{version}.dist-info", name.replace('-', "_"))
    }
}

impl std::fmt::Display for Wheel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.requirement)
    }
}

/// A pip command for wheels of Linux x86_64, whose hashes pip checks; the list that it reads is written into `folder`.
///
/// `minor` is the Python that the wheels are for, 12 for Python 3.12: any Python 3 that has pip can fetch them, however old
/// or new it is.
pub(crate) fn pip(verb: &str, wheels: &[Wheel], minor: u32, folder: &Path) -> Result<Command> {
    let list = folder.join("requirements.txt");
    let line = |wheel: &Wheel| format!("{} --hash=sha256:{}\n", wheel.requirement, wheel.sha256);
    let text: String = wheels.iter().map(line).collect();
    fs::write(&list, text).with_context(|| format!("cannot write {}", list.display()))?;
    let mut command = Command::new("python3");
    command.args(["-m", "pip", verb, "--no-deps", "--only-binary=:all:", "--implementation=cp"]);
    command.arg(format!("--python-version=3.{minor}"));
    for glibc in ["2_28", "2_27", "2_25", "2_18", "2_17", "2_12"] {
        command.arg(format!("--platform=manylinux_{glibc}_x86_64"));
    }
    command.args(["--platform=manylinux2014_x86_64", "--disable-pip-version-check", "--no-input", "--require-hashes"]);
    command.arg("-r").arg(&list);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wheel_is_noted_under_its_own_version() {
        let wheel = Wheel::pinned("nvidia-cuda-runtime==13.0.96", "00");
        assert_eq!(wheel.note(), "nvidia_cuda_runtime-13.0.96.dist-info");
        assert_eq!(Wheel::pinned("torch==2.11.0", "00").version(), "2.11.0");
    }

    #[test]
    fn pip_is_told_the_hash_of_every_wheel() {
        let folder = std::env::temp_dir().join(format!("med2e3-wheels-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let command =
            pip("download", &[Wheel::pinned("a==1", "12"), Wheel::pinned("b==2", "34")], 11, &folder).unwrap();
        assert!(command.get_args().any(|word| word == "--require-hashes"));
        assert!(command.get_args().any(|word| word == "--python-version=3.11"));
        let list = fs::read_to_string(folder.join("requirements.txt")).unwrap();
        assert_eq!(list, "a==1 --hash=sha256:12\nb==2 --hash=sha256:34\n");
        fs::remove_dir_all(&folder).unwrap();
    }
}
