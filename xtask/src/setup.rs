//! `setup`: libtorch into `.libtorch/`, from the wheel that PyTorch publishes.
//!
//! The folder appears whole or not at all: pip installs into a staging folder next to it, which is checked and then
//! renamed. What pip notes of a wheel (`NAME-VERSION.dist-info/RECORD`: each file with its size) is the stamp by which
//! the next run knows what is there. A run that was killed is simply repeated; pip keeps finished downloads.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::command::run;
use crate::python::minor;
use crate::wheel::{Wheel, pip};

/// libtorch is the same in all of them; its Python half is for one Python each.
const TORCH: [(u32, Wheel); 4] = [
    (11, torch("7aa2f9bbc6d4595ba72138026b2074be1233186150e9292865e04b7a63b8c67a")),
    (12, torch("0f68f4ac6d95d12e896c3b7a912b5871619542ec54d3649cf48cc1edd4dd2756")),
    (13, torch("cc89b9b173d9adfab59fd227f0ab5e5516d9a52b658ae41d64e59d2e55a418db")),
    (14, torch("4dc8b3809469b6c30b411bb8c4cad3828efd26236153d9beb6a3ec500f211a60")),
];

const fn torch(sha256: &'static str) -> Wheel {
    Wheel::pinned("torch==2.11.0", sha256)
}

/// What libtorch needs on a CPU: its library links cudart and cupti in any case.
const CPU_WHEELS: [Wheel; 2] = [
    Wheel::pinned("nvidia-cuda-runtime==13.0.96", "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548"),
    Wheel::pinned("nvidia-cuda-cupti==13.0.85", "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8"),
];

/// What `libtorch_cuda.so` loads besides, in the versions that torch 2.11.0 names as its own.
const CUDA_WHEELS: [Wheel; 12] = [
    Wheel::pinned("nvidia-cublas==13.1.0.3", "ee8722c1f0145ab246bccb9e452153b5e0515fd094c3678df50b2a0888b8b171"),
    Wheel::pinned("nvidia-cuda-nvrtc==13.0.88", "ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575"),
    Wheel::pinned("nvidia-cudnn-cu13==9.19.0.56", "d20e1734305e9d68889a96e3f35094d733ff1f83932ebe462753973e53a572bf"),
    Wheel::pinned("nvidia-cufft==12.0.0.61", "6c44f692dce8fd5ffd3e3df134b6cdb9c2f72d99cf40b62c32dde45eea9ddad3"),
    Wheel::pinned("nvidia-cufile==1.15.1.6", "08a3ecefae5a01c7f5117351c64f17c7c62efa5fffdbe24fc7d298da19cd0b44"),
    Wheel::pinned("nvidia-curand==10.4.0.35", "1aee33a5da6e1db083fe2b90082def8915f30f3248d5896bcec36a579d941bfc"),
    Wheel::pinned("nvidia-cusolver==12.0.4.66", "0a759da5dea5c0ea10fd307de75cdeb59e7ea4fcb8add0924859b944babf1112"),
    Wheel::pinned("nvidia-cusparse==12.6.3.3", "2b3c89c88d01ee0e477cb7f82ef60a11a4bcd57b6b87c33f789350b59759360b"),
    Wheel::pinned("nvidia-cusparselt-cu13==0.8.0", "25e30a8a7323935d4ad0340b95a0b69926eee755767e8e0b1cf8dd85b197d3fd"),
    Wheel::pinned("nvidia-nccl-cu13==2.28.9", "e4553a30f34195f3fa1da02a6da3d6337d28f2003943aa0a3d247bbc25fefc42"),
    Wheel::pinned("nvidia-nvjitlink==13.0.88", "13a74f429e23b921c1109976abefacc69835f2f433ebd323d3946e11d804e47b"),
    Wheel::pinned("nvidia-nvshmem-cu13==3.4.5", "290f0a2ee94c9f3687a02502f3b9299a9f9fe826e6d0287ee18482e78d495b80"),
];

/// CUDA's half of libtorch.
pub(crate) const CUDA_LIBRARY: &str = "torch/lib/libtorch_cuda.so";

/// Libraries of the torch wheel that a CPU run never opens: 510 MB of its 1.2 GB.
const CUDA_LIBRARIES: [&str; 3] = [CUDA_LIBRARY, "torch/lib/libtorch_cuda_linalg.so", "torch/lib/libtorch_nvshmem.so"];

/// Libraries that torch's Python half opens and no program here does.
const PYTHON_LIBRARIES: [&str; 2] = ["torch/lib/libtorch_python.so", "torch/lib/libc10_cuda.so"];

/// The header that includes all others.
const HEADER: &str = "torch/include/torch/csrc/api/include/torch/torch.h";

/// What of libtorch is wanted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Libtorch {
    /// Its CPU half, from the wheel of whichever Python.
    Cpu,
    /// CUDA's too.
    Cuda,
    /// From the wheel of Python 3.x, whose Python half the tests import; with CUDA's half where that was there.
    OfPython(u32),
}

impl Libtorch {
    /// The Pythons that have a wheel, 12 for Python 3.12.
    pub(crate) const MINORS: [u32; 4] = [TORCH[0].0, TORCH[1].0, TORCH[2].0, TORCH[3].0];

    /// The Python whose wheel is fetched: the one stated, the machine's, or, as for C++ alone any serves, 12.
    fn minor(self) -> u32 {
        match self {
            Libtorch::OfPython(minor) => minor,
            _ => minor("python3").filter(|minor| Libtorch::MINORS.contains(minor)).unwrap_or(12),
        }
    }
}

/// Installs libtorch unless it is in place.
pub(crate) fn setup(repository: &Path, wanted: Libtorch) -> Result<()> {
    check_tools()?;
    let home = repository.join(".libtorch");
    let cuda = match wanted {
        Libtorch::Cpu => false,
        Libtorch::Cuda => true,
        Libtorch::OfPython(_) => home.join(CUDA_LIBRARY).exists(),
    };
    let minor = wanted.minor();
    let torch = TORCH.iter().find(|(of, _)| *of == minor).context("torch has no wheel for this Python")?.1;
    let (cuda_wheels, with) = if cuda { (&CUDA_WHEELS[..], " with CUDA") } else { (&[][..], "") };
    let wheels = [&[torch], &CPU_WHEELS[..], cuda_wheels].concat();
    let name = format!("libtorch {}{with}", torch.version());
    let not_needed = match wanted {
        Libtorch::Cpu => [&CUDA_LIBRARIES[..], &PYTHON_LIBRARIES].concat(),
        _ if cuda => Vec::new(),
        _ => CUDA_LIBRARIES.to_vec(),
    };
    let mut checked = check_install(&home, &wheels, &not_needed);
    if let (Ok(()), Libtorch::OfPython(minor)) = (&checked, wanted) {
        checked = check_python(&home, minor);
    }
    match checked {
        Ok(()) => eprintln!("{name} is in place"),
        Err(reason) => {
            if home.exists() {
                eprintln!("{} is replaced: {reason:#}", home.display());
            }
            let download = if cuda { "2.5 GB" } else { "550 MB" };
            eprintln!("installing {name} into {} (download: {download})", home.display());
            install(&home, &wheels, minor, cuda)?;
            let megabytes = bytes_under(&home)? / 1_000_000;
            eprintln!("{name} is installed: {megabytes} MB in {}", home.display());
        }
    }
    Ok(())
}

/// Whether the installed wheel is the one of this Python.
fn check_python(home: &Path, minor: u32) -> Result<()> {
    let module = home.join(format!("torch/_C.cpython-3{minor}-x86_64-linux-gnu.so"));
    ensure!(module.exists(), "its Python half is not for Python 3.{minor}");
    Ok(())
}

fn install(home: &Path, wheels: &[Wheel], minor: u32, cuda: bool) -> Result<()> {
    let staging = home.with_file_name(".libtorch.part");
    remove(&staging)?;
    let [installed, temporary, old] = ["installed", "temporary", "old"].map(|name| staging.join(name));
    fs::create_dir_all(&temporary).with_context(|| format!("cannot create {}", temporary.display()))?;

    // One call for all: a second `--target` call would not merge the `nvidia` folder. pip unpacks into its temporary
    // folder first, which is best on the same file system as the target.
    let mut command = pip("install", wheels, minor, &staging)?;
    command.args(["--no-compile", "--no-warn-script-location", "--target"]).arg(&installed);
    command.env("TMPDIR", &temporary).env("PIP_ROOT_USER_ACTION", "ignore");
    run(&mut command, &[0])
        .context("libtorch was not installed; run the command again, finished downloads are kept")?;

    if !cuda {
        for library in CUDA_LIBRARIES {
            remove(&installed.join(library))?;
        }
    }
    check_install(&installed, wheels, if cuda { &[] } else { &CUDA_LIBRARIES })?;
    if home.exists() {
        rename(home, &old)?;
    }
    rename(&installed, home)?;
    remove(&staging)
}

/// Names every tool that is missing, each with its remedy, rather than the first.
fn check_tools() -> Result<()> {
    ensure!(cfg!(all(target_os = "linux", target_arch = "x86_64")), "med2e3 runs on Linux x86_64 only");
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".into());
    #[rustfmt::skip]
    let tools: [(&str, &[&str], &str); 4] = [
        ("the Rust compiler", &["rustc", "--version"], "install Rust as https://rustup.rs says"),
        ("a C++ compiler", &[&compiler, "--version"], "run `sudo apt-get install g++`"),
        ("Python 3", &["python3", "--version"], "run `sudo apt-get install python3`"),
        ("pip", &["python3", "-m", "pip", "--version"], "run `sudo apt-get install python3-pip`"),
    ];
    let missing: Vec<String> = tools
        .iter()
        .filter(|(_, command, _)| !answers(command))
        .map(|(name, command, remedy)| format!("{name} is missing (`{}` does not run): {remedy}", command.join(" ")))
        .collect();
    ensure!(missing.is_empty(), "{}", missing.join("\n       "));
    Ok(())
}

fn answers(command: &[&str]) -> bool {
    let mut program = Command::new(command[0]);
    program.args(&command[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    program.status().is_ok_and(|status| status.success())
}

/// Compares a folder with the record of each wheel: the header and the shared libraries that are needed must have the size noted
/// there.
fn check_install(home: &Path, wheels: &[Wheel], not_needed: &[&str]) -> Result<()> {
    let folders = names(home)?;
    for wheel in wheels {
        let folder = folders.iter().find(|name| **name == wheel.note());
        let folder = folder.with_context(|| format!("{wheel} is not in it"))?;
        let record = home.join(folder).join("RECORD");
        let record = fs::read_to_string(&record).with_context(|| format!("cannot read {}", record.display()))?;
        for (path, expected) in key_files(&record, not_needed) {
            let found = fs::metadata(home.join(path)).map(|file| file.len()).unwrap_or(0);
            ensure!(found == expected, "{path} has {found} bytes, {expected} expected");
        }
    }
    let header = home.join(HEADER);
    ensure!(header.exists(), "{} is missing", header.display());
    Ok(())
}

/// The files of a wheel's record that a build or a run opens, with their sizes.
fn key_files<'a>(record: &'a str, not_needed: &'a [&str]) -> impl Iterator<Item = (&'a str, u64)> {
    record.lines().filter_map(move |line| {
        let mut fields = line.split(',');
        let (path, size) = (fields.next()?, fields.nth(1)?.parse().ok()?);
        let (folder, file) = path.rsplit_once('/')?;
        let library = folder.ends_with("/lib") && file.contains(".so") && !not_needed.contains(&path);
        (library || path == HEADER).then_some((path, size))
    })
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

pub(crate) fn bytes_under(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for name in names(folder)? {
        let path = folder.join(name);
        let file = fs::symlink_metadata(&path).with_context(|| format!("cannot read {}", path.display()))?;
        bytes += if file.is_dir() { bytes_under(&path)? } else { file.len() };
    }
    Ok(bytes)
}

/// Removes a file or a folder; absent is fine.
pub(crate) fn remove(path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(file) if file.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    };
    removed.with_context(|| format!("cannot remove {}", path.display()))
}

/// Renames within a file system, so that the target appears at once.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).with_context(|| format!("cannot rename {} to {}", from.display(), to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = "\
torch/lib/libtorch_cpu.so,sha256=a,9
torch/lib/libtorch_cuda.so,sha256=b,7
torch/_C.so,sha256=c,3
torch/include/torch/csrc/api/include/torch/torch.h,sha256=d,4
torch-2.11.0.dist-info/RECORD,,
";

    #[test]
    fn libraries_and_header_are_checked() {
        let cpu: Vec<_> = key_files(RECORD, &CUDA_LIBRARIES).collect();
        assert_eq!(cpu, [("torch/lib/libtorch_cpu.so", 9), (HEADER, 4)]);
        assert_eq!(key_files(RECORD, &[]).count(), 3);
    }

    #[test]
    fn an_install_that_lost_bytes_is_found() {
        let home = std::env::temp_dir().join(format!("med2e3-setup-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            let path = home.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("torch-2.11.0.dist-info/RECORD", RECORD);
        write("torch/lib/libtorch_cpu.so", "123456789");
        write(HEADER, "1234");
        check_install(&home, &[TORCH[0].1], &CUDA_LIBRARIES).unwrap();

        write("torch/lib/libtorch_cpu.so", "1234");
        let error = check_install(&home, &[TORCH[0].1], &CUDA_LIBRARIES).unwrap_err().to_string();
        assert_eq!(error, "torch/lib/libtorch_cpu.so has 4 bytes, 9 expected");
        assert!(check_install(&home, &CPU_WHEELS, &CUDA_LIBRARIES).unwrap_err().to_string().ends_with("is not in it"));
        assert!(check_python(&home, 11).unwrap_err().to_string().ends_with("not for Python 3.11"));
        remove(&home).unwrap();
        assert!(check_install(&home, &CPU_WHEELS, &CUDA_LIBRARIES).is_err());
    }
}
