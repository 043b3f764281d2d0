//! Pages in a browser: what a person sees and does, in `tests/browser/pages.mjs`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use med2e3_tests::program::{program, root, run, run_to};
use med2e3_tests::server::Server;
use med2e3_tests::tiny::{dataset, evaluate, explain, train};
use serde_json::{Value, json};

/// `.browser/` with playwright-core and axe-core, as `cargo xtask setup --browser` makes it.
fn home() -> PathBuf {
    let home = env::var_os("MED2E3_BROWSER").map_or_else(|| root().join(".browser"), PathBuf::from);
    let is_there = ["playwright-core", "axe-core"].iter().all(|name| home.join("node_modules").join(name).is_dir());
    assert!(is_there, "{} has no playwright-core and axe-core: run `cargo xtask setup --browser`", home.display());
    home
}

/// The browser that CHROMIUM names, else the first of the usual names.
fn chromium() -> PathBuf {
    if let Some(path) = env::var_os("CHROMIUM") {
        return path.into();
    }
    let folders: Vec<PathBuf> = env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found =
        names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name))).find(|path| path.is_file());
    found.expect("there is no Chromium: run `sudo apt-get install chromium`, or name one in CHROMIUM")
}

/// A study, a model that learned from it for six steps, its answers with controls, its explanations; and answers of
/// another program, of which one is wrong.
fn reports(folder: &Path) -> (PathBuf, PathBuf) {
    dataset(folder, &[]);
    run_to(0, &mut train(folder, "run", &["data.tasks=[\"caption\", \"open_vqa\"]"]));
    let split = ["split=train", "tasks=[\"caption\", \"open_vqa\"]"];
    run_to(0, &mut evaluate(folder, "run", "dataset", "evaluated", &split));
    run_to(0, &mut explain(folder, "run", "dataset", "explained", &["split=train"]));
    let answers = fs::read_to_string(folder.join("evaluated/answers.jsonl")).unwrap();
    let answers = answers.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let line = |(number, answer): (usize, Value)| {
        let prediction = if number == 1 { &json!("a wrong answer") } else { &answer["expected"] };
        format!("{}\n", json!({ "id": answer["sample_id"], "prediction": prediction }))
    };
    let predictions: String = answers.enumerate().map(line).collect();
    fs::write(folder.join("predictions.jsonl"), predictions).unwrap();
    let here = |name: &str| {
        let mut command = program(name);
        command.current_dir(folder);
        command
    };
    let predictions = ["--predictions", "predictions.jsonl", "--dataset", "dataset", "--split", "train", "--partial"];
    run_to(0, here("med2e3").args(["score", "--format", "plain", "--out", "scored"]).args(predictions));
    let runs = ["evaluated", "scored", "explained", "run", "dataset"];
    // The configuration of an explanation names its dataset as it was given to it.
    let dataset = folder.join("dataset");
    run_to(0, here("med2e3").arg("report").args(&runs[..4]).arg(&dataset).args(["--out", "report.html"]));
    run_to(0, here("med2e3-data").args(["view", "dataset", "--out", "view.html"]));
    (folder.join("report.html"), folder.join("view.html"))
}

#[test]
fn with_browser_one_asks_by_the_page() {
    let (home, chromium) = (home(), chromium());
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dataset(folder, &[]);
    run_to(0, &mut train(folder, "run", &["data.tasks=[\"caption\", \"open_vqa\"]"]));
    let server = Server::start(folder, &[]);
    let address = format!("http://{}/", server.address);
    let script = root().join("tests/browser/serve.mjs");
    let file = folder.join("study/M3D_Cap/ct_case/000001/Series_1.nii.gz");
    let said = run(Command::new("node").arg(script).arg(home).arg(chromium).arg(address).arg(file));
    println!("{}", said.out);
    assert_eq!(said.code, 0, "{}\n{}", said.out, said.err);
    assert_eq!(server.stop(), 0);
}

#[test]
fn with_browser_pages_hold_what_they_promise() {
    let (home, chromium) = (home(), chromium());
    let folder = tempfile::tempdir().unwrap();
    // The browser is asked for the path without links.
    let (report, view) = reports(&fs::canonicalize(folder.path()).unwrap());
    let script = root().join("tests/browser/pages.mjs");
    let said = run(Command::new("node").arg(script).arg(home).arg(chromium).args([report, view]));
    println!("{}", said.out);
    assert_eq!(said.code, 0, "{}\n{}", said.out, said.err);
    assert!(said.out.contains("report.html: loaded in "), "{}", said.out);
}
