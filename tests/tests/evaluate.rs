//! `med2e3 evaluate` from the outside: answers on disk as they come, a run that goes on, and what it refuses.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use med2e3_tests::program::{program, root, rounds, run_to};
use med2e3_tests::tiny::{dataset, evaluate, train};
use serde_json::Value;

const TRAIN: [&str; 2] = ["split=\"train\"", "tasks=[\"caption\", \"open_vqa\", \"closed_vqa\"]"];

/// A dataset and a trained model.
fn made() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    dataset(folder.path(), &[]);
    run_to(0, &mut train(folder.path(), "run", &["data.tasks=[\"caption\", \"open_vqa\"]"]));
    folder
}

/// A run's report without what differs from run to run.
fn report(out: &Path) -> Value {
    let mut report: Value = serde_json::from_str(&fs::read_to_string(out.join("report.json")).unwrap()).unwrap();
    report.as_object_mut().unwrap().remove("seconds").unwrap();
    report
}

fn lines(out: &Path) -> Vec<Value> {
    let text = fs::read_to_string(out.join("answers.jsonl")).unwrap();
    assert!(text.ends_with('\n'), "{text}");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn what_a_kill_leaves_goes_on_to_the_same_report() {
    let folder = made();
    let folder = folder.path();
    run_to(0, &mut evaluate(folder, "run", "dataset", "whole", &TRAIN));
    let whole = report(&folder.join("whole"));
    let answers = whole["answers"].as_array().unwrap();
    assert!(answers.len() > 8, "{} answers", answers.len());
    assert_eq!(lines(&folder.join("whole")).len(), answers.len());

    // Wherever the log was cut, in a line too.
    let log = fs::read(folder.join("whole/answers.jsonl")).unwrap();
    let out = folder.join("cut");
    let count = rounds(6, 50);
    for round in 0..count {
        let _ = fs::remove_dir_all(&out);
        fs::create_dir(&out).unwrap();
        for name in ["evaluate.toml", "answered.json"] {
            fs::copy(folder.join("whole").join(name), out.join(name)).unwrap();
        }
        let at = log.len() * round / count + round % 3;
        fs::write(out.join("answers.jsonl"), &log[..at]).unwrap();
        let there = log[..at].iter().filter(|byte| **byte == b'\n').count();
        // Device, threads and batch may change; a question's answer depends on none of them.
        let mut again = evaluate(folder, "run", "dataset", "cut", &[TRAIN[0], TRAIN[1], "batch_size=3"]);
        let said = run_to(0, &mut again).err;
        let told = format!("{there} of {} answers are there already", answers.len());
        assert_eq!(said.contains(&told), there > 0, "{said}");
        assert!(said.contains("batch_size is 16 there, 3 here"), "{said}");
        assert_eq!(report(&out), whole, "cut at byte {at}");
        assert_eq!(lines(&out).len(), answers.len());
    }

    // And a process that is killed indeed, whatever it was doing.
    for round in 0..rounds(2, 50) {
        let out = format!("killed-{round}");
        let mut command = evaluate(folder, "run", "dataset", &out, &TRAIN);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_millis(40 * (round as u64 % 12) + 60));
        child.kill().unwrap();
        let ended = child.wait().unwrap().success();
        if !ended {
            run_to(0, &mut evaluate(folder, "run", "dataset", &out, &TRAIN));
        }
        assert_eq!(report(&folder.join(out)), whole);
    }
}

#[test]
fn a_folder_of_another_run_is_refused_with_what_differs() {
    let folder = made();
    let folder = folder.path();
    run_to(0, &mut evaluate(folder, "run", "dataset", "out", &TRAIN));
    let refused = |more: &[&str], run: &str, words: &str| {
        let said = run_to(2, &mut evaluate(folder, run, "dataset", "out", more)).err;
        assert!(said.contains(words), "{words}: {said}");
    };
    refused(&TRAIN, "run", "which has ended");
    fs::remove_file(folder.join("out/report.json")).unwrap();
    refused(&[TRAIN[0], TRAIN[1], "max_new_tokens=7"], "run", "max_new_tokens is 6 there, 7 here");
    run_to(0, &mut train(folder, "other", &["seed=5"]));
    refused(&TRAIN, "other", "the checkpoint's hash is ");

    let log = folder.join("out/answers.jsonl");
    let text = fs::read_to_string(&log).unwrap();
    let first = text.lines().next().unwrap();
    fs::write(&log, format!("{text}{first}\n")).unwrap();
    refused(&TRAIN, "run", "an answer in line");
    let mut stranger: Value = serde_json::from_str(first).unwrap();
    stranger["sample_id"] = "ffffffffffffffffffffffffffffffff".into();
    fs::write(&log, format!("{text}{stranger}\n")).unwrap();
    refused(&TRAIN, "run", "1 of questions that are not asked");
    fs::write(&log, format!("{{\"a\n{text}")).unwrap();
    refused(&TRAIN, "run", "an answer in line 1");
    fs::write(&log, &text).unwrap();
    run_to(0, &mut evaluate(folder, "run", "dataset", "out", &TRAIN));
}

#[test]
fn with_wordnet_meteor_is_computed_and_without_it_is_said() {
    let folder = made();
    let folder = folder.path();
    let said = run_to(0, &mut evaluate(folder, "run", "dataset", "without", &TRAIN));
    assert!(!said.out.contains("meteor"), "{}", said.out);
    let wordnet = std::env::var("MED2E3_WORDNET").unwrap_or_else(|_| ".wordnet".into());
    let meteor = format!("meteor={{ wordnet = {wordnet:?}, nltk = \"3.10\" }}");
    run_to(0, &mut evaluate(folder, "run", "dataset", "with", &[TRAIN[0], TRAIN[1], &meteor]));
    let report = report(&folder.join("with"));
    assert_eq!(report["meteor"], "nltk 3.10, WordNet 3.0");
    for answer in report["answers"].as_array().unwrap() {
        assert_eq!(answer["metrics"]["meteor"].is_number(), answer["task"] != "closed_vqa", "{answer}");
    }
    assert!(report["scores"].as_array().unwrap().iter().any(|score| score["metric"] == "meteor"));
    let none = format!("meteor={{ wordnet = {:?} }}", folder.join("study").display().to_string());
    let said = run_to(2, &mut evaluate(folder, "run", "dataset", "none", &[TRAIN[0], TRAIN[1], &none])).err;
    assert!(said.contains("study/") && said.contains("no such file"), "{said}");
}

#[test]
fn with_an_encoder_bertscore_is_computed_and_without_it_is_said() {
    let folder = made();
    let folder = folder.path();
    let model = root().join("trainer/tests/golden/roberta_tiny");
    let bert_score = format!("bert_score={{ model = {model:?}, layer = 2 }}");
    run_to(0, &mut evaluate(folder, "run", "dataset", "with", &[TRAIN[0], TRAIN[1], &bert_score]));
    let report = report(&folder.join("with"));
    let of = report["bert_score"].as_str().unwrap();
    assert!(of.starts_with("bert_score 0.3.13, roberta ") && of.ends_with(", layer 2 of 3"), "{of}");
    for answer in report["answers"].as_array().unwrap() {
        for metric in ["bertscore_p", "bertscore_r", "bertscore_f1"] {
            assert_eq!(answer["metrics"][metric].is_number(), answer["task"] != "closed_vqa", "{answer}");
        }
    }
    assert!(report["scores"].as_array().unwrap().iter().any(|score| score["metric"] == "bertscore_f1"));
    let for_a_terminal = |out: &str, more: &[&str]| {
        let command = evaluate(folder, "run", "dataset", out, &[&TRAIN[..], more].concat());
        run_to(0, program("med2e3").args(command.get_args().filter(|argument| *argument != "--json"))).out
    };
    let said = for_a_terminal("without", &[]);
    assert!(said.contains("bertscore: not computed; it needs a RoBERTa"), "{said}");
    let said = for_a_terminal("computed", &[&bert_score]);
    assert!(said.contains(&format!("bertscore: as {of}")), "{said}");
    let none = format!("bert_score={{ model = {:?} }}", folder.join("study").display().to_string());
    let said = run_to(2, &mut evaluate(folder, "run", "dataset", "none", &[TRAIN[0], TRAIN[1], &none])).err;
    assert!(said.contains("study/config.json") && said.contains("no such file"), "{said}");
}

#[test]
fn controls_take_away_what_answers_may_rest_on() {
    let folder = made();
    let folder = folder.path();
    let config = [TRAIN[0], TRAIN[1], "controls=\"all\""];
    run_to(0, &mut evaluate(folder, "run", "dataset", "all", &config));
    let all = report(&folder.join("all"));
    let of = |report: &Value, control: &str| -> Vec<Value> {
        let scores = report["controls"].as_array().unwrap();
        scores.iter().filter(|score| score["control"] == control).cloned().collect()
    };
    for control in [
        "shuffled",
        "blank",
        "question_only",
        "choices_rotated",
        "scores_uniform",
        "scores_of_other_question",
        "scores_of_other_volume",
        "scores_top_1",
        "majority",
    ] {
        let scores = of(&all, control);
        assert!(!scores.is_empty(), "{control}");
        for score in &scores {
            let number = |key: &str| score[key].as_f64().unwrap();
            assert!((number("real") - number("control_mean") - number("difference")).abs() < 1e-12, "{score}");
            assert!((0.0..=1.0).contains(&number("changed")) && number("count") >= 1.0, "{score}");
            assert!(score["interval"][0].as_f64() <= score["interval"][1].as_f64(), "{score}");
        }
        assert_eq!(folder.join(format!("all/controls/{control}.jsonl")).exists(), control != "majority");
    }
    assert!(of(&all, "choices_rotated").iter().all(|score| score["task"] == "closed_vqa"));

    // None, and a number; what was cut goes on here too.
    run_to(0, &mut evaluate(folder, "run", "dataset", "none", &[TRAIN[0], TRAIN[1], "controls=0"]));
    assert_eq!(report(&folder.join("none"))["controls"].as_array().unwrap().len(), 0);
    let out = folder.join("all");
    let log = out.join("controls/shuffled.jsonl");
    let text = fs::read_to_string(&log).unwrap();
    fs::write(&log, &text[..text.len() / 2]).unwrap();
    fs::remove_file(out.join("report.json")).unwrap();
    run_to(0, &mut evaluate(folder, "run", "dataset", "all", &config));
    assert_eq!(report(&out), all);
    let said =
        run_to(2, &mut evaluate(folder, "run", "dataset", "bad", &[TRAIN[0], TRAIN[1], "controls=\"some\""])).err;
    assert!(said.contains("\"all\" or a number of samples"), "{said}");
}
