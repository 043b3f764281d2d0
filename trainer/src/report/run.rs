//! A run's folder, recognized by what is in it, and what the page shows of it.

use std::collections::BTreeMap;
use std::path::Path;

use med2e3_schemas::evaluation::EvaluateReport;
use med2e3_schemas::joined::JoinedRun;
use med2e3_schemas::quarantine::{self, QuarantineRecord};
use med2e3_schemas::report::{DemoSetReport, ExplainReport, PrepareReport, RetrieveReport};
use med2e3_shards::{Dataset, Members, ShardError, ShardReader};
use serde::de::DeserializeOwned;

use super::picture;
use super::training::Training;
use crate::TrainerError;
use crate::files::json::read_report;

/// A run.
pub(super) struct Run {
    /// Its folder, as it was given.
    pub(super) path: String,
    /// What ran.
    pub(super) what: What,
}

/// What ran, and what is shown of it.
pub(super) enum What {
    /// `med2e3-data demo-set`.
    DemoSet(DemoSetReport),
    /// `med2e3-data prepare`.
    Dataset(Prepared),
    /// `med2e3 train` or `train-clip`, perhaps going on.
    Training(Training),
    /// `med2e3 evaluate` or `score`.
    Evaluation(EvaluateReport),
    /// `med2e3 explain`.
    Explanation(Explained),
    /// `med2e3 retrieve`.
    Retrieval(RetrieveReport),
}

/// A dataset.
pub(super) struct Prepared {
    pub(super) report: PrepareReport,
    /// What was set aside.
    pub(super) quarantine: Vec<QuarantineRecord>,
    /// Series and picture (as a data address) of a few volumes.
    pub(super) volumes: Vec<(String, String)>,
}

/// Explained questions.
pub(super) struct Explained {
    pub(super) report: ExplainReport,
    /// Pictures of the explained volumes as data addresses, by file name.
    pub(super) strips: BTreeMap<String, String>,
}

/// The file by which each kind of run is known.
const KNOWN_BY: [&str; 7] =
    ["demo-set.json", "dataset.json", "train.toml", "evaluate.toml", "score.toml", "explain.toml", "retrieve.toml"];

impl Run {
    /// # Errors
    /// The folder is no run, or it does not read; a verb other than a training did not end in it.
    pub(super) fn read(folder: &Path) -> Result<Run, TrainerError> {
        let known = KNOWN_BY.into_iter().find(|name| folder.join(name).is_file());
        let what = match known {
            Some("demo-set.json") => What::DemoSet(read_report(&folder.join("demo-set.json"), REPORT)?),
            Some("dataset.json") => What::Dataset(prepared(folder)?),
            Some("train.toml") => What::Training(Training::read(folder)?),
            Some("evaluate.toml" | "score.toml") => What::Evaluation(ended(folder)?),
            Some("explain.toml") => What::Explanation(explained(folder)?),
            Some(_) => What::Retrieval(ended(folder)?),
            None => {
                return Err(TrainerError::File {
                    path: folder.to_owned(),
                    expected: "the folder of a run".into(),
                    found: format!("none of {}", KNOWN_BY.join(", ")),
                });
            }
        };
        Ok(Run { path: folder.display().to_string(), what })
    }

    /// The same for programs.
    pub(super) fn joined(&self) -> JoinedRun {
        let path = self.path.clone();
        match &self.what {
            What::DemoSet(report) => JoinedRun::DemoSet { path, demo_set: report.clone() },
            What::Dataset(Prepared { report, .. }) => JoinedRun::Dataset {
                path,
                volumes: report.volumes.clone(),
                texts: report.texts.clone(),
                seconds: report.seconds,
            },
            What::Training(training) => training.joined(path),
            What::Evaluation(report) => JoinedRun::Evaluation {
                path,
                split: report.split,
                checkpoint: report.checkpoint.clone(),
                scores: report.scores.clone(),
                seconds: report.seconds,
            },
            What::Explanation(Explained { report, .. }) => JoinedRun::Explanation {
                path,
                checkpoint: report.checkpoint.clone(),
                questions: report.explanations.len() as u64,
                seconds: report.seconds,
            },
            What::Retrieval(report) => JoinedRun::Retrieval { path, retrieval: report.clone() },
        }
    }
}

/// What the files of the runs hold.
pub(super) const REPORT: &str = "a report as this program writes it";

/// The report of a run that has ended.
fn ended<T: DeserializeOwned>(folder: &Path) -> Result<T, TrainerError> {
    read_report(&folder.join("report.json"), REPORT)
}

fn prepared(folder: &Path) -> Result<Prepared, TrainerError> {
    Ok(Prepared {
        report: ended(folder)?,
        quarantine: quarantine(&Members::of(folder)?.path("quarantine.parquet")?)?,
        volumes: picture::of_volumes(&Dataset::open(folder)?)?,
    })
}

fn quarantine(path: &Path) -> Result<Vec<QuarantineRecord>, TrainerError> {
    let mut records = Vec::new();
    for batch in ShardReader::open(path)?.read(&[])? {
        records.extend(quarantine::from_batch(&batch).map_err(ShardError::schema(path))?);
    }
    Ok(records)
}

fn explained(folder: &Path) -> Result<Explained, TrainerError> {
    let report: ExplainReport = ended(folder)?;
    let (mut strips, members) = (BTreeMap::new(), Members::of(folder)?);
    for explanation in &report.explanations {
        if !strips.contains_key(&explanation.picture) {
            // A picture is read from the run's own folder, whatever path its report names and wherever a link leads.
            let name = Path::new(&explanation.picture).file_name().and_then(|name| name.to_str()).unwrap_or_default();
            strips.insert(explanation.picture.clone(), picture::data_address(&members.path(name)?)?);
        }
    }
    Ok(Explained { report, strips })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_no_run_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let error = Run::read(folder.path()).err().unwrap().to_string();
        assert!(error.contains("the folder of a run") && error.contains("train.toml"), "{error}");
        // A verb that was killed, or is at work.
        std::fs::write(folder.path().join("evaluate.toml"), "").unwrap();
        let error = Run::read(folder.path()).err().unwrap().to_string();
        assert!(error.contains("report.json"), "{error}");
    }
}
