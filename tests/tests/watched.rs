//! What a training shows of itself: its log, TensorBoard's event files, a trace of a step, and what is measured meanwhile.

use std::collections::BTreeMap;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use med2e3_tests::program::{program, run_to};
use med2e3_tests::python;
use med2e3_tests::server::Server;
use med2e3_tests::tiny::{dataset, train};
use serde_json::Value;

/// CRC-32C bit by bit, as RFC 3720 defines it.
fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    let crc = !crc;
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let (mut number, mut shift) = (0, 0);
    loop {
        let (first, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        number |= u64::from(first & 0x7f) << shift;
        shift += 7;
        if first & 0x80 == 0 {
            return number;
        }
    }
}

/// The fields of a message of protocol buffers: number and bytes; a number's bytes are those of a u64.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let size = match key & 7 {
            0 => {
                fields.push((key >> 3, varint(&mut bytes).to_le_bytes().to_vec()));
                continue;
            }
            1 => 8,
            2 => varint(&mut bytes) as usize,
            5 => 4,
            kind => panic!("a field of kind {kind}"),
        };
        let (field, rest) = bytes.split_at(size);
        bytes = rest;
        fields.push((key >> 3, field.to_vec()));
    }
    fields
}

/// Every scalar of a folder's event files by step and tag, none of which may stand twice; and how many files there are.
fn scalars(folder: &Path) -> (BTreeMap<(u64, String), f32>, usize) {
    let (mut found, mut files) = (BTreeMap::new(), 0);
    for entry in fs::read_dir(folder).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        files += 1;
        let mut at = 0;
        while at < bytes.len() {
            let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
            let size = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
            assert_eq!(number(at + 8), checksum(&bytes[at..at + 8]));
            let event = &bytes[at + 12..at + 12 + size];
            assert_eq!(number(at + 12 + size), checksum(event));
            at += 16 + size;
            let event = fields(event);
            let step = event.iter().find(|(field, _)| *field == 2);
            let step = step.map_or(0, |(_, bytes)| u64::from_le_bytes(bytes[..].try_into().unwrap()));
            for (_, value) in event.iter().filter(|(field, _)| *field == 5).flat_map(|(_, summary)| fields(summary)) {
                let value: BTreeMap<u64, Vec<u8>> = fields(&value).into_iter().collect();
                let tag = String::from_utf8(value[&1].clone()).unwrap();
                let number = f32::from_le_bytes(value[&2][..].try_into().unwrap());
                assert!(found.insert((step, tag.clone()), number).is_none(), "{tag} of step {step} stands twice");
            }
        }
    }
    (found, files)
}

fn log(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("train.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

const MEASURED: &str = "validation={ every = 3, batches = 1, answers = 2, answer_tokens = 4 }";

#[test]
fn every_number_of_a_step_is_logged_and_a_resumed_run_repeats_none() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dataset(folder, &[]);
    let tasks = "data.tasks=[\"caption\", \"open_vqa\", \"closed_vqa\"]";
    let more = ["optimizer.clip=0.01", tasks, MEASURED];
    run_to(0, train(folder, "run", &more).args(["--trace", "2"]));
    let run = folder.join("run");
    let trace: Value = serde_json::from_str(&fs::read_to_string(run.join("trace-step-2.json")).unwrap()).unwrap();
    assert!(trace["traceEvents"].as_array().unwrap().iter().any(|event| event["name"] == "aten::addmm"));

    // As if killed after the first checkpoint.
    fs::remove_dir_all(run.join("step-6")).unwrap();
    fs::remove_file(run.join("report.json")).unwrap();
    run_to(0, train(folder, "run", &more).arg("--resume"));
    let (found, files) = scalars(&run.join("events"));
    assert_eq!(files, 2);
    let lines = log(&run);
    assert_eq!(lines.len(), 6);
    for line in &lines {
        let step = line["step"].as_u64().unwrap();
        let is = |tag: &str, expected: &Value| {
            let expected = expected.as_f64().unwrap_or_else(|| panic!("{tag}: {line}")) as f32;
            assert_eq!(found[&(step, tag.to_owned())], expected, "{tag} of step {step}");
        };
        is("loss", &line["loss"]);
        is("gradient_norm", &line["gradient_norm"]);
        is("rate/tokens_per_second", &line["tokens_per_second"]);
        let tasks = line["by_task"].as_object().unwrap();
        tasks.iter().for_each(|(task, own)| is(&format!("loss/{task}"), &own["loss"]));
        let sum = |of: fn(&Value) -> f64| tasks.values().map(of).sum::<f64>();
        assert_eq!(sum(|own| own["targets"].as_f64().unwrap()), line["targets"].as_f64().unwrap());
        // All targets count the same in this run, so the step's loss is the mean over its tasks' targets.
        let mean = sum(|own| own["loss"].as_f64().unwrap() * own["targets"].as_f64().unwrap())
            / line["targets"].as_f64().unwrap();
        assert!((mean / line["loss"].as_f64().unwrap() - 1.0).abs() < 1e-4, "{line}");
        assert!((line["clipped_norm"].as_f64().unwrap() - 0.01).abs() < 1e-6, "{line}");
        assert!(line["texts"] == 2 && line["tokens"].as_u64().unwrap() > 0 && line["volumes"].as_u64().unwrap() > 0);
        assert!((0.0..1.0).contains(&line["padding_share"].as_f64().unwrap()), "{line}");
        // No peak of this processor is known, so no utilization is stated.
        assert!(line.get("mfu").is_none() && line.get("hfu").is_none(), "{line}");
    }
    let seen = |task: &str| lines.iter().any(|line| line["by_task"].get(task).is_some());
    assert!(["caption", "open_vqa"].into_iter().all(seen), "{lines:?}");
    // libtorch has one observer of a thread: the run with a trace counted no memory, the one that went on did.
    let peak = |line: &Value| line.get("peak_bytes").and_then(Value::as_u64);
    assert!(lines[..3].iter().all(|line| peak(line).is_none()) && lines[3..].iter().all(|line| peak(line) > Some(0)));

    for step in [3, 6] {
        let path = run.join(format!("validation/step-{step}.json"));
        let measured: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(measured["loss"].as_f64().unwrap() as f32, found[&(step, "validation/loss".to_owned())]);
        // The split for validation has one caption.
        let answers = measured["answers"].as_array().unwrap();
        assert_eq!(answers.len(), 1, "{measured}");
        assert_eq!(answers[0]["task"], "caption");
        assert!(answers[0]["metrics"]["bleu1"].is_number(), "{measured}");
    }
}

#[test]
fn checkpoints_leave_no_memory_behind_that_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dataset(folder, &[]);
    run_to(0, &mut train(folder, "run", &["data.max_steps=60", "checkpoint.every_steps=1"]));
    let peaks: Vec<u64> = log(&folder.join("run")).iter().map(|line| line["peak_bytes"].as_u64().unwrap()).collect();
    let most = |steps: &[u64]| *steps.iter().max().unwrap();
    assert!(most(&peaks[50..]) <= most(&peaks[..20]) * 3 / 2, "{peaks:?}");
}

#[test]
fn a_step_that_is_not_taken_and_answers_without_room_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dataset(folder, &[]);
    let said = run_to(2, train(folder, "run", &[]).args(["--trace", "7"])).err;
    assert!(said.contains("--trace: expected a step that this run takes, 1 to 6, found 7"), "{said}");
    let said = run_to(2, &mut train(folder, "run", &["validation={ every = 1, batches = 1, answers = 65 }"])).err;
    assert!(said.contains("validation.answers: expected at most 64, found 65"), "{said}");
    assert!(!folder.join("run").exists());
}

#[test]
fn a_measured_profile_gives_the_utilization() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dataset(folder, &[]);
    let profile = folder.join("profile.json");
    let reached = r#"{"llm":0.5,"vision2d":0.5,"vision3d":0.5,"connector":0.5}"#;
    let text = format!(
        r#"{{"name":"made up","memory":1e9,"peak_bf16":1e10,"peak_f32":2e10,"reached":{reached},"attention_forward":1e9,"attention_backward":1e9,"bandwidth":1e9,"copy":1e9,"fused_norms":false,"overhead":0.0}}"#
    );
    fs::write(&profile, text).unwrap();
    run_to(0, train(folder, "run", &["data.max_steps=2", "step.recompute=\"full\""]).arg("--profile").arg(&profile));
    for line in log(&folder.join("run")) {
        let share = |key: &str| line[key].as_f64().unwrap();
        assert!(share("mfu") > 0.0 && share("hfu") > share("mfu"), "{line}");
    }
}

#[test]
fn a_page_shows_any_runs_and_follows_one_until_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dataset(folder, &[]);
    run_to(0, &mut train(folder, "ended", &[MEASURED]));
    // A name without a folder is a file here.
    let here = |words: &[&str]| {
        let mut command = program("med2e3");
        command.current_dir(folder).arg("report").args(words);
        command
    };
    run_to(0, &mut here(&["ended", "dataset", "--out", "own.html"]));
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let page = read("own.html");
    for part in ["<b>finished</b>, step 6 of 6", "Answers after step 6", "volumes prepared", "norm of the gradients"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let joined: Value = serde_json::from_str(&read("own.json")).unwrap();
    let kinds: Vec<&str> = joined["runs"].as_array().unwrap().iter().map(|run| run["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["training", "dataset"]);
    assert_eq!(joined["runs"][0]["losses"].as_array().unwrap().len(), 6);

    // A process of this test holds a third run as a training does, and lets go of it while the page follows.
    let going = folder.join("going");
    fs::create_dir(&going).unwrap();
    for name in ["train.toml", "run.json", "train.jsonl"] {
        fs::copy(folder.join("ended").join(name), going.join(name)).unwrap();
    }
    let lock = fs::File::open(&going).unwrap();
    lock.lock().unwrap();
    let mut following =
        here(&["going", "ended", "--out", "both.html", "--every", "1"]).stdout(Stdio::null()).spawn().unwrap();
    let is_there = || folder.join("both.html").exists();
    while !is_there() && following.try_wait().unwrap().is_none() {
        thread::sleep(Duration::from_millis(20));
    }
    let page = read("both.html");
    let reload = "http-equiv=\"refresh\"";
    assert!(page.contains(reload) && page.contains("<b>running</b>, step 6 of 6"), "{page}");
    drop(lock);
    assert!(following.wait().unwrap().success());
    let page = read("both.html");
    assert!(!page.contains(reload) && page.contains("<b>stopped</b>"), "{page}");

    let said = run_to(2, &mut here(&["study", "--out", "none.html"])).err;
    assert!(said.contains("study: expected the folder of a run, found none of demo-set.json, dataset.json"), "{said}");
    assert!(run_to(2, &mut here(&["--out", "none.html"])).err.contains("<RUN>"));
}

/// What Prometheus' own client finds in a text of metrics.
fn parsed(folder: &Path, text: &[u8]) -> Value {
    let path = folder.join("metrics.txt");
    fs::write(&path, text).unwrap();
    serde_json::from_str(&python::run(include_str!("../peers/open_metrics.py"), &[path])).unwrap()
}

#[test]
fn prometheus_reads_a_run_that_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dataset(folder, &[]);
    let run = |out: &str| {
        train(folder, out, &["data.epochs=100000", "data.max_steps=100000", "validation={every=2,batches=1}"])
    };
    let server = Server::of_training(&mut run("run"));
    let (found, head) = loop {
        let (status, head, text) = server.ask("GET /metrics", &[], b"");
        assert_eq!(status, 200);
        let found = parsed(folder, &text);
        if found["med2e3_train_step"]["samples"][0][2].as_f64() >= Some(4.0) {
            break (found, head.to_lowercase());
        }
        thread::sleep(Duration::from_millis(100));
    };
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    let number = |name: &str| found[name]["samples"][0][2].as_f64().unwrap_or_else(|| panic!("{name}: {found}"));
    let families = found.as_object().unwrap();
    for (name, family) in families {
        let sample = family["samples"][0][0].as_str().unwrap();
        assert_eq!(family["type"] == "counter", sample.ends_with("_total"), "{name}");
        assert!(name.starts_with("med2e3_") && !family["help"].as_str().unwrap().is_empty());
    }
    assert_eq!(found["med2e3_train_info"]["samples"][0][1]["device"], "cpu");
    assert!(number("med2e3_validation_loss") > 0.0 && number("med2e3_train_samples_per_second") > 0.0);

    // The sums are those of the log's lines, and the gauges the last one's.
    let step = number("med2e3_train_step") as usize;
    let log: Vec<Value> = loop {
        let text = fs::read_to_string(folder.join("run/train.jsonl")).unwrap();
        let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        if lines.len() >= step {
            break lines[..step].to_vec();
        }
        thread::sleep(Duration::from_millis(50));
    };
    let sum = |of: &dyn Fn(&Value) -> &Value| log.iter().map(|line| of(line).as_f64().unwrap()).sum::<f64>();
    for (name, sum) in [
        ("med2e3_train_steps", step as f64),
        ("med2e3_train_samples", sum(&|line| &line["texts"])),
        ("med2e3_train_tokens", sum(&|line| &line["tokens"])),
        ("med2e3_train_step_seconds", sum(&|line| &line["seconds"])),
        ("med2e3_train_wait_seconds", sum(&|line| &line["wait_seconds"])),
        ("med2e3_feed_read_bytes", sum(&|line| &line["feed"]["bytes"])),
        ("med2e3_feed_decode_seconds", sum(&|line| &line["feed"]["decode_seconds"])),
        ("med2e3_train_loss", log[step - 1]["loss"].as_f64().unwrap()),
        ("med2e3_feed_ready_batches", log[step - 1]["feed"]["ready"].as_f64().unwrap()),
    ] {
        assert!((number(name) - sum).abs() <= 1e-9 * sum.abs(), "{name}: {} for {sum}", number(name));
    }
    assert!(number("med2e3_feed_read_bytes") > 0.0 && number("med2e3_feed_collate_seconds") > 0.0);
    assert_eq!(server.refused("GET /", &[], b"").0, 404);
    assert_eq!(server.refused("GET /metrics", &[("Host", "evil.example")], b"").0, 403);

    // A port that is taken is said before anything is opened, and the server ends with its run.
    let taken = server.address.to_string();
    let said = run_to(2, run("other").args(["--metrics", &taken])).err;
    assert!(said.contains(&taken) && said.contains("listen"), "{said}");
    let said = run_to(2, run("other").args(["--metrics", "0.0.0.0:0"])).err;
    assert!(said.contains("--metrics-token-file"), "{said}");
    assert!(!folder.join("other").exists());
    let address = server.address;
    assert_eq!(server.stop(), 0);
    assert!(TcpStream::connect(address).is_err() && TcpListener::bind(address).is_ok());
}
