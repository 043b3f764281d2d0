//! `med2e3` from the outside: train, stop and go on, evaluate, explain, generate, retrieve, on a phantom study and a tiny model.

use std::fs;
use std::path::Path;

use med2e3_tests::program::{program, run_to};
use med2e3_tests::tiny::{dataset, train};
use serde_json::Value;

fn losses(report: &Path) -> Vec<f64> {
    let report: Value = serde_json::from_str(&fs::read_to_string(report).unwrap()).unwrap();
    report["steps"].as_array().unwrap().iter().map(|step| step["loss"].as_f64().unwrap()).collect()
}

#[test]
fn a_stopped_run_goes_on_to_the_same_weights() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dataset(folder, &[]);
    run_to(0, &mut train(folder, "whole", &[]));
    run_to(0, &mut train(folder, "stopped", &[]));
    // As if killed after the first checkpoint: a later step is logged, the last checkpoint never appeared.
    fs::remove_dir_all(folder.join("stopped/step-6")).unwrap();
    fs::remove_file(folder.join("stopped/report.json")).unwrap();
    run_to(0, train(folder, "stopped", &[]).arg("--resume"));
    assert_eq!(losses(&folder.join("whole/report.json")), losses(&folder.join("stopped/report.json")));
    for file in ["llm/model.safetensors", "vision2d_model/model.safetensors", "state/optimizer.safetensors"] {
        let bytes = |run: &str| fs::read(folder.join(run).join("step-6").join(file)).unwrap();
        assert!(bytes("whole") == bytes("stopped"), "{file} differs");
    }

    let said = run_to(2, &mut train(folder, "whole", &[]));
    assert!(said.err.contains("--resume"), "{}", said.err);
    let said = run_to(2, &mut train(folder, "whole", &["seed=9"]));
    assert!(said.err.contains("something else"), "{}", said.err);
}

#[test]
fn a_trained_model_answers_and_says_where_it_looked() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dataset(folder, &[]);
    run_to(0, &mut train(folder, "run", &[]));
    let path = |name: &str| format!("{:?}", folder.join(name).display().to_string());
    let verb = |verb: &str, out: &str| {
        let mut command = program("med2e3");
        command.args([verb, &format!("configs/demo/{verb}.toml"), "--json", "--out"]).arg(folder.join(out));
        command.args([
            "--set",
            &format!("dataset={}", path("dataset")),
            "--set",
            &format!("checkpoint={}", path("run")),
        ]);
        command.args(["--set", "device=cpu", "--set", "threads=1"]);
        command
    };

    let said = run_to(0, &mut verb("evaluate", "evaluate"));
    let report: Value = serde_json::from_str(&said.out).unwrap();
    // Two test captions, two rows of the test CSV in two forms.
    assert_eq!(report["answers"].as_array().unwrap().len(), 6);
    let closed = report["scores"].as_array().unwrap().iter().find(|s| s["metric"] == "correct").unwrap();
    assert_eq!((closed["count"].as_u64(), closed["chance"].as_f64()), (Some(2), Some(0.5)));

    run_to(0, &mut verb("explain", "explain"));
    let csv = fs::read_to_string(folder.join("explain/scores.csv")).unwrap();
    let scores: Vec<f64> = csv.lines().nth(1).unwrap().split(',').skip(4).map(|s| s.parse().unwrap()).collect();
    assert_eq!(scores.len(), 4);
    assert!((scores.iter().sum::<f64>() - 1.0).abs() < 1e-5, "{scores:?}");

    let mut command = program("med2e3");
    command.args(["generate", "--json", "--question", "Is the number even, or odd?", "--max-new-tokens", "4"]);
    command.args(["--device", "cpu"]).arg("--checkpoint").arg(folder.join("run"));
    command.arg("--volume").arg(folder.join("study/M3D_Cap/ct_case/000001/Series_1.nii.gz"));
    let reply: Value = serde_json::from_str(&run_to(0, &mut command).out).unwrap();
    assert_eq!(reply["scores"].as_array().unwrap().len(), 4);
}

#[test]
fn a_flipped_bit_in_a_checkpoint_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dataset(folder, &[]);
    run_to(0, &mut train(folder, "run", &["data.max_steps=1"]));
    let weights = folder.join("run/step-1/llm/model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&weights, bytes).unwrap();
    let mut command = program("med2e3");
    command.args(["generate", "--question", "?", "--checkpoint"]).arg(folder.join("run"));
    command.arg("--volume").arg(folder.join("study/M3D_Cap/ct_case/000001/Series_1.nii.gz"));
    let said = run_to(2, &mut command);
    assert!(said.err.contains("llm/model.safetensors") && said.err.contains("blake3"), "{}", said.err);
}

#[test]
fn a_model_that_does_not_fit_the_dataset_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dataset(folder, &[]);
    let said = run_to(2, &mut train(folder, "run", &["model.start.fresh.vision3d.img_size=[8,16,16]"]));
    assert!(said.err.contains("img_size") && said.err.contains("[4, 16, 16]"), "{}", said.err);
}

/// A run of the small random M3D-CLIP among the golden files, which reads volumes of the phantom's shape.
const RETRIEVE: &str = r#"
device = "cpu"
threads = 1
clip = "trainer/tests/golden/m3d_clip_tiny"
text_tokenizer = "trainer/tests/golden/m3d_clip_tiny"
split = "train"
batch_size = 2
max_text_tokens = 16
"#;

#[test]
fn a_published_clip_ranks_captions_and_volumes() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dataset(folder, &[]);
    let data = folder.join("dataset").display().to_string();
    fs::write(folder.join("retrieve.toml"), format!("dataset = {data:?}\n{RETRIEVE}")).unwrap();
    let retrieve = |out: &str, more: &[&str]| {
        let mut command = program("med2e3");
        command.arg("retrieve").arg(folder.join("retrieve.toml")).args(["--json", "--out"]).arg(folder.join(out));
        more.iter().for_each(|set| {
            command.args(["--set", set]);
        });
        command
    };

    let report: Value = serde_json::from_str(&run_to(0, &mut retrieve("whole", &[])).out).unwrap();
    // Five good series with a caption each; the captions of the broken ones have no volume.
    let count = |name: &str| report[name].as_u64().unwrap();
    assert_eq!((count("pairs"), count("distinct_texts"), count("truncated_texts")), (5, 5, 0));
    assert!(count("samples_without_volume") > 0);
    assert_eq!(report["by_index"], report["by_text"]);
    assert_eq!(report["by_index"]["image_to_text"]["at_5"], 1.0);
    let csv = fs::read_to_string(folder.join("whole/retrieval.csv")).unwrap();
    let rows: Vec<Vec<&str>> = csv.lines().skip(1).map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 5);
    for row in &rows {
        // The first column's rank is 1 exactly where the pair's own caption is first.
        assert_eq!((row[2] == "1", row[3] == "1"), (row[0] == row[6], row[1] == row[7]), "{row:?}");
    }
    let share = rows.iter().filter(|row| row[3] == "1").count() as f64 / 5.0;
    assert_eq!(report["by_index"]["text_to_image"]["at_1"].as_f64(), Some(share));

    // Cut before the number, all captions are one: nothing but ties, and a tie never helps.
    let said = run_to(0, &mut retrieve("cut", &["max_text_tokens=6"]));
    let report: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(report["truncated_texts"], 5);
    assert_eq!(report["by_index"]["image_to_text"], serde_json::json!({"at_1": 0.0, "at_5": 1.0, "at_10": 1.0}));

    let said = run_to(2, &mut retrieve("long", &["max_text_tokens=17"]));
    assert!(said.err.contains("max_text_tokens") && said.err.contains("at most 16"), "{}", said.err);
    let said = run_to(2, &mut retrieve("file", &["clip=\"trainer/tests/golden/bert.safetensors\""]));
    assert!(said.err.contains("golden/config.json"), "{}", said.err);
}
