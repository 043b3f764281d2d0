//! What `med2e3 ablate` leaves for programs: `ablate.json`, the rows of the paper's Tables 3 to 5 as they were measured. Scores and their
//! differences are fractions.

use serde::{Deserialize, Serialize};

use crate::comparison::{ComparedRun, ComparedScore, SystemScore};
use crate::evaluation::ControlScore;
use crate::sample::{Split, Task};

/// `ablate.json`: what is done so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AblateReport {
    /// Version of the program that measured.
    pub version: String,
    /// Hash of what binds in the configuration; each run's report has the same.
    pub configuration: String,
    /// The row that the others are compared with: TG-IS as the paper or as the released code has it.
    pub base: String,
    /// Part of the study that answers are of.
    pub split: Split,
    /// Seeds that each row is asked for.
    pub seeds: Vec<u64>,
    /// Whether the base row's stage 1 is every row's.
    pub share_pretrain: bool,
    /// Every row, those without a run too.
    pub rows: Vec<AblatedRow>,
    /// Tables 3, 4 and 5.
    pub tables: Vec<AblationTable>,
    /// What a reader of the numbers has to know, a sentence each.
    pub notes: Vec<String>,
}

/// A row of the tables: one variant of the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AblatedRow {
    /// The preset that makes it.
    pub row: String,
    /// Its runs that have ended, in the order of the seeds.
    pub runs: Vec<AblatedRun>,
}

/// Both stages and the evaluation of one seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AblatedRun {
    /// The seed.
    pub seed: u64,
    /// The evaluation; paths are relative to the folder of all rows.
    pub evaluation: ComparedRun,
    /// Its controls, by the main metric of each task.
    pub controls: Vec<ControlScore>,
}

/// One table: its rows on the same samples, and what tells them from the base row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AblationTable {
    /// The paper's number of it.
    pub table: u32,
    /// Its rows, in the paper's order, the base row last.
    pub rows: Vec<String>,
    /// Means of the rows that have runs, over all topics.
    pub scores: Vec<SystemScore>,
    /// What tells a row from the base row; p is adjusted by Holm for all comparisons of the table.
    pub comparisons: Vec<ComparedScore>,
    /// How often each row is first.
    pub first: Vec<FirstShare>,
}

/// How often a row of a table has its highest mean.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FirstShare {
    /// The row.
    pub system: String,
    /// Kind of pair.
    pub task: Task,
    /// Metric's name.
    pub metric: String,
    /// Share of the resamples of cases and seeds.
    pub share: f64,
}

/// `ROW/seed-S/report.json`: a run that has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AblatedRunReport {
    /// The preset.
    pub row: String,
    /// The seed.
    pub seed: u64,
    /// Hash of what binds in the configuration.
    pub configuration: String,
    /// Steps of stage 1; 0 where it is the base row's.
    pub pretrain_steps: u64,
    /// Steps of stage 2.
    pub finetune_steps: u64,
    /// Answers.
    pub answers: u64,
    /// Wall seconds of the process that ended it.
    pub seconds: f64,
}
