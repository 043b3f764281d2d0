//! The training runs below a folder, with how far each is; a run may be going on meanwhile.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use med2e3_schemas::joined::RunState;
use med2e3_schemas::report::RunLength;
use med2e3_store::FileError;
use serde::{Deserialize, Serialize};

use crate::TrainerError;
use crate::files::checkpoint;
use crate::files::json::read_json;
use crate::lock::is_held;
use crate::train::LENGTH;

/// Folders below the given one in which runs are looked for.
const DEPTH: usize = 3;
/// Bytes at a log's end in which its last whole line is looked for; a line of many tasks has some hundred.
const TAIL: u64 = 1 << 16;

/// One run.
#[derive(Clone, Debug, Serialize)]
pub struct FoundRun {
    /// Its folder.
    pub path: PathBuf,
    /// Its name in its configuration.
    pub name: Option<String>,
    /// What it does.
    pub state: RunState,
    /// The last step in its log; 0 where there is none.
    pub step: u64,
    /// Steps of the whole run; absent in runs of earlier versions.
    pub steps: Option<u64>,
    /// The loss of its last step, in nats; absent where that is not finite.
    pub loss: Option<f64>,
    /// The step of its last whole checkpoint.
    pub checkpoint: Option<u64>,
    /// Bytes of its folder.
    pub bytes: u64,
}

/// The runs in a folder, itself included, in the order of their paths.
///
/// # Errors
/// The folder does not read; there is no run.
pub fn runs(folder: &Path) -> Result<Vec<FoundRun>, TrainerError> {
    fs::read_dir(folder).map_err(FileError::of(folder, "list"))?;
    let mut found = Vec::new();
    look(folder, DEPTH, &mut found);
    if found.is_empty() {
        return Err(TrainerError::File {
            path: folder.to_owned(),
            expected: "folders of med2e3 train or train-clip".into(),
            found: format!("none down to {DEPTH} folders below"),
        });
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn look(folder: &Path, depth: usize, found: &mut Vec<FoundRun>) {
    if folder.join("train.toml").is_file() {
        found.push(run(folder));
        return;
    }
    if depth > 0 {
        // What does not list is no run.
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        folders.for_each(|entry| look(&entry.path(), depth - 1, found));
    }
}

/// A line of either training's log.
#[derive(Deserialize)]
struct Line {
    step: u64,
    loss: Option<f64>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

/// The run in a folder.
pub(crate) fn run(folder: &Path) -> FoundRun {
    let last = last_line(&folder.join("train.jsonl"));
    let text = fs::read_to_string(folder.join("train.toml")).ok();
    let state = match (is_held(folder), folder.join("report.json").is_file()) {
        (true, _) => RunState::Running,
        (false, true) => RunState::Finished,
        (false, false) => RunState::Stopped,
    };
    let length: Option<RunLength> = read_json(&folder.join(LENGTH), "JSON as this program writes it").ok();
    FoundRun {
        path: folder.to_owned(),
        name: text.and_then(|text| toml::from_str::<Named>(&text).ok()).map(|named| named.name),
        state,
        step: last.as_ref().map_or(0, |line| line.step),
        steps: length.map(|length| length.steps),
        loss: last.and_then(|line| line.loss),
        checkpoint: checkpoint::last(folder).and_then(|last| checkpoint::step_of(&last)),
        bytes: bytes_below(folder),
    }
}

/// The last whole line; a run that is going on may have written a part of the next one.
fn last_line(path: &Path) -> Option<Line> {
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes).ok()?;
    bytes.split(|byte| *byte == b'\n').rev().find_map(|line| serde_json::from_slice(line).ok())
}

/// Bytes of the regular files in a folder; what goes away meanwhile counts nothing.
pub(crate) fn bytes_below(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let of = |entry: fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => bytes_below(&entry.path()),
        Ok(kind) if kind.is_file() => entry.metadata().map_or(0, |file| file.len()),
        _ => 0,
    };
    entries.map(of).sum()
}

/// The runs as a table.
pub fn table(runs: &[FoundRun]) -> String {
    let width = runs.iter().map(|run| run.path.display().to_string().chars().count()).max().unwrap_or(0).max(3);
    let mut text = format!(
        "{:<width$}  {:<8}  {:>15}  {:>8}  {:>10}  {:>9}\n",
        "run", "state", "step", "loss", "checkpoint", "MiB"
    );
    for run in runs {
        let state = match run.state {
            RunState::Running => "running",
            RunState::Finished => "finished",
            RunState::Stopped => "stopped",
        };
        let step = format!("{}/{}", run.step, run.steps.map_or("?".into(), |steps| steps.to_string()));
        let loss = run.loss.map_or("-".into(), |loss| format!("{loss:.3}"));
        let checkpoint = run.checkpoint.map_or("-".into(), |step| format!("step-{step}"));
        let size = format!("{:.1}", run.bytes as f64 / f64::from(1 << 20));
        let path = run.path.display().to_string();
        text += &format!("{path:<width$}  {state:<8}  {step:>15}  {loss:>8}  {checkpoint:>10}  {size:>9}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_is_being_written_gives_its_last_whole_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("train.jsonl");
        assert!(last_line(&path).is_none());
        let line = |step: u64| format!("{{\"step\":{step},\"loss\":0.5,\"other\":\"{}\"}}\n", "x".repeat(300));
        let lines: String = (1..=1000).map(line).collect();
        fs::write(&path, &lines).unwrap();
        assert_eq!(last_line(&path).unwrap().step, 1000);
        fs::write(&path, lines + "{\"step\":1001,\"lo").unwrap();
        assert_eq!(last_line(&path).unwrap().step, 1000);
        fs::write(&path, "{\"step\":1,\"loss\":null}\n").unwrap();
        assert!(last_line(&path).unwrap().loss.is_none());
    }
}
