//! `prepare --dry-run`: how many rows, how many bytes on disk and how many hours, measured on a few of the inputs.

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
    /// Of these, volumes that can't be found.
    pub volumes_refused: u64,
    /// Texts in the manifest.
    pub texts: u64,
    /// Volumes a second, measured on this machine with the run's threads.
    pub volumes_per_second: f64,
    /// Bytes that the shards will take.
    pub bytes: u64,
    /// Wall hours.
    pub hours: f64,
    /// Bytes free on the disk that the dataset is for.
    pub free_bytes: u64,
}

impl Estimate {
    /// Whether the dataset fits on its disk with a hundredth to spare.
    pub fn fits(&self) -> bool {
        self.bytes + self.bytes / 100 <= self.free_bytes
    }
}

/// Reads the manifest, prepares a few of its rows in a temporary folder, and says what all of them will take.
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
    let usable: Vec<&ManifestVolume> = manifest.volumes.iter().filter(|volume| volume.refusal.is_none()).collect();
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
    Ok(Estimate {
        volumes: manifest.volumes.len() as u64,
        volumes_refused: (manifest.volumes.len() - usable.len()) as u64,
        texts: manifest.texts.len() as u64,
        volumes_per_second: if probes.is_empty() { 0.0 } else { 1.0 / per_volume },
        bytes: bytes as u64,
        hours: (per_volume * usable.len() as f64 + text_seconds) / 3600.0,
        free_bytes: free_bytes(out)?,
    })
}
