//! What an ablation will cost, before any of it is run: hours of training and bytes of checkpoints of every row.

use std::path::Path;

use med2e3_program::{WorkPart, with_causes};
use serde::Serialize;

use super::run::{FINETUNE, PRETRAIN};
use super::start::Ground;
use super::{OpenRun, Why, rows};
use crate::TrainerError;
use crate::config::{AblateConfig, RowsOwn};
use crate::train::planned_of;
use crate::verb::plan::{PlanFor, on};
use crate::words::Word;

/// The training of one row's stage, the same with each seed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StageOutlook {
    /// The row.
    pub row: String,
    /// `pretrain` or `finetune`.
    pub stage: String,
    /// Times that it is run: with each seed of the part.
    pub runs: u64,
    /// Optimizer steps.
    pub steps: u64,
    /// Hours of one run as the device's rates make them, validation and checkpoints left out.
    pub hours: f64,
    /// Bytes of device memory at the peak.
    pub peak: f64,
    /// Bytes of the checkpoints that stay of one run.
    pub stays: f64,
}

/// All of an ablation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AblateOutlook {
    /// The device, and where its rates come from.
    pub device: String,
    /// Every stage that is run.
    pub stages: Vec<StageOutlook>,
    /// Stages that would fail, such as one that the memory does not hold.
    pub refused: Vec<OpenRun>,
    /// Hours of all runs.
    pub hours: f64,
    /// Bytes of all checkpoints that stay.
    pub stays: f64,
    /// Bytes that are free on the disk, where the system says.
    pub disk_free: Option<u64>,
}

/// Estimates an ablation, or a part of it; writes nothing and makes no weights.
///
/// # Errors
/// A configuration or start that does not fit.
pub fn outlook(config: &AblateConfig, out: &Path, part: WorkPart) -> Result<AblateOutlook, TrainerError> {
    config.check()?;
    let ground = Ground::open(config)?;
    let planned = on(config.device, config.threads, PlanFor::default());
    // A folder that is not there yet has its parent's disk.
    let disk = out.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("."));
    let rows = rows::all(config.base);
    let (mut stages, mut refused, mut disk_free) = (Vec::new(), Vec::new(), None);
    for (place, row) in rows.iter().enumerate() {
        let numbers = (0..config.seeds.len()).map(|seed| seed * rows.len() + place);
        let runs = numbers.filter(|number| part.holds(*number as u32)).count() as u64;
        let is_shared = config.share_pretrain && *row != config.base.preset();
        for (name, stage) in [(PRETRAIN, &config.pretrain), (FINETUNE, &config.finetune)] {
            if runs == 0 || (is_shared && name == PRETRAIN) {
                continue;
            }
            let has_text_encoder = row.variant().needs_text_encoder();
            let own = RowsOwn { name: name.into(), seed: config.seeds[0], has_text_encoder };
            let sizes = ground.sizes_of(*row);
            let found = planned_of(&stage.of_row(config, &own, config.start.clone()), &sizes, &planned, disk);
            let estimate = match found {
                Ok(estimate) => estimate,
                Err(problem) => {
                    let run = format!("{}/{name}", row.as_str());
                    refused.push(OpenRun { run, why: Why::Failed(with_causes(&problem)) });
                    continue;
                }
            };
            disk_free = estimate.disk_free;
            let kept = estimate.steps.clamp(1, stage.checkpoint.keep as u64);
            stages.push(StageOutlook {
                row: row.as_str().into(),
                stage: name.into(),
                runs,
                steps: estimate.steps,
                hours: estimate.seconds / 3600.0,
                peak: estimate.peak,
                stays: kept as f64 * estimate.checkpoint.one(),
            });
        }
    }
    let sum = |of: fn(&StageOutlook) -> f64| stages.iter().map(|stage| stage.runs as f64 * of(stage)).sum();
    let (hours, stays) = (sum(|stage| stage.hours), sum(|stage| stage.stays));
    Ok(AblateOutlook { device: planned.profile.name, hours, stays, stages, refused, disk_free })
}

impl AblateOutlook {
    /// As a table.
    pub fn table(&self) -> String {
        let gib = |bytes: f64| bytes / (1u64 << 30) as f64;
        let mut text = format!(
            "{:<16}{:<10}{:>6}{:>9}{:>12}{:>12}{:>16}\n",
            "row", "stage", "runs", "steps", "hours", "peak GiB", "checkpoints GiB"
        );
        for stage in &self.stages {
            text += &format!(
                "{:<16}{:<10}{:>6}{:>9}{:>12.3}{:>12.2}{:>16.2}\n",
                stage.row,
                stage.stage,
                stage.runs,
                stage.steps,
                stage.hours,
                gib(stage.peak),
                gib(stage.stays)
            );
        }
        self.refused.iter().for_each(|open| text += &open.in_words());
        let free = self.disk_free.map_or("unknown".into(), |free| format!("{:.1} GiB", gib(free as f64)));
        text + &format!(
            "\n{:.2} hours of training on {}; validation, checkpoints and evaluations left out\n\
             checkpoints that stay: {:.1} GiB ({:.0} bytes), free {free}\n",
            self.hours,
            self.device,
            gib(self.stays),
            self.stays
        )
    }
}
