//! `cargo xtask bench-metrics`: BLEU, ROUGE and METEOR next to the Python packages, in one run; prints a table.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::command::{cargo, run};
use crate::{peers, wordnet};

/// What the peers need.
const PACKAGES: [&str; 3] = ["nltk==3.8.1", "rouge-score==0.1.2", "sacrebleu==2.6.0"];

/// Builds `metric/examples/score_pairs.rs`, optimized, provides WordNet and a Python with the peers (the given one, or a virtual
/// environment in `.bench/venv`), and runs `tests/peers/metric_time.py`.
pub(crate) fn bench_metrics(repository: &Path, python: Option<PathBuf>) -> Result<()> {
    wordnet::setup_wordnet(repository)?;
    // The crate alone: with the workspace's features DataFusion would be built optimized too.
    run(&mut cargo(repository, &["build", "--release", "-p", "med2e3-metric", "--example", "score_pairs"]), &[0])?;
    let python = peers::python(repository, python, &PACKAGES)?;
    // target/debug/xtask -> target/release/examples
    let target = std::env::current_exe()?.parent().and_then(Path::parent).map(Path::to_owned).unwrap_or_default();
    let mut command = Command::new(python);
    command.arg(repository.join("tests/peers/metric_time.py")).arg(target.join("release/examples/score_pairs"));
    let punkt = repository.join("metric/src/meteor/words/punkt.txt");
    run(command.arg(repository.join(wordnet::HOME)).arg(punkt), &[0]).map(|_| ())
}
