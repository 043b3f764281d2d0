//! The script that checks and measures training on a GPU, run without one, so that it can't rot.

use std::fs;
use std::process::Command;

use med2e3_tests::program::{program, root, run};
use med2e3_tests::python::python;

fn script() -> Command {
    let mut command = Command::new(root().join("scripts/gpu-check.sh"));
    let python = python();
    command.current_dir(root()).env("PYTHON", python.get_program()).env("MED2E3_BIN", program("med2e3").get_program());
    for (name, value) in python.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

#[test]
fn every_part_runs_on_a_cpu_and_every_comparison_holds() {
    let folder = tempfile::tempdir().unwrap();
    let said = run(script().args(["--device", "cpu", "--sizes", "tiny"]).env("OUT", folder.path()));
    assert_eq!(said.code, 0, "{}\n{}", said.out, said.err);
    let parts = fs::read_to_string(folder.path().join("parts.tsv")).unwrap();
    let ended: Vec<&str> = parts.lines().filter(|line| line.split('\t').nth(1) == Some("0")).collect();
    assert_eq!(ended.len(), 11, "{parts}");
    for name in ["check", "parts", "full", "lora", "peer-eager", "peer-compiled", "trace"] {
        assert!(folder.path().join(format!("{name}.json")).is_file(), "{name}.json");
    }
    assert!(said.out.contains("full: peak memory over the planned one"), "{}", said.out);
    assert!(!said.out.contains("missed"), "{}", said.out);
}

/// The seconds that each part may take on a GPU, of the script's lines, and those of the whole script.
#[test]
fn the_parts_have_no_more_time_than_the_script() {
    let script = fs::read_to_string(root().join("scripts/gpu-check.sh")).unwrap();
    let seconds = |line: &str| {
        let words: Vec<&str> = line.split(' ').skip_while(|word| word.contains('=')).collect();
        let is_part = ["part", "step", "peer"].contains(words.first()?);
        if is_part { words.get(2)?.parse::<u32>().ok() } else { None }
    };
    let parts: Vec<u32> = script.lines().filter_map(seconds).collect();
    assert_eq!(parts.len(), 11);
    let limit = script.split("limit=").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    assert!(parts.iter().sum::<u32>() <= limit.parse().unwrap(), "{parts:?} of {limit}");
}

/// A program that ends with 1 at once: each of its parts is named, the others go on.
#[test]
fn a_part_that_fails_is_named_and_the_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let said = run(script()
        .args(["--device", "cpu", "--sizes", "tiny"])
        .env("OUT", folder.path())
        .env("MED2E3_BIN", "/bin/false")
        .env("PYTHON", "/bin/false"));
    assert_ne!(said.code, 0);
    let parts = fs::read_to_string(folder.path().join("parts.tsv")).unwrap();
    assert_eq!(parts.lines().count(), 11, "{parts}");
    assert!(parts.lines().all(|line| line.split('\t').nth(1) == Some("1")), "{parts}");
    let said = run(script().args(["--device", "tpu"]));
    assert_eq!((said.code, said.err.contains("usage")), (2, true));
}
