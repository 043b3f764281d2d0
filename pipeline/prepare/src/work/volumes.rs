//! Volumes: read, min-max, crop, resample, encode; in parallel within the range, written in the manifest's order.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use med2e3_feed::shard::codes::encode;
use med2e3_feed::shard::{Layout, ShardWriter};
use med2e3_input::recipe;
use med2e3_input::volume::{self, Buffers, ReadLimits};
use med2e3_schemas::manifest::{ManifestVolume, volumes_from_batch};
use med2e3_schemas::outcome::RangeOutcome;
use med2e3_schemas::quarantine::{QuarantineRecord, Reason, Table};
use med2e3_schemas::volume::{VolumeRow, VoxelFormat, schema, to_batch};
use rayon::ThreadPool;
use rayon::prelude::*;

use super::{Committed, RangeWork, ShardPlace, chain, entries_of};
use crate::PrepareError;
use crate::config::VolumeConfig;
use crate::progress::{Progress, Step, StepClock};

/// The work on ranges of volumes.
pub struct Volumes {
    root: PathBuf,
    place: ShardPlace,
    format: VoxelFormat,
    limits: ReadLimits,
    /// Memory that one volume leaves to the next.
    buffers: Buffers,
    threads: Arc<ThreadPool>,
    progress: Arc<Progress>,
    clock: StepClock,
}

/// What one manifest row became, and what reading it cost.
type Fate = (Result<VolumeRow, QuarantineRecord>, u64);

impl Volumes {
    /// Work that reads below `root` and writes shards of `dataset`.
    pub fn new(
        root: &Path,
        dataset: &Path,
        config: &VolumeConfig,
        recipe_hash: &str,
        threads: Arc<ThreadPool>,
        progress: Arc<Progress>,
    ) -> Volumes {
        Volumes {
            root: root.to_owned(),
            place: ShardPlace::new(dataset, "volumes", recipe_hash),
            format: VoxelFormat::unit_range(config.shape, config.voxels),
            limits: ReadLimits { max_decoded_bytes: config.max_decoded_mib << 20 },
            buffers: Buffers::default(),
            threads,
            progress,
            clock: StepClock::default(),
        }
    }

    /// Size and time of every input of a range, as one hash: equal when no input was touched since.
    fn stamp(&self, entries: &[(u64, ManifestVolume)]) -> String {
        let mut hasher = blake3::Hasher::new();
        for (_, entry) in entries.iter().filter(|(_, entry)| entry.refusal.is_none()) {
            hasher.update(entry.source_path.as_bytes());
            hasher.update(&input_stamp(&self.root.join(&entry.source_path)));
        }
        hasher.finalize().to_hex().to_string()
    }

    fn prepare(&self, ordinal: u64, entry: &ManifestVolume) -> Fate {
        let reject = |reason: Reason, detail: String, byte_offset: Option<u64>| QuarantineRecord {
            table: Table::Volumes,
            ordinal,
            path: if entry.source_path.is_empty() { entry.image.clone() } else { entry.source_path.clone() },
            row: entry.row.clone(),
            reason,
            detail,
            byte_offset,
        };
        if let Some(refusal) = &entry.refusal {
            return (Err(reject(refusal.reason, refusal.detail.clone(), None)), 0);
        }
        let path = self.root.join(&entry.source_path);
        let row = self.read_and_map(&path, entry).map_err(|error| {
            // The message names files by their path on this machine; the record keeps what is below the root.
            let detail = chain(&error).replace(&format!("{}/", self.root.display()), "");
            reject(error.reason(), detail, error.byte_offset())
        });
        (row, size_on_disk(&path))
    }

    fn read_and_map(&self, path: &Path, entry: &ManifestVolume) -> Result<VolumeRow, med2e3_input::InputError> {
        let volume = self.clock.time(Step::Read, || volume::read_with(path, &self.limits, &self.buffers))?;
        let mut values = Vec::new();
        let info = self.clock.time(Step::Resample, || recipe::m3d(&volume, self.format.shape_dhw, &mut values))?;
        let (voxels, content_hash) = self.clock.time(Step::Encode, || {
            let mut cell = Vec::with_capacity(self.format.cell_bytes());
            encode(&values, &self.format, &mut cell);
            let hash = *blake3::hash(&cell).as_bytes();
            (cell, hash)
        });
        let to_u32 = |shape: [usize; 3]| shape.map(|n| n as u32);
        Ok(VolumeRow {
            volume_id: entry.volume_id,
            voxels,
            source_path: Some(entry.source_path.clone()),
            content_hash,
            case_id: Some(entry.case_id.clone()),
            series: Some(entry.series.clone()),
            plane: volume.plane.map(|plane| plane.as_str().to_owned()),
            orientation: volume.orientation,
            source_shape: to_u32(info.source_shape_dhw),
            crop_start: to_u32(info.crop.start),
            crop_stop: to_u32(info.crop.stop),
            spacing_mm: volume.spacing_mm_dhw,
            hu_known: volume.hu_known,
            value_min: info.value_min,
            value_max: info.value_max,
            slices_dropped: volume.slices_dropped,
        })
    }

    fn write(
        &self,
        range_id: u32,
        entries: &[(u64, ManifestVolume)],
        outcome: &mut RangeOutcome,
        bytes_read: &AtomicU64,
    ) -> Result<ShardWriter, PrepareError> {
        let path = self.place.path(range_id);
        let mut writer = ShardWriter::create(&path, schema(&self.format), Layout::Volumes)?;
        let group = Layout::Volumes.rows_per_group(self.format.cell_bytes());
        let mut pending: Vec<VolumeRow> = Vec::with_capacity(group.min(entries.len()));
        // A window bounds how many prepared volumes wait for their turn to be written.
        for window in entries.chunks(2 * self.threads.current_num_threads()) {
            let fates: Vec<Fate> = self.threads.install(|| {
                let prepared = window.par_iter().map(|(ordinal, entry)| {
                    let fate = self.prepare(*ordinal, entry);
                    self.progress.step(fate.0.is_ok());
                    fate
                });
                prepared.collect()
            });
            for (row, bytes) in fates {
                bytes_read.fetch_add(bytes, Ordering::Relaxed);
                match row {
                    Ok(row) => pending.push(row),
                    Err(reject) => outcome.rejects.push(reject),
                }
                if pending.len() == group {
                    self.clock.time(Step::Write, || writer.write(&to_batch(&pending, &self.format)))?;
                    outcome.rows += pending.len() as u64;
                    pending.clear();
                }
            }
        }
        if !pending.is_empty() {
            self.clock.time(Step::Write, || writer.write(&to_batch(&pending, &self.format)))?;
            outcome.rows += pending.len() as u64;
        }
        Ok(writer)
    }
}

impl RangeWork for Volumes {
    fn table(&self) -> &'static str {
        self.place.table
    }

    fn clock(&self) -> &StepClock {
        &self.clock
    }

    fn commit(&self, range_id: u32, rows: &[RecordBatch]) -> Result<Committed, PrepareError> {
        let entries = entries_of(rows, volumes_from_batch)?;
        let range_hash = ShardPlace::range_hash(&entries);
        let stamp = self.stamp(&entries);
        let fresh = self.place.stamp(range_id).is_some_and(|known| known == stamp);
        if let Some((reader, outcome)) = self.place.finished(range_id, &range_hash).filter(|_| fresh) {
            let shard = reader.entry(&self.place.relative(range_id))?;
            self.progress.skip(&outcome);
            return Ok(Committed { range_id, shard, outcome, bytes_read: 0, reused: true, counts: BTreeMap::new() });
        }
        let mut outcome = RangeOutcome {
            recipe_hash: self.place.recipe_hash.clone(),
            range_hash,
            manifest_rows: entries.len() as u64,
            ..RangeOutcome::default()
        };
        let bytes_read = AtomicU64::new(0);
        let writer = self.write(range_id, &entries, &mut outcome, &bytes_read)?;
        let shard = self.clock.time(Step::Write, || self.place.commit(writer, range_id, &outcome))?;
        self.place.write_stamp(range_id, &stamp)?;
        let bytes_read = bytes_read.into_inner();
        Ok(Committed { range_id, shard, outcome, bytes_read, reused: false, counts: BTreeMap::new() })
    }
}

/// Name, size and time of a file, of its partner where it has one and, for a folder, of what is in it, as one hash.
fn input_stamp(path: &Path) -> [u8; 32] {
    let inner = fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut paths: Vec<PathBuf> = inner.chain([path.to_owned()]).chain(volume::partner(path)).collect();
    paths.sort();
    let mut hasher = blake3::Hasher::new();
    for path in paths {
        let times = fs::metadata(&path).map(|m| (m.len(), m.mtime(), m.mtime_nsec()));
        hasher.update(format!("{:?} {:?}", path.file_name(), times.ok()).as_bytes());
    }
    *hasher.finalize().as_bytes()
}

/// Bytes of a file and its partner, or of the files of a folder.
fn size_on_disk(path: &Path) -> u64 {
    let size = |path: &Path| fs::metadata(path).map_or(0, |m| if m.is_file() { m.len() } else { 0 });
    let own = size(path) + volume::partner(path).map_or(0, |partner| size(&partner));
    let inner = fs::read_dir(path).into_iter().flatten().flatten();
    own + inner.filter_map(|entry| entry.metadata().ok()).filter(|m| m.is_file()).map(|m| m.len()).sum::<u64>()
}
