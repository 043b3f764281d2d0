//! The paper's Tables 3 to 5 by one command: every row through both stages and the evaluation, with each seed, and only the preset differs.
//!
//! # Layout
//! - this file: the flow over all runs, on one page; `rows`: which preset is which row
//! - `run`: one row with one seed; `start`: what rows begin with
//! - `claim`: whether a folder holds this ablation
//! - `results`: what is done, as tables; `outlook`: what all of it will cost

mod claim;
mod outlook;
mod results;
mod rows;
mod run;
mod start;

use std::path::Path;

use med2e3_program::{WorkPart, note};
use med2e3_schemas::ablation::AblateReport;
use serde::Serialize;

use crate::TrainerError;
use crate::config::AblateConfig;
use crate::memory_refused::part_with_hint;
use run::{RowRun, RunEnded};
use start::Ground;

pub use outlook::{AblateOutlook, StageOutlook, outlook};

/// What a process came to.
#[derive(Debug, Serialize)]
pub struct Ablated {
    /// What is done, by whichever process.
    pub report: AblateReport,
    /// Runs of this process's part that are done.
    pub done: u64,
    /// Runs of this process's part that are not.
    pub open: Vec<OpenRun>,
}

/// A run that is not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OpenRun {
    /// Its folder below that of all rows, or its row and stage.
    pub run: String,
    /// Why.
    pub why: Why,
}

impl OpenRun {
    /// In a line.
    fn in_words(&self) -> String {
        let run = &self.run;
        match &self.why {
            Why::Failed(problem) => format!("{run}: failed: {problem}\n"),
            Why::Busy => format!("{run}: another process is at it\n"),
            Why::Stopped => format!("{run}: stopped; the same command goes on\n"),
        }
    }
}

/// Why a run is not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// It failed, with these words.
    Failed(String),
    /// Another process is at it.
    Busy,
    /// A signal asked the process to stop.
    Stopped,
}

/// Runs every row with every seed, those of this part, and writes `ablate.json`, `ablate.md` and tables 3 to 5 as `.md` and `.tex` to `out`
/// after each of them. Runs that are there already stay; what a kill left goes on. A run that fails is told, and the others go on.
///
/// # Errors
/// A configuration out of range; a folder that holds something else or another ablation; results that are of different samples.
pub fn ablate(config: &AblateConfig, out: &Path, part: WorkPart) -> Result<Ablated, TrainerError> {
    config.check()?;
    let ground = Ground::open(config)?;
    let hash = claim::claim(config, out)?;
    let rows = rows::all(config.base);
    let runs: Vec<RowRun<'_>> = config
        .seeds
        .iter()
        .flat_map(|seed| rows.iter().map(|row| (*row, *seed)))
        .map(|(row, seed)| RowRun { config, ground: &ground, hash: &hash, out, row, seed })
        .collect();
    let own: Vec<(usize, &RowRun<'_>)> =
        runs.iter().enumerate().filter(|(number, _)| part.holds(*number as u32)).collect();
    let (mut done, mut open) = (0, Vec::new());
    let mut is_stopped = false;
    for (number, run) in own {
        let left = |why: Why| OpenRun { run: run.name(), why };
        if run.is_done()? {
            done += 1;
            continue;
        }
        if is_stopped {
            open.push(left(Why::Stopped));
            continue;
        }
        note(format_args!("note: {} ({} of {})", run.name(), number + 1, runs.len()));
        match part_with_hint(HINT, || Ok(run.run()?)) {
            Ok(RunEnded::Done) => {
                done += 1;
                results::write(config, &runs, &hash, out)?;
            }
            Ok(RunEnded::Busy) => {
                note(format_args!("note: {}: another process is at it", run.name()));
                open.push(left(Why::Busy));
            }
            Ok(RunEnded::Stopped) => {
                is_stopped = true;
                open.push(left(Why::Stopped));
            }
            Err(problem) => {
                note(format_args!("note: {} failed, the others go on: {problem:#}", run.name()));
                open.push(left(Why::Failed(format!("{problem:#}"))));
            }
        }
    }
    Ok(Ablated { report: results::write(config, &runs, &hash, out)?, done, open })
}

/// What helps where a run finds no memory.
const HINT: &str =
    "step.recompute = \"auto\" and step.micro_batch = \"auto\" in both stages, a smaller evaluate.batch_size";

impl Ablated {
    /// In words.
    pub fn in_words(&self) -> String {
        let runs = |count: usize| if count == 1 { "1 run".to_owned() } else { format!("{count} runs") };
        let mut text = format!("{} done", runs(self.done as usize));
        text += &if self.open.is_empty() { "\n".into() } else { format!(", {} not\n", runs(self.open.len())) };
        self.open.iter().for_each(|open| text += &open.in_words());
        let all = self.report.rows.len() * self.report.seeds.len();
        let there: usize = self.report.rows.iter().map(|row| row.runs.len()).sum();
        text + &format!("{there} of {all} runs are in the tables, base {}\n", self.report.base)
    }

    /// Whether every run of this part that was tried failed.
    pub fn is_failed(&self) -> bool {
        self.done == 0 && self.open.iter().any(|open| matches!(open.why, Why::Failed(_)))
    }
}
