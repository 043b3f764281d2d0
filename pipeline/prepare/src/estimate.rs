//! `prepare --dry-run`: how many rows, how many bytes on disk and how much time, measured on a few of the inputs; and what will be
//! set aside, by the headers of all of them.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use med2e3_program::Stopwatch;
use med2e3_schemas::manifest::{ManifestVolume, texts_to_batch, volumes_to_batch};
use med2e3_schemas::quarantine::Table;
use med2e3_store::disk::free_bytes;
use serde::Serialize;

use crate::PrepareError;
use crate::config::PrepareConfig;
use crate::foresee::{Foreseen, foresee};
use crate::manifest;
use crate::progress::RowProgress;
use crate::run::{RunFolder, TextTools, check_threads, thread_pool};

/// Inputs that are prepared to measure the rate, spread evenly over the manifest.
const PROBES: usize = 16;

/// Texts that are encoded to measure their size.
const TEXT_PROBES: usize = 512;

/// What a run would take.
#[derive(Clone, Debug, Serialize)]
pub struct Estimate {
    /// Volumes in the manifest.
    pub volumes: u64,
    /// Of these, volumes that will be set aside, as far as the manifest and headers tell.
    pub volumes_refused: u64,
    /// Texts in the manifest.
    pub texts: u64,
    /// Volumes a second, measured on this machine with the run's threads.
    pub volumes_per_second: f64,
    /// Bytes that the shards will take.
    pub bytes: u64,
    /// Wall hours.
    pub hours: f64,
    /// Wall seconds, the same time.
    pub seconds: f64,
    /// What will be set aside, and what only decoding will tell.
    pub foreseen: Foreseen,
    /// Whether so much will be set aside that the run ends with an error, see `[limits]`.
    pub over_limits: bool,
    /// Bytes free on the disk that the dataset is for.
    pub free_bytes: u64,
}

impl Estimate {
    /// Whether the dataset fits on its disk with a hundredth to spare.
    pub fn fits(&self) -> bool {
        self.bytes + self.bytes / 100 <= self.free_bytes
    }
}

/// Reads the manifest and every input's headers, prepares a few of the rows in a temporary folder, and says what all of them will
/// take.
///
/// # Errors
/// As [`prepare`](crate::prepare::prepare) before its first row.
pub fn estimate(config: &PrepareConfig, out: &Path) -> Result<Estimate, PrepareError> {
    config.check()?;
    check_threads(config.engine.threads)?;
    let folder = std::env::temp_dir().join(format!("med2e3-dry-run-{}", std::process::id()));
    let estimated = measure(config, out, &folder);
    let _ = fs::remove_dir_all(&folder);
    estimated
}

fn measure(config: &PrepareConfig, out: &Path, folder: &Path) -> Result<Estimate, PrepareError> {
    let folder = RunFolder::temporary(folder, config)?;
    let manifest = manifest::read(&folder.root, &config.manifest, &config.text.rules()?, &folder.provenance)?;
    let threads = Arc::new(thread_pool(config.engine.threads)?);
    let shard_bytes = |table, rows: RecordBatch| -> Result<f64, PrepareError> {
        let work = folder.work_spec(table, config, "").open(threads.clone(), Arc::new(RowProgress::hidden()))?;
        Ok(work.commit(0, &[rows])?.shard.bytes as f64)
    };
    let foreseen = foresee(config, &folder.root, &manifest, &threads)?;
    let numbered = manifest.volumes.iter().zip(0u64..);
    let usable: Vec<&ManifestVolume> =
        numbered.filter(|(_, ordinal)| !foreseen.set_aside.contains(ordinal)).map(|(volume, _)| volume).collect();
    let step = usable.len().div_ceil(PROBES).max(1);
    let probes: Vec<ManifestVolume> = usable.iter().step_by(step).map(|&volume| volume.clone()).collect();
    let watch = Stopwatch::start();
    let mut bytes = 0.0;
    if !probes.is_empty() {
        let probed = shard_bytes(Table::Volumes, volumes_to_batch(0, 0, &probes))?;
        bytes += probed / probes.len() as f64 * usable.len() as f64;
    }
    let per_volume = watch.seconds() / probes.len().max(1) as f64;
    let watch = Stopwatch::start();
    let mut text_seconds = 0.0;
    if !manifest.texts.is_empty() {
        let step = manifest.texts.len().div_ceil(TEXT_PROBES);
        let texts: Vec<_> = manifest.texts.iter().step_by(step).cloned().collect();
        let sample = manifest::Manifest { texts: texts.clone(), ..Default::default() };
        TextTools::provide(&config.text, &sample)?.store(&folder.dataset)?;
        let times = manifest.texts.len() as f64 / texts.len() as f64;
        bytes += shard_bytes(Table::Texts, texts_to_batch(0, 0, &texts))? * times;
        text_seconds = watch.seconds() * times;
    }
    let seconds = per_volume * usable.len() as f64 + text_seconds;
    let (rejected, rows) = (foreseen.rows(), (manifest.volumes.len() + manifest.texts.len()) as u64);
    let share = 100.0 * rejected as f64 / rows.max(1) as f64;
    let over_limits = rejected > config.limits.reject_rows && share > config.limits.reject_percent;
    Ok(Estimate {
        volumes: manifest.volumes.len() as u64,
        volumes_refused: (manifest.volumes.len() - usable.len()) as u64,
        texts: manifest.texts.len() as u64,
        volumes_per_second: if probes.is_empty() { 0.0 } else { 1.0 / per_volume },
        bytes: bytes as u64,
        hours: seconds / 3600.0,
        seconds,
        over_limits: over_limits || (rows > 0 && rejected == rows),
        foreseen,
        free_bytes: free_bytes(out)?,
    })
}
