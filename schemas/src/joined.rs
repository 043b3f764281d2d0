//! The JSON file next to the page of `med2e3 report`: the runs that it shows.

use serde::{Deserialize, Serialize};

use crate::evaluation::Score;
use crate::report::{DemoSetReport, RetrieveReport, TableCounts};
use crate::sample::Split;

/// What a training does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// A process trains into its folder.
    Running,
    /// Its report is written.
    Finished,
    /// Neither: `--resume` goes on.
    Stopped,
}

/// The JSON file next to the HTML page of `med2e3 report`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JoinedReport {
    /// The runs, in the order in which they were given.
    pub runs: Vec<JoinedRun>,
}

/// One run of a joined report; `path` is its folder, as it was given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[allow(missing_docs, reason = "the fields are those of the runs' own reports")]
pub enum JoinedRun {
    /// `med2e3-data demo-set`.
    DemoSet { path: String, demo_set: DemoSetReport },
    /// `med2e3-data prepare`.
    Dataset { path: String, volumes: TableCounts, texts: TableCounts, seconds: f64 },
    /// `med2e3 train` or `train-clip`. `step` is the last one of its log, `steps` those of the whole run, where it is known.
    /// `losses` and `validation` are pairs of step and loss; losses that are not finite are left out.
    Training {
        path: String,
        name: String,
        state: RunState,
        step: u64,
        steps: Option<u64>,
        losses: Vec<(u64, f64)>,
        validation: Vec<(u64, f64)>,
        seconds: f64,
    },
    /// `med2e3 evaluate`.
    Evaluation { path: String, split: Split, checkpoint: String, scores: Vec<Score>, seconds: f64 },
    /// `med2e3 explain`.
    Explanation { path: String, checkpoint: String, questions: u64, seconds: f64 },
    /// `med2e3 retrieve`.
    Retrieval { path: String, retrieval: RetrieveReport },
}
