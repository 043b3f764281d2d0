//! Faults of the machine: reads that fail, files that change between two runs, threads and signals. None of them may become a
//! fault of an input, another row, or the end of a program without a word.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use med2e3_tests::bounded::{Bounds, run_within, run_within_to};
use med2e3_tests::fault::{Fault, Faults};
use med2e3_tests::program::{program, rounds, run, run_to};
use med2e3_tests::study::{files, prepare, study};
use med2e3_tests::tiny;
use serde_json::Value;

const EIO: i32 = 5;
const EMFILE: i32 = 24;
const ETIMEDOUT: i32 = 110;
const ESTALE: i32 = 116;

/// What a dataset consists of: everything but what is noted of inputs' times.
fn data(out: &Path) -> Vec<(String, Vec<u8>)> {
    files(out).into_iter().filter(|(name, _)| !name.starts_with("manifest/")).collect()
}

/// Inputs of the study of every kind, and an operation on each that can fail.
fn places(study: &Path) -> Vec<(PathBuf, &'static str)> {
    let case = study.join("M3D_Cap/ct_case");
    let [slices, packed, report] =
        ["000002/Series_2/3.jpeg", "000001/Series_1.nii.gz", "000004/text.txt"].map(|name| case.join(name));
    let names = ["M3D_Cap.json", "M3D_VQA_train.csv"].map(|name| study.join(name));
    let inputs = [slices, packed, report].into_iter().chain(names);
    inputs.flat_map(|path| [(path.clone(), "read"), (path, "open")]).collect()
}

#[test]
fn a_read_that_fails_once_changes_nothing() {
    let folder = study();
    let (study, out) = (folder.path().join("study"), folder.path().join("dataset"));
    let faults = Faults::build(folder.path());
    run_to(1, &mut prepare(&study, &out, &[]));
    let expected = data(&out);
    let numbers = [EIO, ESTALE, ETIMEDOUT, EMFILE];
    for (at, (prefix, operation)) in places(&study).iter().enumerate() {
        for round in 0..rounds(1, 4) {
            let number = numbers[(at + round) % 4];
            fs::remove_dir_all(&out).unwrap();
            let fault = Fault { operation, number, times: 1, first: 1, prefix };
            let mut command = prepare(&study, &out, &[]);
            let said = run(faults.with(&mut command, fault));
            // A manifest file that fails is asked for again by the person; all others by the program.
            if said.code == 2 {
                assert!(said.err.contains(prefix.file_name().unwrap().to_str().unwrap()), "{fault:?}: {}", said.err);
                run_to(1, &mut prepare(&study, &out, &[]));
            }
            assert!(data(&out) == expected, "{fault:?}: {}", said.err);
        }
    }
}

#[test]
fn a_read_that_goes_on_failing_stops_the_run_and_the_next_one_has_all_rows() {
    let folder = study();
    let (study, out) = (folder.path().join("study"), folder.path().join("dataset"));
    let faults = Faults::build(folder.path());
    run_to(1, &mut prepare(&study, &out, &[]));
    let expected = data(&out);
    for (prefix, operation) in places(&study).iter().filter(|(_, operation)| rounds(1, 2) == 2 || *operation == "read")
    {
        fs::remove_dir_all(&out).unwrap();
        let fault = Fault { operation, number: EIO, times: 1_000_000, first: 1, prefix };
        let mut command = prepare(&study, &out, &[]);
        let said = run_to(2, faults.with(&mut command, fault));
        let name = prefix.file_name().unwrap().to_str().unwrap();
        assert!(said.err.contains(name) && said.err.contains("os error 5"), "{fault:?}: {}", said.err);
        assert!(!out.join("dataset.json").exists(), "{fault:?}");
        run_to(1, &mut prepare(&study, &out, &[]));
        assert!(data(&out) == expected, "{fault:?}");
    }
}

#[test]
fn too_few_file_handles_never_set_an_input_aside() {
    let folder = study();
    let (study, out) = (folder.path().join("study"), folder.path().join("dataset"));
    run_to(1, &mut prepare(&study, &out, &[]));
    let expected = data(&out);
    for handles in [10, 14, 18, 24, 40] {
        fs::remove_dir_all(&out).unwrap();
        let command = prepare(&study, &out, &["engine.threads=4"]);
        let mut shell = Command::new("sh");
        shell.current_dir(command.get_current_dir().unwrap());
        shell.args(["-c", &format!("ulimit -n {handles}; exec \"$0\" \"$@\"")]);
        let said = run(shell.arg(command.get_program()).args(command.get_args()));
        assert!([1, 2].contains(&said.code), "{handles}: {}", said.err);
        if said.code == 2 {
            run_to(1, &mut prepare(&study, &out, &[]));
        }
        assert!(data(&out) == expected, "{handles}: {}", said.err);
    }
}

#[test]
fn a_bit_that_flips_in_a_working_file_changes_no_row() {
    let folder = study();
    let (study, out) = (folder.path().join("study"), folder.path().join("dataset"));
    run_to(1, &mut prepare(&study, &out, &[]));
    let (expected, sound) = (data(&out), files(&out));
    let working: Vec<&String> =
        sound.keys().filter(|name| name.starts_with("manifest/") || *name == "tokenizer.json").collect();
    assert!(working.len() >= 6, "{working:?}");
    for (number, name) in working.iter().enumerate() {
        for round in 0..rounds(2, 40) {
            let mut bytes = sound[*name].clone();
            if bytes.is_empty() {
                continue;
            }
            let at = (round * 7919 + bytes.len() / 3) % bytes.len();
            bytes[at] ^= 1 << ((round + number) % 8);
            fs::write(out.join(name), bytes).unwrap();
            // As a run that was stopped before its samples.
            fs::remove_file(out.join("dataset.json")).unwrap();
            fs::remove_dir_all(out.join("samples")).unwrap();
            run_to(1, &mut prepare(&study, &out, &[]));
            assert!(data(&out) == expected, "{name}, byte {at}");
        }
    }
}

#[test]
fn a_storm_of_signals_meets_no_thread_that_computes() {
    let folder = tempfile::tempdir().unwrap();
    let faults = Faults::build(folder.path());
    tiny::dataset(folder.path(), &[]);
    let losses = |name: &str, storm: bool| {
        let mut command = tiny::train(folder.path(), name, &["data.max_steps=60"]);
        if storm {
            faults.storm(&mut command);
        }
        run_within_to(&[0], Bounds { mib: 4000, seconds: 300 }, &mut command);
        let report = fs::read_to_string(folder.path().join(name).join("report.json")).unwrap();
        let report: Value = serde_json::from_str(&report).unwrap();
        report["steps"].as_array().unwrap().iter().map(|step| step["loss"].to_string()).collect::<Vec<_>>()
    };
    let calm = losses("calm", false);
    assert!(!calm.is_empty());
    for round in 0..rounds(1, 5) {
        assert_eq!(losses(&format!("storm{round}"), true), calm);
    }
}

#[test]
fn threads_that_the_system_refuses_are_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let faults = Faults::build(folder.path());
    tiny::dataset(folder.path(), &[]);
    let bounds = Bounds { mib: 2000, seconds: 120 };
    for most in 0..rounds(9, 16) {
        let out = folder.path().join(format!("dataset{most}"));
        let mut command = prepare(&folder.path().join("study"), &out, &["engine.threads=2"]);
        let prepared = run_within_to(&[1, 2], bounds, faults.threads(&mut command, most));
        let mut command = tiny::train(folder.path(), &format!("run{most}"), &["data.max_steps=1", "data.readers=2"]);
        let trained = run_within_to(&[0, 2], bounds, faults.threads(&mut command, most));
        for said in [prepared, trained] {
            assert!(said.code == 2 || most >= 3, "{most}: {}", said.err);
            assert!(said.code != 2 || said.err.contains("thread"), "{most}: {}", said.err);
        }
    }
}

#[test]
fn a_clock_before_1970_is_an_error() {
    let folder = study();
    let faults = Faults::build(folder.path());
    let (study, out) = (folder.path().join("study"), folder.path().join("dataset"));
    let said = run_within(Bounds { mib: 1000, seconds: 60 }, faults.early_clock(&mut prepare(&study, &out, &[])));
    assert!(said.code == 2 && said.err.contains("before 1970"), "{}", said.err);
    let said = run_within(
        Bounds { mib: 1000, seconds: 60 },
        faults.early_clock(program("med2e3").args(["export", "--checkpoint", "x", "--out", "y"])),
    );
    assert!(said.code == 2 && said.err.contains("before 1970"), "{}", said.err);
}
