//! No step of training reads a number of the device: what is read does not grow with the steps.

use med2e3_schemas::config::parse;

use super::wild::{BASE, write_dataset};
use super::{Existing, Observed, train};
use crate::config::TrainConfig;
use crate::libtorch::HostReads;

/// Reads of a run of so many steps, which is saved once, at its end.
fn reads(steps: u64, set: &[&str]) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let dataset = folder.path().join("dataset");
    write_dataset(&dataset);
    let text = BASE.replace("DATASET", dataset.to_str().unwrap());
    let text = text
        .replace("checkpoint = { every_steps = 1 }\n", "")
        .replace("max_steps = 1", &format!("max_steps = {steps}"));
    let set: Vec<String> = set.iter().map(ToString::to_string).chain(["data.epochs=4".into()]).collect();
    let config: TrainConfig = parse("run.toml", &text, &set).unwrap();
    let counter = HostReads::start().unwrap();
    train(&config, &folder.path().join("out"), Existing::Refuse, &Observed::default()).unwrap();
    counter.count()
}

#[test]
fn a_step_reads_nothing_of_the_device() {
    let quiet = ["validation={ every = 100, batches = 1 }"];
    for more in [
        vec![],
        vec!["step.micro_batch={ tokens = 64, volumes = 1 }", "step.loss_group=1", "step.augmentation=m3d"],
        vec!["compute.precision=bf16", "step.recompute=selective"],
        vec!["step.recompute=full"],
    ] {
        let set: Vec<&str> = quiet.into_iter().chain(more).collect();
        assert_eq!(reads(3, &set), reads(9, &set), "{set:?}");
    }
    // The counter sees what a measurement reads.
    assert!(reads(9, &["validation={ every = 1, batches = 1 }"]) > reads(9, &quiet));
}
