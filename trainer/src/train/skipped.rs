//! Steps whose gradients are not finite, in a whole run: they change nothing, are logged, counted and stored, and too many in a row
//! end the run with a checkpoint from which it goes on behind them.

use std::fs;
use std::path::Path;

use med2e3_feed::{Order, Sequence};
use med2e3_schemas::Id;
use med2e3_schemas::config::parse;
use med2e3_schemas::report::TrainReport;
use med2e3_schemas::volume::{VoxelCode, VoxelFormat};

use super::data::TrainData;
use super::wild::{BASE, write_dataset_of};
use super::{Ended, Existing, Observed, train};
use crate::TrainerError;
use crate::config::{DataConfig, TrainConfig};
use crate::files::checkpoint::{Checkpoint, TrainState, folder_of};

/// Steps of the run: one text each.
const STEPS: u64 = 6;

/// Trains on a dataset one of whose three volumes holds an infinite voxel.
fn run(root: &Path, out: &str, set: &[&str], existing: Existing) -> Result<TrainReport, TrainerError> {
    let dataset = root.join("dataset");
    if !dataset.is_dir() {
        let format = VoxelFormat::unit_range([2, 8, 8], VoxelCode::F32);
        let value = |n: usize, at: usize| if n == 1 && at == 77 { f32::INFINITY } else { (at % (n + 5)) as f32 / 8.0 };
        write_dataset_of(&dataset, format, |n| (0..128).flat_map(|at| value(n, at).to_le_bytes()).collect());
    }
    let own = [
        "data.epochs=1",
        "data.max_steps=6",
        "step.batch=1",
        "step.loss_group=all",
        "checkpoint={every_steps=1, keep=100}",
    ];
    let text = BASE.replace("DATASET", dataset.to_str().unwrap());
    let text = text.replace("validation = { every = 1, batches = 1 }\n", "");
    let text = text.replace("checkpoint = { every_steps = 1 }\n", "");
    let set: Vec<String> = own.iter().chain(set).map(ToString::to_string).collect();
    let mut config: TrainConfig = parse("run.toml", &text, &set).unwrap();
    config.seed = seed(&config.data);
    match train(&config, &root.join(out), existing, &Observed::default())? {
        Ended::Finished(report) => Ok(report),
        Ended::Stopped(_) => panic!("nobody told it to stop"),
    }
}

/// The first seed by which the texts of the volume with the infinite voxel come one behind the other, in the middle.
fn seed(config: &DataConfig) -> u64 {
    let samples = TrainData::open(config, false).unwrap().samples;
    let volume = Id::of_volume("volume 1");
    let is_in_the_middle = |seed: &u64| {
        let sequence = Sequence::new(&samples.hash, &samples, &Order::Shuffled { seed: *seed }).unwrap();
        let mut walk = sequence.walk();
        let mut shows = |position: &u64| {
            samples.text(walk.at(*position) as usize).unwrap().volume_ids.iter().next() == Some(volume)
        };
        let shown: Vec<u64> = (0..STEPS).filter(|position| shows(position)).collect();
        matches!(shown[..], [first, second] if first > 0 && second == first + 1 && second + 1 < STEPS)
    };
    (0..).find(is_in_the_middle).unwrap()
}

fn state(root: &Path, out: &str, step: u64) -> TrainState {
    Checkpoint::open(&folder_of(&root.join(out), step)).unwrap().state().unwrap().0
}

/// Weights and moments after a step.
fn bytes(root: &Path, out: &str, step: u64) -> Vec<Vec<u8>> {
    let files = ["adapters/adapter_model", "vision2d_model/model", "vision3d_connector/model", "state/optimizer"];
    let path = |file: &str| folder_of(&root.join(out), step).join(format!("{file}.safetensors"));
    files.iter().map(|file| fs::read(path(file)).unwrap()).collect()
}

/// The two steps that a run leaves out, which follow each other and are neither its first nor its last.
fn left_out(report: &TrainReport) -> [u64; 2] {
    let steps: Vec<u64> = report.steps.iter().filter(|step| step.skipped).map(|step| step.step).collect();
    assert!(report.steps.iter().all(|step| step.loss.is_nan() == step.skipped), "{steps:?}");
    let &[first, second] = steps.as_slice() else { panic!("{steps:?} are left out") };
    assert!(first > 1 && second == first + 1 && second < STEPS, "{steps:?}");
    [first, second]
}

#[test]
fn a_step_that_is_not_finite_changes_nothing_and_is_logged_and_counted() {
    for precision in ["f32", "bf16"] {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let set = ["step.max_skipped=2".to_owned(), format!("compute.precision={precision}")];
        let report = run(root, "run", &set.each_ref().map(String::as_str), Existing::Refuse).unwrap();
        let [first, second] = left_out(&report);

        let log = fs::read_to_string(root.join("run/train.jsonl")).unwrap();
        let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len() as u64, STEPS);
        for line in &lines {
            let is_left_out = [first, second].contains(&line["step"].as_u64().unwrap());
            assert_eq!(line["skipped"].as_bool().unwrap_or(false), is_left_out, "{line}");
            assert_eq!(line["loss"].is_null(), is_left_out, "{line}");
        }
        let before = bytes(root, "run", first - 1);
        assert!(before == bytes(root, "run", first) && before == bytes(root, "run", second));
        assert!(before != bytes(root, "run", second + 1));
        let skipped = |step: u64| (state(root, "run", step).skipped, state(root, "run", step).updates());
        assert_eq!(skipped(first - 1), (vec![], first - 1));
        assert_eq!(skipped(first), (vec![first], first - 1));
        assert_eq!(skipped(second), (vec![first, second], first - 1));
        assert_eq!(skipped(STEPS), (vec![first, second], STEPS - 2));
    }
}

#[test]
fn one_step_more_than_allowed_ends_the_run_with_a_checkpoint_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let whole = run(root, "whole", &["step.max_skipped=2"], Existing::Refuse).unwrap();
    let [first, second] = left_out(&whole);

    let few = ["step.max_skipped=1", "checkpoint={}"];
    let error = run(root, "ended", &few, Existing::Refuse).unwrap_err();
    let is_of_second = matches!(&error, TrainerError::Diverged { step, .. } if *step == second);
    assert!(is_of_second && error.to_string().contains("checkpoint step-"), "{error}");
    let last = Checkpoint::open(&root.join("ended")).unwrap().state().unwrap().0;
    assert!(last.step >= second && error.to_string().contains(&format!("step-{}", last.step)), "{error}");
    assert_eq!((last.skipped.clone(), last.updates()), (vec![first, second], last.step - 2));

    // It goes on behind them, where it would meet them again.
    let report = run(root, "ended", &few, Existing::Resume).unwrap();
    assert_eq!(report.steps.len() as u64, STEPS);
    assert_eq!(left_out(&report), [first, second]);
    assert!(bytes(root, "ended", STEPS) == bytes(root, "whole", STEPS));
    assert_eq!(state(root, "ended", STEPS), state(root, "whole", STEPS));
}

#[test]
fn a_run_goes_on_to_the_same_weights_from_before_between_and_behind_the_steps() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let set = ["step.max_skipped=2"];
    let whole = run(root, "whole", &set, Existing::Refuse).unwrap();
    let [first, second] = left_out(&whole);
    for kept in first - 1..=second {
        let out = format!("from-{kept}");
        run(root, &out, &set, Existing::Refuse).unwrap();
        (kept + 1..=STEPS).for_each(|step| fs::remove_dir_all(folder_of(&root.join(&out), step)).unwrap());
        let report = run(root, &out, &set, Existing::Resume).unwrap();
        assert_eq!(left_out(&report), [first, second], "from {kept}");
        assert!(bytes(root, &out, STEPS) == bytes(root, "whole", STEPS), "from {kept}");
        assert_eq!(state(root, &out, STEPS), state(root, "whole", STEPS), "from {kept}");
    }
}
