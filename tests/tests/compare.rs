//! `med2e3 compare` from the outside: evaluations of two trained models, one of them with two seeds, on the same samples.

use std::fs;
use std::path::Path;
use std::process::Command;

use med2e3_tests::program::{Said, program, run_to};
use med2e3_tests::tiny::{dataset, evaluate, train};
use serde_json::Value;

const TRAIN: [&str; 2] = ["split=\"train\"", "tasks=[\"caption\", \"open_vqa\", \"closed_vqa\"]"];

/// A dataset, and evaluations of three models in `a`, `b` and `c`.
fn made() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    dataset(folder.path(), &[]);
    for (out, seed) in [("a", "seed=1"), ("b", "seed=2"), ("c", "seed=3")] {
        let run = format!("run-{out}");
        run_to(0, &mut train(folder.path(), &run, &["data.tasks=[\"caption\", \"open_vqa\"]", seed]));
        run_to(0, &mut evaluate(folder.path(), &run, "dataset", out, &TRAIN));
    }
    folder
}

/// `med2e3 compare` in a folder, into a new folder there.
fn compare(folder: &Path, out: &str, words: &[&str]) -> Command {
    let mut command = program("med2e3");
    command.current_dir(folder).arg("compare").args(words).args(["--out", out]);
    command
}

fn read(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// A copy of a run's report alone, changed: as another program would write it.
fn imported(folder: &Path, of: &str, name: &str, change: impl FnOnce(&mut Value)) {
    let mut report = read(&folder.join(of).join("report.json"));
    change(&mut report);
    fs::create_dir(folder.join(name)).unwrap();
    fs::write(folder.join(name).join("report.json"), report.to_string()).unwrap();
}

fn without_cases(report: &mut Value) {
    for answer in report["answers"].as_array_mut().unwrap() {
        assert!(answer.as_object_mut().unwrap().remove("case_id").is_some_and(|case| case != ""));
    }
}

/// The rows of a list in a report that are over all topics, by task and metric.
fn over_all<'a>(report: &'a Value, list: &str) -> Vec<&'a Value> {
    report[list].as_array().unwrap().iter().filter(|row| row["topic"].is_null()).collect()
}

#[test]
fn systems_are_compared_on_the_same_samples() {
    let folder = made();
    let folder = folder.path();
    let said = run_to(0, &mut compare(folder, "two", &["a", "b", "--json"]));
    let printed: Value = serde_json::from_str(&said.out).unwrap();
    let report = read(&folder.join("two/compare.json"));
    assert_eq!(report, printed);
    assert_eq!((report["baseline"].as_str(), report["split"].as_str()), (Some("a"), Some("train")));
    assert_eq!(report["notes"].as_array().unwrap().len(), 0, "{}", report["notes"]);

    // What each evaluation's own report says, intervals included.
    for name in ["a", "b"] {
        let own = read(&folder.join(name).join("report.json"));
        let own = over_all(&own, "scores");
        let found: Vec<&Value> = over_all(&report, "scores").into_iter().filter(|row| row["system"] == name).collect();
        assert!(own.len() == found.len() && own.len() >= 8, "{} rows", own.len());
        for row in found {
            let same = |other: &&&Value| (&other["task"], &other["metric"]) == (&row["task"], &row["metric"]);
            let other = own.iter().find(same).unwrap();
            assert_eq!((&row["micro"]["mean"], &row["micro"]["interval"]), (&other["micro"], &other["interval"]));
            assert_eq!(
                (&row["macro_mean"]["mean"], &row["macro_mean"]["interval"]),
                (&other["macro_mean"], &other["macro_interval"])
            );
            assert_eq!((&row["count"], &row["cases"]), (&other["count"], &other["cases"]));
        }
    }
    for row in report["comparisons"].as_array().unwrap() {
        let number = |of: &str| row["micro"][of].as_f64().unwrap();
        assert!((number("system") - number("baseline") - number("difference")).abs() < 1e-12);
        assert!(row["p_holm"].as_f64() >= row["p"].as_f64());
        assert_eq!(row["mcnemar"].is_null(), row["task"] != "closed_vqa", "{row}");
    }
    // A tiny model that learned for six steps is no better than another.
    assert!(over_all(&report, "comparisons").iter().all(|row| row["verdict"] == "cannot_be_told_apart"));

    let text = |name: &str| fs::read_to_string(folder.join("two").join(name)).unwrap();
    let run = &report["systems"][0]["runs"][0];
    for name in ["dataset_hash", "selection_hash", "decoding"] {
        let stated = run[name].as_str().unwrap();
        assert!(text("table1.md").contains(stated) && text("table2.tex").contains(stated), "{name} {stated}");
    }
    let index = read(&folder.join("dataset/dataset.json"));
    assert_eq!((&run["dataset_hash"], run["decoding"].as_str()), (&index["xxh3"], Some("greedy, at most 6 tokens")));
    assert!(text("table1.md").contains("| Med-2E3 (paper) | 51.51 | 54.48 | 50.96 | 90.87 |"));
    assert!(text("table2.md").contains("| 58.55/50.13 | 62.04/53.92 | 41.57/36.68 | 93.25/91.81 | 82.42/79.39 |"));
    assert!(text("table2.tex").contains("M3D-LaMed$^\\dagger$ (paper) & 53.63/44.94 &"));
    let row = text("table1.md").lines().find(|line| line.starts_with("| b |")).unwrap().to_owned();
    assert!(row.matches("not computed").count() == 2 && !row.contains("| - |"), "{row}");
    assert!(
        text("compare.md").contains("## Differences by topic") && text("compare.md").contains("cannot be told apart")
    );

    // Two seeds of one system, by name.
    let said = run_to(0, &mut compare(folder, "seeds", &["--system", "ours=b,c", "a", "--baseline", "a"])).out;
    assert!(said.contains("a is the baseline of all") && said.contains("closed_vqa correct ("), "{said}");
    assert!(said.contains(": ours ") && said.contains("written: seeds") && !said.contains("McNemar"), "{said}");
    let report = read(&folder.join("seeds/compare.json"));
    let ours = over_all(&report, "scores").into_iter().find(|row| row["system"] == "ours").unwrap();
    assert!(ours["micro"]["each"].as_array().unwrap().len() == 2 && ours["micro"]["deviation"].is_number());
    assert!(fs::read_to_string(folder.join("seeds/table2.md")).unwrap().contains("means over 2 seeds"));

    // One run alone has its tables.
    let said = run_to(0, &mut compare(folder, "alone", &["a", "--tables"])).out;
    assert_eq!(said, "split train; a is alone, so that nothing is compared\nwritten: alone\n");
    assert!(fs::read_to_string(folder.join("alone/table2.tex")).unwrap().contains("  a & "));

    // A report from elsewhere is a system like any other; cases that it does not state are known from the other run.
    imported(folder, "b", "elsewhere", without_cases);
    let said = run_to(0, &mut compare(folder, "three", &["a", "elsewhere"])).out;
    assert!(said.contains("elsewhere: no evaluate.toml and no answered.json, so not all of decoding"), "{said}");
    assert!(!said.contains("no case"), "{said}");
    let ps = |name: &str| {
        let report = read(&folder.join(name).join("compare.json"));
        report["comparisons"].as_array().unwrap().iter().map(|row| row["p"].as_f64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(ps("two"), ps("three"));
    // Of earlier versions no report states them.
    imported(folder, "a", "earlier", without_cases);
    let said = run_to(0, &mut compare(folder, "volumes", &["earlier", "elsewhere"])).out;
    assert!(
        said.contains("questions have no case in any report") && said.contains("each volume stands for a case"),
        "{said}"
    );
}

#[test]
fn what_can_not_be_compared_is_refused_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dataset(folder, &[]);
    run_to(0, &mut train(folder, "run", &["data.tasks=[\"caption\", \"open_vqa\"]"]));
    run_to(0, &mut evaluate(folder, "run", "dataset", "a", &TRAIN));
    run_to(0, &mut evaluate(folder, "run", "dataset", "test", &["split=\"test\"", TRAIN[1]]));
    let refused = |words: &[&str], parts: &[&str]| {
        let Said { err, .. } = run_to(2, &mut compare(folder, "out", words));
        assert!(err.starts_with("error: ") && parts.iter().all(|part| err.contains(part)), "{parts:?}: {err}");
        assert!(!folder.join("out").exists(), "{words:?} left something");
    };
    imported(folder, "a", "copy", |_| {});
    refused(&["a"], &["expected two or more systems, or one with --tables, found 1"]);
    refused(&["a", "a"], &["a twice"]);
    refused(&["a", "copy", "--baseline", "none"], &["--baseline: expected one of a, copy, found none"]);
    refused(&["a", "dataset"], &["dataset", "expected"]);
    refused(&["a", "run"], &["run/report.json: expected the whole report of an evaluation", "missing field"]);
    refused(&["a", "nowhere"], &["nowhere"]);
    refused(&["a", "test"], &["test/report.json: expected the train split, as in a, found the test split"]);

    let mut lost = Value::Null;
    imported(folder, "a", "fewer", |report| lost = report["answers"].as_array_mut().unwrap().remove(0));
    let id = lost["sample_id"].as_str().unwrap().to_owned();
    let task = lost["task"].as_str().unwrap();
    refused(
        &["a", "fewer"],
        &[&format!("{task}: the runs do not answer the same samples: fewer lacks 1 rows that a has: {id} turn 1")],
    );
    imported(folder, "a", "twice", |report| report["answers"].as_array_mut().unwrap().push(lost));
    refused(&["a", "twice"], &[&format!("expected one answer to a question, found sample {id}, turn 1 twice")]);
    imported(folder, "a", "other", |report| {
        for (number, answer) in report["answers"].as_array_mut().unwrap().iter_mut().enumerate() {
            answer["sample_id"] = format!("other-{number}").into();
        }
    });
    refused(&["a", "other"], &["other/report.json: expected answers to samples of a, dataset ", "dataset not stated"]);
    let path = folder.join("copy/report.json");
    let text = fs::read(&path).unwrap();
    fs::write(&path, &text[..text.len() / 2]).unwrap();
    refused(&["a", "copy"], &["copy/report.json: expected the whole report of an evaluation", "EOF"]);

    let said = run_to(2, &mut compare(folder, "out", &["a", "--system", "name"])).err;
    assert!(said.contains("expected NAME=RUN or NAME=RUN,RUN,.., found `name`"), "{said}");
}
