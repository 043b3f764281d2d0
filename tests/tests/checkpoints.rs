//! Checkpoints of `med2e3 train` from the outside: killed, told to stop, on a full disk, resumed in another way.

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use med2e3_tests::fault::{Fault, Faults};
use med2e3_tests::program::{program, rounds, run_to};
use med2e3_tests::tiny::{dataset, train};
use serde_json::Value;

/// Everything that is drawn.
const DRAWS: [&str; 3] = ["step.augmentation=m3d", "data.order={ group_by_volume = 2 }", "step.batch=4"];

/// A run of so many steps, with all draws.
fn drawn(folder: &Path, out: &str, steps: u64, more: &[&str]) -> Command {
    let steps = format!("data.max_steps={steps}");
    train(folder, out, &[&DRAWS[..], &["data.epochs=1000000", &steps], more].concat())
}

/// Files of the last step of a run, by which runs are compared.
fn weights(run: &Path, step: u64) -> Vec<Vec<u8>> {
    let step = run.join(format!("step-{step}"));
    let files = ["llm/model.safetensors", "vision2d_model/model.safetensors", "state/optimizer.safetensors"];
    files.map(|file| fs::read(step.join(file)).unwrap()).into()
}

fn losses(run: &Path) -> Vec<f64> {
    let report: Value = serde_json::from_str(&fs::read_to_string(run.join("report.json")).unwrap()).unwrap();
    report["steps"].as_array().unwrap().iter().map(|step| step["loss"].as_f64().unwrap()).collect()
}

fn steps(run: &Path) -> Vec<u64> {
    let names = fs::read_dir(run).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut steps: Vec<u64> = names.filter_map(|name| name.strip_prefix("step-")?.parse().ok()).collect();
    steps.sort_unstable();
    steps
}

/// Starts a command: the lines of its standard error as they come, and a thread that takes its standard output, so that it never
/// waits for a reader. Signals that this test was started to ignore, as by `nohup`, are not ignored by it.
fn started(command: &mut Command) -> (Child, impl Iterator<Item = String> + use<>, JoinHandle<Vec<u8>>) {
    let mut own = Command::new("env");
    own.args(["--default-signal=HUP,INT,TERM"]).arg(command.get_program()).args(command.get_args());
    own.current_dir(command.get_current_dir().unwrap()).env_remove("COLUMNS");
    let mut child = own.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut stdout = child.stdout.take().unwrap();
    let out = thread::spawn(move || {
        let mut bytes = Vec::new();
        stdout.read_to_end(&mut bytes).unwrap();
        bytes
    });
    (child, lines, out)
}

fn send(child: &Child, signal: &str) {
    run_to(0, Command::new("kill").args([signal, &child.id().to_string()]));
}

/// The step that a line announces as written.
fn written(line: &str) -> Option<u64> {
    line.strip_prefix("checkpoint step-")?.split_once(" is written")?.0.parse().ok()
}

#[test]
fn a_killed_run_has_the_last_announced_checkpoint_and_ends_like_an_unbroken_one() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dataset(folder, &[]);
    let kills = rounds(12, 200) as u64;
    let total = 12 * kills;
    let often = ["checkpoint.every_steps=1", "checkpoint.keep=2"];
    let (mut announced, mut steps_done) = (0, 0);
    for kill in 0..kills {
        let (mut child, lines, _) = started(drawn(folder, "killed", total, &often).arg("--resume"));
        // Each kill at another place of a step: a few checkpoints later, and then after a fraction of one.
        let (mut after, mut resumed) = (1 + kill % 3, None);
        for line in lines {
            if let Some(rest) = line.strip_prefix("goes on from ") {
                let step = rest.split_once("behind step ").unwrap().1.split_once(' ').unwrap().0;
                resumed = step.parse::<u64>().ok();
            }
            let Some(step) = written(&line) else { continue };
            (announced, after) = (step, after - 1);
            if after == 0 {
                break;
            }
        }
        assert!(resumed.unwrap_or(0) >= steps_done, "{resumed:?} of {steps_done}");
        thread::sleep(Duration::from_micros(kill * 7919 % 60_000));
        child.kill().unwrap();
        child.wait().unwrap();
        steps_done = announced;
    }
    assert!(*steps(&folder.join("killed")).last().unwrap() >= announced && announced >= kills);
    run_to(0, &mut drawn(folder, "whole", total, &[]));
    run_to(0, drawn(folder, "killed", total, &[]).arg("--resume"));
    assert!(losses(&folder.join("whole")) == losses(&folder.join("killed")));
    assert!(weights(&folder.join("whole"), total) == weights(&folder.join("killed"), total));
}

#[test]
fn a_run_that_is_told_to_stop_saves_and_goes_on_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dataset(folder, &[]);
    let without = ["checkpoint.every_steps=1000000"];
    run_to(0, &mut drawn(folder, "whole", 300, &without));
    for signal in ["-TERM", "-INT", "-HUP"] {
        let out = format!("stopped{signal}");
        let (mut child, lines, out_bytes) = started(&mut drawn(folder, &out, 300, &["checkpoint.every_steps=3"]));
        let mut said = Vec::new();
        for line in lines {
            if written(&line) == Some(3) {
                send(&child, signal);
            }
            said.push(line);
        }
        assert_eq!(child.wait().unwrap().code(), Some(0), "{said:?}");
        assert!(said.iter().any(|line| line.contains("told to stop")), "{said:?}");
        let stopped: Value = serde_json::from_slice(&out_bytes.join().unwrap()).unwrap();
        let step = stopped["stopped_after"].as_u64().unwrap();
        assert!((3..300).contains(&step) && stopped["steps"] == 300, "{stopped}");
        assert_eq!(steps(&folder.join(&out)).last(), Some(&step));
        let said = run_to(0, program("med2e3").arg("runs").arg(folder.join(&out)));
        assert!(said.out.contains("stopped") && said.out.contains(&format!("{step}/300")), "{}", said.out);
        // With other readers, another depth, another interval.
        let more = ["data.readers=2", "data.depth=3", "checkpoint.every_steps=7"];
        let said = run_to(0, drawn(folder, &out, 300, &more).arg("--resume"));
        assert!(said.err.contains(&format!("behind step {step} of 300")), "{}", said.err);
        assert!(said.err.contains("note: data.readers is ") && said.err.contains(" there, 2 here"), "{}", said.err);
        assert!(losses(&folder.join("whole")) == losses(&folder.join(&out)), "{signal}");
        assert!(weights(&folder.join("whole"), 300) == weights(&folder.join(&out), 300), "{signal}");
    }
}

#[test]
fn a_second_signal_ends_a_run_at_once_and_an_ignored_one_does_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dataset(folder, &[]);
    // Sent at once behind the first; now and then the run has ended by the first before the second comes.
    let is_ended_at_once = |attempt: usize| {
        let out = format!("run-{attempt}");
        let (mut child, mut lines, _) = started(&mut drawn(folder, &out, 1_000_000, &["checkpoint.every_steps=3"]));
        assert!(lines.any(|line| written(&line).is_some()));
        let both = format!("kill -INT {0}; kill -TERM {0}", child.id());
        run_to(0, Command::new("sh").args(["-c", &both]));
        let said: Vec<String> = lines.collect();
        assert!(said.iter().any(|line| line.contains("told to stop")), "{said:?}");
        let ended = child.wait().unwrap().code();
        assert!(ended.is_none() || ended == Some(0), "{ended:?} {said:?}");
        ended.is_none()
    };
    assert!((0..30).any(is_ended_at_once));

    let mut command = drawn(folder, "ignored", 6, &[]);
    let program = command.get_program().to_owned();
    let given: Vec<_> = command.get_args().map(|arg| arg.to_owned()).collect();
    let mut shell = Command::new("sh");
    shell.current_dir(command.current_dir(med2e3_tests::program::root()).get_current_dir().unwrap());
    shell.args(["-c", "trap '' HUP; exec \"$0\" \"$@\""]).arg(program).args(given);
    let (mut child, lines, _) = started(&mut shell);
    for line in lines {
        if written(&line).is_some() {
            let _ = Command::new("kill").args(["-HUP", &child.id().to_string()]).output();
        }
        assert!(!line.contains("told to stop"), "{line}");
    }
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(steps(&folder.join("ignored")), [3, 6]);
}

#[test]
fn the_newest_checkpoints_stay_and_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dataset(folder, &[]);
    run_to(0, &mut train(folder, "run", &["checkpoint.every_steps=1", "checkpoint.keep=2"]));
    assert_eq!(steps(&folder.join("run")), [5, 6]);
    assert_eq!(fs::read_to_string(folder.join("run/latest")).unwrap(), "step-6\n");
    let mut list = program("med2e3");
    let runs: Value = serde_json::from_str(&run_to(0, list.args(["runs", "--json"]).arg(folder)).out).unwrap();
    let run = &runs.as_array().unwrap()[0];
    assert!(run["state"] == "finished" && run["step"] == 6 && run["steps"] == 6 && run["checkpoint"] == 6, "{runs}");
    assert!(run["name"] == "pretrain" && run["loss"].is_f64() && run["bytes"].as_u64().unwrap() > 1000, "{runs}");
    // By time alone: each step is later than so few minutes.
    run_to(0, &mut train(folder, "often", &["checkpoint.every_steps=1000", "checkpoint.every_minutes=1e-9"]));
    let often = steps(&folder.join("often"));
    assert!(often.len() > 1 && often.last() == Some(&6), "{often:?}");
    for (key, found) in [("checkpoint.keep=0", "found 0"), ("checkpoint.every_minutes=-1", "found -1")] {
        let said = run_to(2, &mut train(folder, "other", &[key]));
        assert!(said.err.contains(key.split_once('=').unwrap().0) && said.err.contains(found), "{}", said.err);
    }
}

#[test]
fn a_checkpoint_that_can_not_be_written_is_tried_again_and_costs_no_step() {
    const ENOSPC: i32 = 28;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dataset(folder, &[]);
    let faults = Faults::build(folder);
    run_to(0, &mut train(folder, "whole", &[]));
    // Of the first one a file or two are refused, for two threads write.
    let every = ["checkpoint.every_steps=2"];
    let prefix = folder.join("run/step-");
    let fault = |times| Fault { operation: "write", number: ENOSPC, times, first: 1, prefix: &prefix };
    let said = run_to(0, faults.with(&mut train(folder, "run", &every), fault(2)));
    assert!((1..=2).contains(&said.err.matches("is not written").count()), "{}", said.err);
    assert!(said.err.contains("step-2 is not written") && said.err.contains("the disk is full"), "{}", said.err);
    assert!(steps(&folder.join("run")).ends_with(&[6]));
    assert!(weights(&folder.join("whole"), 6) == weights(&folder.join("run"), 6));

    // The log too: its lines wait, and stand in their order once there is room.
    let log = folder.join("logged/train.jsonl");
    let fault = |times| Fault { operation: "write", number: ENOSPC, times, first: 2, prefix: &log };
    let said = run_to(0, faults.with(&mut train(folder, "logged", &every), fault(3)));
    assert!(
        said.err.contains("train.jsonl: write failed, the disk is full") && said.err.contains("is whole again"),
        "{}",
        said.err
    );
    assert!(said.err.contains("step-2 is not written"), "{}", said.err);
    let text = |run: &str| fs::read_to_string(folder.join(run).join("train.jsonl")).unwrap();
    let of = |run: &str| -> Vec<(Value, Value)> {
        let line = |line: &str| -> Value { serde_json::from_str(line).unwrap() };
        text(run).lines().map(line).map(|line| (line["step"].clone(), line["loss"].clone())).collect()
    };
    assert_eq!(of("logged"), of("whole"));

    // A disk that stays full ends the run after the stated number, and leaves what was whole.
    fs::remove_dir_all(folder.join("run")).unwrap();
    run_to(0, &mut train(folder, "run", &["data.max_steps=2", "checkpoint.every_steps=2"]));
    let more = ["checkpoint.every_steps=1", "checkpoint.max_failed=2", "data.max_steps=1000", "data.epochs=1000"];
    let fault = |times| Fault { operation: "write", number: ENOSPC, times, first: 1, prefix: &prefix };
    let said = run_to(2, faults.with(train(folder, "run", &more).arg("--resume"), fault(1_000_000)));
    assert!(said.err.contains("3 checkpoints in a row could not be written"), "{}", said.err);
    assert!(said.err.contains("the checkpoint step-2 is kept"), "{}", said.err);
    assert_eq!(steps(&folder.join("run")), [2]);
    run_to(0, train(folder, "run", &every).arg("--resume"));
    assert!(losses(&folder.join("run")).len() == 6);
}

#[test]
fn data_that_fails_mid_run_costs_no_finished_step() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dataset(folder, &[]);
    let volumes = folder.join("dataset/volumes");
    // Bytes of every shard's middle are changed once the run is known to go: what fails is a page, and its row is named.
    let shard = fs::read_dir(&volumes).unwrap().map(|entry| entry.unwrap().path()).min().unwrap();
    let whole = fs::read(&shard).unwrap();
    let (mut child, lines, _) = started(&mut drawn(folder, "run", 1_000_000, &["checkpoint.every_steps=1000000"]));
    thread::sleep(Duration::from_secs(3));
    let file = OpenOptions::new().write(true).open(&shard).unwrap();
    let part = whole.len() / 8;
    file.write_all_at(&vec![0xff; 6 * part], part as u64).unwrap();
    let said: Vec<String> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(2), "{said:?}");
    let name = shard.file_name().unwrap().to_str().unwrap();
    assert!(said.iter().any(|line| line.contains(name)), "{said:?}");
    let saved = *steps(&folder.join("run")).last().unwrap_or_else(|| panic!("{said:?}"));
    file.write_all_at(&whole, 0).unwrap();
    let said = run_to(0, drawn(folder, "run", saved + 2, &[]).arg("--resume"));
    assert!(said.err.contains(&format!("behind step {saved} of")), "{}", said.err);
}

#[test]
fn another_cut_of_a_step_changes_a_resumed_run_by_rounding_alone() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dataset(folder, &[]);
    let plain = ["data.max_steps=6", "step.batch=4", "model.start.fresh.variant.score_dropout=0.0"];
    run_to(0, &mut train(folder, "whole", &plain));
    run_to(0, &mut train(folder, "run", &plain));
    fs::remove_dir_all(folder.join("run/step-6")).unwrap();
    let other = [&plain[..], &["step.micro_batch={ tokens = 500, volumes = 1 }", "step.recompute=full"]].concat();
    let said = run_to(0, train(folder, "run", &other).arg("--resume"));
    assert!(said.err.contains("step.micro_batch") && said.err.contains("step.recompute"), "{}", said.err);
    let [whole, run] = ["whole", "run"].map(|out| losses(&folder.join(out)));
    assert_eq!(whole.len(), run.len());
    for (whole, run) in whole.iter().zip(&run) {
        assert!((whole - run).abs() <= 1e-5 * whole, "{whole} {run}");
    }
}

#[test]
fn keys_of_earlier_versions_are_read_and_said() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dataset(folder, &[]);
    let said = run_to(0, &mut train(folder, "run", &["data.batch_size=3", "checkpoint_every=2"]));
    assert!(said.err.contains("data.batch_size of earlier versions is read as step.batch"), "{}", said.err);
    assert_eq!(steps(&folder.join("run")), [2, 4, 6]);
    let text = fs::read_to_string(folder.join("run/train.toml")).unwrap();
    assert!(text.contains("batch = 3") && text.contains("every_steps = 2"), "{text}");
    // The folder of an earlier version's run is gone on from.
    let earlier = text.replace("batch = 3\n", "").replace("[data]\n", "[data]\nbatch_size = 3\n");
    assert!(earlier != text);
    fs::write(folder.join("run/train.toml"), earlier).unwrap();
    run_to(0, train(folder, "run", &["step.batch=3", "checkpoint.every_steps=2", "data.max_steps=8"]).arg("--resume"));
}

#[test]
fn what_auto_came_to_is_kept_by_a_run_that_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dataset(folder, &[]);
    let auto = ["step.micro_batch=\"auto\""];
    run_to(0, &mut train(folder, "run", &auto));
    let noted = folder.join("run/run.json");
    let mut known: Value = serde_json::from_str(&fs::read_to_string(&noted).unwrap()).unwrap();
    assert!(known["micro_batch"]["tokens"].as_u64() > Some(0) && known["micro_batch"]["volumes"].as_u64() > Some(0));
    // As if the device had had less memory when the run began.
    known["micro_batch"] = serde_json::json!({ "tokens": 160, "volumes": 1 });
    fs::write(&noted, known.to_string()).unwrap();
    for gone in ["run/step-6", "run/report.json"] {
        let path = folder.join(gone);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap()
        } else {
            fs::remove_file(path).unwrap()
        };
    }
    let said = run_to(0, train(folder, "run", &auto).arg("--resume")).err;
    assert!(said.contains("at once: at most 160 tokens and 1 volumes"), "{said}");
    let again: Value = serde_json::from_str(&fs::read_to_string(&noted).unwrap()).unwrap();
    assert_eq!(again, known);
}

/// Changes a bit of the stored voxels of the first `volumes` volumes of a dataset, where its index of places says that they are.
fn damage(dataset: &Path, volumes: usize) {
    const RECORD: usize = 44;
    let places = fs::read(dataset.join("feed/places.bin")).unwrap();
    let (line, records) = places.split_at(1 + places.iter().position(|byte| *byte == b'\n').unwrap());
    let stated: Value = serde_json::from_slice(line).unwrap();
    assert_eq!(records.len(), RECORD * stated["places"].as_u64().unwrap() as usize);
    for record in records.chunks_exact(RECORD).take(volumes) {
        let shard = u32::from_le_bytes(record[16..20].try_into().unwrap());
        let offset = u64::from_le_bytes(record[28..36].try_into().unwrap());
        let path = dataset.join(format!("volumes/{shard:05}.parquet"));
        let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, offset).unwrap();
        file.write_all_at(&[byte[0] ^ 32], offset).unwrap();
    }
}

#[test]
fn a_resumed_run_goes_without_the_same_bad_samples() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dataset(folder, &[]);
    damage(&folder.join("dataset"), 4);
    let rejects = |out: &str| fs::read_to_string(folder.join(out).join("feed-rejects.jsonl")).unwrap_or_default();
    // Without the word the run fails, and says which volume it is.
    let said = run_to(2, &mut drawn(folder, "fails", 12, &[]));
    assert!(said.err.contains("row ") && said.err.contains("volume ") && said.err.contains("xxh3"), "{}", said.err);
    assert_eq!(rejects("fails"), "");

    let skip = ["data.on_bad_sample=skip", "data.max_bad=100", "checkpoint.every_steps=5"];
    run_to(0, &mut drawn(folder, "whole", 12, &skip));
    let lines: Vec<Value> = rejects("whole").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!lines.is_empty());
    for line in &lines {
        assert!(line["shard"].as_str().unwrap().contains("volumes/") && line["row"].is_u64() && line["step"].is_u64());
        assert!(line["reason"].as_str().unwrap().contains("xxh3"), "{line}");
    }
    let samples: std::collections::BTreeSet<&str> = lines.iter().map(|line| line["sample"].as_str().unwrap()).collect();
    assert_eq!(samples.len(), lines.len());
    let log = fs::read_to_string(folder.join("whole/train.jsonl")).unwrap();
    let counted: u64 =
        log.lines().filter_map(|line| serde_json::from_str::<Value>(line).unwrap()["bad_samples"].as_u64()).sum();
    assert!(counted >= lines.len() as u64, "{counted}");

    // Killed behind step 5, and gone on from with other readers.
    run_to(0, &mut drawn(folder, "run", 12, &skip));
    for later in ["run/step-10", "run/step-12"] {
        fs::remove_dir_all(folder.join(later)).unwrap();
    }
    let more = [&skip[..], &["data.readers=3", "data.depth=1"]].concat();
    let said = run_to(0, drawn(folder, "run", 12, &more).arg("--resume"));
    assert!(said.err.contains("behind step 5 of 12"), "{}", said.err);
    // Ended by the limit at one sample after the other, and gone on from with a larger one.
    for most in 0..lines.len() {
        let few = format!("data.max_bad={most}");
        let limited = ["data.on_bad_sample=skip", few.as_str(), "checkpoint.every_steps=5"];
        let said = run_to(2, drawn(folder, "limited", 12, &limited).arg("--resume"));
        assert!(said.err.contains("data.max_bad") && said.err.contains("row "), "{}", said.err);
    }
    run_to(0, drawn(folder, "limited", 12, &skip).arg("--resume"));
    // One of the steps has no sample that reads, and so no loss.
    let lines = |out: &str| -> Vec<Value> {
        let log = fs::read_to_string(folder.join(out).join("train.jsonl")).unwrap();
        let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines
            .map(|line| serde_json::json!([line["step"], line["loss"], line["skipped"], line["bad_samples"]]))
            .collect()
    };
    assert!(lines("whole").iter().any(|line| line[1].is_null() && line[2] == true));
    for out in ["run", "limited"] {
        assert_eq!(lines("whole"), lines(out), "{out}");
        assert!(weights(&folder.join("whole"), 12) == weights(&folder.join(out), 12), "{out}");
        assert_eq!(rejects(out), rejects("whole"), "{out}");
    }
}

#[test]
fn a_run_does_not_depend_on_how_voxels_are_compressed() {
    let runs: Vec<_> = ["zstd1", "lz4", "none"]
        .iter()
        .map(|codec| {
            let folder = tempfile::tempdir().unwrap();
            dataset(folder.path(), &[&format!("volume.codec={codec}")]);
            run_to(0, &mut train(folder.path(), "run", &[]));
            (losses(&folder.path().join("run")), weights(&folder.path().join("run"), 6))
        })
        .collect();
    assert!(runs[0] == runs[1] && runs[0] == runs[2]);
}
