//! The reports of a demo's runs joined: one self-contained HTML page for people, one JSON file for programs.

mod chart;
mod page;
mod picture;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use med2e3_feed::Dataset;
use med2e3_feed::shard::ShardReader;
use med2e3_feed::shard::commit::write_whole;
use med2e3_schemas::report::{
    AccuracyAndChance, DemoSetReport, EvaluateReport, ExplainReport, JoinedReport, PrepareReport, TrainReport,
};
use med2e3_schemas::sample::Task;
use serde::de::DeserializeOwned;

use crate::TrainerError;

/// Where the runs lie.
#[derive(Clone, Debug, Args)]
pub struct Places {
    /// Folder of `med2e3-data demo-set`
    #[arg(long)]
    pub demo_set: PathBuf,
    /// Folder of `med2e3-data prepare`
    #[arg(long)]
    pub dataset: PathBuf,
    /// Folder of the first training stage
    #[arg(long)]
    pub pretrain: PathBuf,
    /// Folder of the second training stage
    #[arg(long)]
    pub finetune: PathBuf,
    /// Folder of `med2e3 evaluate`
    #[arg(long)]
    pub evaluate: PathBuf,
    /// Folder of `med2e3 explain`
    #[arg(long)]
    pub explain: PathBuf,
    /// Seconds by stage, as JSON
    #[arg(long)]
    pub seconds: PathBuf,
    /// The page to write; the JSON file beside it has the same name with .json
    #[arg(long)]
    pub out: PathBuf,
}

/// Everything that the page shows.
pub(crate) struct Material {
    pub(crate) demo_set: DemoSetReport,
    pub(crate) prepare: PrepareReport,
    /// Path, reason and detail of what was set aside.
    pub(crate) quarantine: Vec<[String; 3]>,
    pub(crate) trained: [TrainReport; 2],
    pub(crate) evaluate: EvaluateReport,
    pub(crate) explain: ExplainReport,
    pub(crate) joined: JoinedReport,
    /// Caption and picture (as a data address) of a few prepared volumes.
    pub(crate) volumes: Vec<(String, String)>,
    /// Pictures of the explained volumes, by file name.
    pub(crate) strips: BTreeMap<String, String>,
}

/// Writes the page and the JSON file.
///
/// # Errors
/// A run that is missing or does not read, a file that can't be written.
pub fn join(places: &Places) -> Result<(), TrainerError> {
    let prepare: PrepareReport = parse(&places.dataset.join("report.json"))?;
    let evaluate: EvaluateReport = parse(&places.evaluate.join("report.json"))?;
    let explain: ExplainReport = parse(&places.explain.join("report.json"))?;
    let trained = [parse(&places.pretrain.join("report.json"))?, parse(&places.finetune.join("report.json"))?];
    let joined = joined(&prepare, &trained, &evaluate, parse(&places.seconds)?);
    let mut strips = BTreeMap::new();
    for explanation in &explain.explanations {
        if !strips.contains_key(&explanation.picture) {
            // A picture lies in the run's own folder, whatever its report says.
            let name = Path::new(&explanation.picture).file_name().unwrap_or_default();
            let path = places.explain.join(name);
            strips.insert(explanation.picture.clone(), picture::data_address(&path)?);
        }
    }
    let material = Material {
        demo_set: parse(&places.demo_set.join("demo-set.json"))?,
        quarantine: quarantine(&places.dataset.join("quarantine.parquet"))?,
        volumes: picture::of_volumes(&Dataset::open(&places.dataset)?)?,
        prepare,
        trained,
        evaluate,
        explain,
        joined,
        strips,
    };
    let json = serde_json::to_vec_pretty(&material.joined).expect("a report is plain data");
    write_whole(&places.out.with_extension("json"), &json)?;
    Ok(write_whole(&places.out, page::html(&material).as_bytes())?)
}

fn joined(
    prepare: &PrepareReport,
    trained: &[TrainReport],
    evaluate: &EvaluateReport,
    seconds: BTreeMap<String, f64>,
) -> JoinedReport {
    let mut all = prepare.volumes.clone();
    all.add(&prepare.texts);
    let closed = evaluate.scores.iter().filter(|score| score.task == Task::ClosedVqa && score.metric == "correct");
    let closed_accuracy = closed.filter_map(|score| {
        let chance = score.chance?;
        let topic = score.topic.map_or("all", |topic| topic.as_str()).to_owned();
        Some((topic, AccuracyAndChance { accuracy: score.micro, chance, count: score.count }))
    });
    let curve = |run: &TrainReport| (run.name.clone(), run.steps.iter().map(|s| (s.step, s.loss)).collect());
    JoinedReport {
        manifest_rows: all.manifest_rows,
        rows: all.rows,
        quarantined: all.quarantined,
        duplicates: all.duplicates,
        volumes: prepare.volumes.clone(),
        texts: prepare.texts.clone(),
        closed_accuracy: closed_accuracy.collect(),
        losses: trained.iter().map(curve).collect(),
        seconds,
    }
}

fn quarantine(path: &Path) -> Result<Vec<[String; 3]>, TrainerError> {
    use arrow::array::AsArray;
    let reader = ShardReader::open(path)?;
    let mut rows = Vec::new();
    for batch in reader.read(&["path", "reason", "detail"])? {
        let columns: Vec<_> = ["path", "reason", "detail"]
            .iter()
            .filter_map(|name| batch.column_by_name(name)?.as_string_opt::<i32>())
            .collect();
        if let [paths, reasons, details] = columns.as_slice() {
            rows.extend((0..batch.num_rows()).map(|i| [paths, reasons, details].map(|c| c.value(i).to_owned())));
        }
    }
    Ok(rows)
}

fn parse<T: DeserializeOwned>(path: &Path) -> Result<T, TrainerError> {
    let text = fs::read_to_string(path).map_err(TrainerError::io(path, "read"))?;
    serde_json::from_str(&text).map_err(|e| TrainerError::File {
        path: path.to_owned(),
        expected: "a report as this program writes it".into(),
        found: e.to_string(),
    })
}
