//! A run's folder, recognized by what is in it, and what the page shows of it.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use med2e3_schemas::evaluation::Answer;
use med2e3_schemas::inputs::{IntensityNumbers, VolumeRecipe};
use med2e3_schemas::joined::JoinedRun;
use med2e3_schemas::quarantine::{self, QuarantineRecord};
use med2e3_schemas::report::{DemoSetReport, ExplainReport, PrepareReport, RetrieveReport};
use med2e3_shards::{Dataset, Members, ShardError, ShardReader};
use serde::de::DeserializeOwned;

use super::picture;
use super::training::Training;
use crate::TrainerError;
use crate::files::json::{read_report, read_text};
use crate::train::read_log;
use crate::verb::compare::evaluated::{Evaluated, key};

/// A run.
pub(super) struct Run {
    /// Its folder, as it was given.
    pub(super) path: String,
    /// What ran.
    pub(super) what: What,
    /// Its configuration as it is in the folder; `None` where there is none, or a long one.
    pub(super) configuration: Option<String>,
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
    Evaluation(Box<Judged>),
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
    /// Hounsfield units of black and of white, where one window gave all volumes.
    pub(super) units: Option<[f64; 2]>,
}

/// An evaluation.
pub(super) struct Judged {
    pub(super) evaluated: Evaluated,
    /// The answers about another case's volume by question, where they were asked for.
    pub(super) shuffled: HashMap<(String, u32), String>,
}

/// Explained questions.
pub(super) struct Explained {
    pub(super) report: ExplainReport,
    /// Pictures of the explained volumes as data addresses, by file name: some slices of a volume, and all of them.
    pub(super) strips: BTreeMap<String, String>,
    pub(super) sheets: BTreeMap<String, String>,
    /// Of questions, where their answers look.
    pub(super) attention: BTreeMap<String, String>,
    /// The dataset, as its configuration has it.
    pub(super) dataset: Option<PathBuf>,
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
            Some("evaluate.toml" | "score.toml") => What::Evaluation(Box::new(judged(folder)?)),
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
        // Of a dataset the index tells what it was made of; the page of `view` has its configuration.
        let configuration =
            known.filter(|name| name.ends_with(".toml")).and_then(|name| read_text(&folder.join(name)).ok());
        let configuration = configuration.filter(|text| text.len() <= CONFIGURATION_BYTES);
        Ok(Run { path: folder.display().to_string(), what, configuration })
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
            What::Evaluation(judged) => {
                let report = &judged.evaluated.report;
                JoinedRun::Evaluation {
                    path,
                    split: report.split,
                    checkpoint: report.checkpoint.clone(),
                    scores: report.scores.clone(),
                    seconds: report.seconds,
                }
            }
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

/// Bytes of a configuration that is shown.
const CONFIGURATION_BYTES: usize = 1 << 16;

/// What the files of the runs hold.
pub(super) const REPORT: &str = "a report as this program writes it";

/// The report of a run that has ended.
fn ended<T: DeserializeOwned>(folder: &Path) -> Result<T, TrainerError> {
    read_report(&folder.join("report.json"), REPORT)
}

fn prepared(folder: &Path) -> Result<Prepared, TrainerError> {
    let dataset = Dataset::open(folder)?;
    let window = dataset.index().inputs.as_ref().and_then(|inputs| match inputs.volume.recipe {
        VolumeRecipe::Ct { intensity: IntensityNumbers::Window { center, width }, .. } => {
            Some([center - width / 2.0, center + width / 2.0])
        }
        _ => None,
    });
    Ok(Prepared {
        report: ended(folder)?,
        quarantine: quarantine(&Members::of(folder)?.path("quarantine.parquet")?)?,
        volumes: picture::of_volumes(&dataset)?,
        units: window.map(|ends| ends.map(f64::from)),
    })
}

fn judged(folder: &Path) -> Result<Judged, TrainerError> {
    let evaluated = Evaluated::read(folder)?;
    let log = folder.join("controls/shuffled.jsonl");
    let answers: Vec<Answer> = if log.is_file() { read_log(&log)? } else { Vec::new() };
    let shuffled = answers.into_iter().map(|answer| {
        let (sample, turn) = key(&answer);
        ((sample.to_owned(), turn), answer.answer)
    });
    Ok(Judged { shuffled: shuffled.collect(), evaluated })
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
    let (mut strips, mut sheets, mut attention) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let members = Members::of(folder)?;
    // A picture is read from the run's own folder, whatever path its report names and wherever a link leads.
    let read = |pictures: &mut BTreeMap<String, String>, stated: &str| -> Result<(), TrainerError> {
        if !pictures.contains_key(stated) {
            let name = Path::new(stated).file_name().and_then(|name| name.to_str()).unwrap_or_default();
            pictures.insert(stated.to_owned(), picture::of_file(&members.path(name)?)?);
        }
        Ok(())
    };
    for explanation in &report.explanations {
        read(&mut strips, &explanation.picture)?;
        if let Some(sheet) = &explanation.sheet {
            read(&mut sheets, sheet)?;
        }
        if let Some(map) = &explanation.attention {
            read(&mut attention, &map.picture)?;
        }
    }
    let configuration = read_text(&folder.join("explain.toml")).ok().and_then(|text| text.parse::<toml::Table>().ok());
    let dataset = configuration.and_then(|table| Some(PathBuf::from(table.get("dataset")?.as_str()?)));
    Ok(Explained { report, strips, sheets, attention, dataset })
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
