//! Everything that the page shows, read from the runs' folders.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use med2e3_schemas::quarantine::{self, QuarantineRecord};
use med2e3_schemas::report::{
    AccuracyAndChance, DemoSetReport, EvaluateReport, ExplainReport, JoinedReport, PrepareReport, TrainReport,
};
use med2e3_schemas::sample::Task;
use med2e3_shards::{Dataset, Members, ShardError, ShardReader};

use super::picture;
use crate::TrainerError;
use crate::files::json::read_report;

/// The folders of the runs, and the page.
#[derive(Clone, Debug)]
pub struct ReportPaths {
    /// Folder of `med2e3-data demo-set`.
    pub demo_set: PathBuf,
    /// Folder of `med2e3-data prepare`.
    pub dataset: PathBuf,
    /// Folder of the first training stage.
    pub pretrain: PathBuf,
    /// Folder of the second training stage.
    pub finetune: PathBuf,
    /// Folder of `med2e3 evaluate`.
    pub evaluate: PathBuf,
    /// Folder of `med2e3 explain`.
    pub explain: PathBuf,
    /// Seconds by stage, as JSON.
    pub seconds: PathBuf,
    /// The page to write; the JSON file next to it has the same name with .json.
    pub out: PathBuf,
}

/// Everything that the page shows.
pub(super) struct Material {
    pub(super) demo_set: DemoSetReport,
    pub(super) prepare: PrepareReport,
    /// What was set aside.
    pub(super) quarantine: Vec<QuarantineRecord>,
    pub(super) trained: [TrainReport; 2],
    pub(super) evaluate: EvaluateReport,
    pub(super) explain: ExplainReport,
    pub(super) joined: JoinedReport,
    /// Caption and picture (as a data address) of a few prepared volumes.
    pub(super) volumes: Vec<(String, String)>,
    /// Pictures of the explained volumes, by file name.
    pub(super) strips: BTreeMap<String, String>,
}

impl Material {
    /// # Errors
    /// A run that is missing or does not read.
    pub(super) fn read(paths: &ReportPaths) -> Result<Material, TrainerError> {
        let report = |folder: &Path| folder.join("report.json");
        let prepare: PrepareReport = read_report(&report(&paths.dataset), REPORT)?;
        let evaluate: EvaluateReport = read_report(&report(&paths.evaluate), REPORT)?;
        let explain: ExplainReport = read_report(&report(&paths.explain), REPORT)?;
        let trained = [read_report(&report(&paths.pretrain), REPORT)?, read_report(&report(&paths.finetune), REPORT)?];
        let joined = joined(&prepare, &trained, &evaluate, read_report(&paths.seconds, REPORT)?);
        Ok(Material {
            demo_set: read_report(&paths.demo_set.join("demo-set.json"), REPORT)?,
            quarantine: quarantine(&Members::of(&paths.dataset)?.path("quarantine.parquet")?)?,
            volumes: picture::of_volumes(&Dataset::open(&paths.dataset)?)?,
            strips: strips(&paths.explain, &explain)?,
            prepare,
            trained,
            evaluate,
            explain,
            joined,
        })
    }
}

/// What the files of the runs hold.
const REPORT: &str = "a report as this program writes it";

fn strips(folder: &Path, explain: &ExplainReport) -> Result<BTreeMap<String, String>, TrainerError> {
    let (mut strips, members) = (BTreeMap::new(), Members::of(folder)?);
    for explanation in &explain.explanations {
        if !strips.contains_key(&explanation.picture) {
            // A picture is read from the run's own folder, whatever path its report names and wherever a link leads.
            let name = Path::new(&explanation.picture).file_name().and_then(|name| name.to_str()).unwrap_or_default();
            strips.insert(explanation.picture.clone(), picture::data_address(&members.path(name)?)?);
        }
    }
    Ok(strips)
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

fn quarantine(path: &Path) -> Result<Vec<QuarantineRecord>, TrainerError> {
    let mut records = Vec::new();
    for batch in ShardReader::open(path)?.read(&[])? {
        records.extend(quarantine::from_batch(&batch).map_err(ShardError::schema(path))?);
    }
    Ok(records)
}
