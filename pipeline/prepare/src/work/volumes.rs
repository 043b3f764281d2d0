//! Volumes: read, min-max, crop, resample, encode; in parallel within the range, written in the manifest's order.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::RecordBatch;
use med2e3_input::InputError;
use med2e3_input::perceptual::look_of;
use med2e3_input::reading;
use med2e3_input::recipe::{self, CtRecipe};
use med2e3_input::volume::{self, Buffers, DeepPictures, ReadLimits, Stage, with_stage_observer};
use med2e3_program::with_causes;
use med2e3_schemas::Id;
use med2e3_schemas::identity::{Identify, Identity};
use med2e3_schemas::manifest::{ManifestVolume, range_identity, volumes_from_batch};
use med2e3_schemas::quarantine::{QuarantineRecord, Reason, Table};
use med2e3_schemas::volume::{
    self as table, HounsfieldScale, VolumeRow, VoxelFormat, from_batch, schema_with, to_batch,
};
use med2e3_shards::codes::encode;
use med2e3_shards::{PageLayout, ShardReader, ShardWriter};
use rayon::ThreadPool;
use rayon::prelude::*;

use super::receipt::{Input, Receipt, ShardFiles};
use super::{Committed, Outlook, RangeWork, WorkSpec, entries_of};
use crate::PrepareError;
use crate::config::{CheckInputs, PrepareConfig, Recipe};
use crate::manifest::link_out_of;
use crate::progress::{RowProgress, Step, StepClock};
use crate::provenance::Provenance;

/// The work on ranges of volumes.
pub(super) struct Volumes {
    root: PathBuf,
    files: ShardFiles,
    provenance: Provenance,
    recipe: Recipe,
    format: VoxelFormat,
    layout: PageLayout,
    hounsfield: Option<HounsfieldScale>,
    deep_pictures: DeepPictures,
    limits: ReadLimits,
    // Memory that one volume leaves to the next.
    buffers: Buffers,
    threads: Arc<ThreadPool>,
    progress: Arc<RowProgress>,
    clock: Arc<StepClock>,
    check_inputs: CheckInputs,
}

/// What one manifest row became, its input, and what reading it cost.
struct RowOutcome {
    row: Result<VolumeRow, QuarantineRecord>,
    input: Option<Input>,
    bytes_read: u64,
}

impl Volumes {
    /// Work that reads below the spec's root and writes shards of its dataset.
    pub(super) fn new(
        spec: &WorkSpec,
        config: &PrepareConfig,
        provenance: Provenance,
        threads: Arc<ThreadPool>,
        progress: Arc<RowProgress>,
    ) -> Volumes {
        let volume = &config.volume;
        Volumes {
            root: spec.root.clone(),
            files: ShardFiles::new(spec, provenance.clone()),
            provenance,
            recipe: volume.recipe,
            format: volume.format(),
            layout: PageLayout::Volumes(volume.codec),
            hounsfield: volume.inputs().hounsfield(),
            deep_pictures: volume.deep_pictures,
            limits: ReadLimits { max_decoded_bytes: volume.max_decoded_mib.saturating_mul(1 << 20) },
            check_inputs: config.engine.check_inputs,
            buffers: Buffers::default(),
            threads,
            progress,
            clock: Arc::new(StepClock::default()),
        }
    }

    /// What the row becomes.
    ///
    /// # Errors
    /// The machine failed to read the input: what the row would become is not known.
    fn prepare(&self, ordinal: u64, entry: &ManifestVolume) -> Result<RowOutcome, PrepareError> {
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
            let row = Err(reject(refusal.reason, refusal.detail.clone(), None));
            return Ok(RowOutcome { row, input: None, bytes_read: 0 });
        }
        let path = self.root.join(&entry.source_path);
        if let Some(link) = reading::patiently(|| link_out_of(&self.root, &path))? {
            let name = link.strip_prefix(&self.root).unwrap_or(&link).display();
            let detail = format!("expected files within the data root, found the link {name} out of it");
            let row = Err(reject(Reason::PathOutsideRoot, detail, None));
            return Ok(RowOutcome { row, input: None, bytes_read: 0 });
        }
        // Before the reading: a change while it is read shows in the next run.
        let input = Input::now(&self.root, &entry.source_path, self.check_inputs);
        let row = match self.read_and_map(&path, entry) {
            Ok(row) => Ok(self.named(row, entry)),
            Err(fault @ InputError::Machine(_)) => return Err(fault.into()),
            Err(error) => {
                // The message names files by their path on this machine; the record keeps what is below the root.
                let detail = with_causes(&error).replace(&format!("{}/", self.root.display()), "");
                Err(reject(error.reason(), detail, error.byte_offset()))
            }
        };
        let input = if row.is_ok() { input } else { input.deepened(&self.root) };
        Ok(RowOutcome { row, input: Some(input), bytes_read: size_on_disk(&path) })
    }

    fn read_and_map(&self, path: &Path, entry: &ManifestVolume) -> Result<VolumeRow, InputError> {
        let volume = {
            let lap = Rc::new(RefCell::new(self.clock.lap(Step::Read)));
            let observer = Rc::new(move |stage| lap.borrow_mut().switch(step_of(stage)));
            with_stage_observer(observer, || volume::read_as(path, &self.limits, &self.buffers, self.deep_pictures))?
        };
        let mut values = Vec::new();
        let shape_dhw = self.format.shape_dhw;
        let info = self.clock.time(Step::Resample, || match self.recipe {
            Recipe::M3d => recipe::m3d(&volume, shape_dhw, &mut values),
            Recipe::Ct(recipe) => recipe::ct(&volume, &CtRecipe { shape_dhw, ..recipe }, &mut values),
        })?;
        // Of the volume as it was read: its crop is another where compression left a trace on black.
        let perceptual_hash = self.clock.time(Step::Encode, || look_of(&volume).to_bytes());
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
            source_path: None,
            content_hash,
            perceptual_hash,
            case_id: None,
            series: None,
            plane: volume.plane.map(|plane| plane.as_str()).or(plane_in(&entry.series)).map(str::to_owned),
            orientation: volume.orientation,
            source_shape: to_u32(info.source_shape_dhw),
            crop_start: to_u32(info.crop.start),
            crop_stop: to_u32(info.crop.stop),
            spacing_mm: volume.spacing_mm_dhw,
            hu_known: volume.hu_known,
            value_min: info.value_min,
            value_max: info.value_max,
            slices_dropped: volume.slices_dropped,
            notes: entry.note.iter().cloned().chain(volume.notes).collect(),
        })
    }

    /// The row with what the manifest says of it, as far as the dataset may hold it.
    fn named(&self, row: VolumeRow, entry: &ManifestVolume) -> VolumeRow {
        VolumeRow {
            source_path: self.provenance.name(&entry.source_path),
            case_id: Some(self.provenance.case(&entry.case_id)),
            series: self.provenance.name(&entry.series),
            ..row
        }
    }

    /// What every row became, in order: known from an earlier shard, or prepared now.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare), of the first row of which it is known.
    fn outcomes(
        &self,
        earlier: Option<&Earlier>,
        window: &[(u64, ManifestVolume)],
    ) -> Result<Vec<RowOutcome>, PrepareError> {
        self.threads.install(|| {
            let outcomes = window.par_iter().map(|(ordinal, entry)| {
                let known = earlier.and_then(|earlier| self.known(earlier, *ordinal, entry));
                let done = known.map_or_else(|| self.prepare(*ordinal, entry), Ok)?;
                self.progress.step(done.row.is_ok());
                Ok(done)
            });
            outcomes.collect()
        })
    }

    /// What an earlier run knows of the entry, if its input is the same still: without opening its voxels.
    fn found<'a>(&self, earlier: &'a Earlier, entry: &ManifestVolume) -> Option<(&'a Input, Found<'a>)> {
        let input = earlier.receipt.inputs.get(&entry.volume_id)?;
        if input.path != entry.source_path || !input.is_unchanged(&self.root, self.check_inputs) {
            return None;
        }
        let found = match earlier.rows.get(&entry.volume_id) {
            Some(row) => Found::Row(*row),
            None => Found::Reject(earlier.receipt.rejects.iter().find(|record| record.path == entry.source_path)?),
        };
        Some((input, found))
    }

    /// What an earlier run made of the entry, if its input is the same still.
    fn known(&self, earlier: &Earlier, ordinal: u64, entry: &ManifestVolume) -> Option<RowOutcome> {
        let (input, found) = self.found(earlier, entry)?;
        let row = match found {
            Found::Row(row) => {
                let batch = earlier.reader.read_row(row, &[]).ok()?;
                let row = from_batch(&batch, &self.format).ok()?.pop()?;
                // A cell that the disk has damaged is made again, not copied.
                if *blake3::hash(&row.voxels).as_bytes() != row.content_hash {
                    return None;
                }
                Ok(self.named(row, entry))
            }
            Found::Reject(record) => Err(QuarantineRecord { ordinal, row: entry.row.clone(), ..record.clone() }),
        };
        Some(RowOutcome { row, input: Some(input.clone()), bytes_read: 0 })
    }

    fn write(
        &self,
        writer: &mut ShardWriter,
        earlier: Option<&Earlier>,
        entries: &[(u64, ManifestVolume)],
        range: &mut Range,
    ) -> Result<(), PrepareError> {
        let group = self.layout.rows_per_group(self.format.cell_bytes());
        let mut pending: Vec<VolumeRow> = Vec::with_capacity(group.min(entries.len()));
        let mut flush = |pending: &mut Vec<VolumeRow>| {
            let result = self.clock.time(Step::Write, || writer.write(&to_batch(pending, &self.format)));
            pending.clear();
            result
        };
        // A window bounds how many prepared volumes wait for their turn to be written.
        for window in entries.chunks(2 * self.threads.current_num_threads()) {
            for ((_, entry), done) in window.iter().zip(self.outcomes(earlier, window)?) {
                range.add(entry.volume_id, &done);
                match done.row {
                    Ok(row) => pending.push(row),
                    Err(reject) => range.committed.outcome.rejects.push(reject),
                }
                if pending.len() == group {
                    flush(&mut pending)?;
                }
            }
        }
        if !pending.is_empty() {
            flush(&mut pending)?;
        }
        Ok(())
    }
}

/// What an earlier run made of an entry.
enum Found<'a> {
    /// The row of its shard.
    Row(usize),
    /// A reason to set it aside.
    Reject(&'a QuarantineRecord),
}

/// A range's shard of an earlier run.
struct Earlier {
    reader: ShardReader,
    receipt: Receipt,
    // Volume to row.
    rows: HashMap<Id, usize>,
}

impl Earlier {
    fn of((reader, receipt): (ShardReader, Receipt)) -> Option<Earlier> {
        let mut rows = HashMap::new();
        for batch in reader.read(&table::IDS).ok()? {
            for id in table::ids_from_batch(&batch).ok()? {
                rows.insert(id, rows.len());
            }
        }
        Some(Earlier { reader, receipt, rows })
    }
}

/// What a range has become so far.
struct Range {
    committed: Committed,
    inputs: BTreeMap<Id, Input>,
    digest: Identity,
}

impl Range {
    fn add(&mut self, id: Id, done: &RowOutcome) {
        self.committed.bytes_read += done.bytes_read;
        self.committed.inputs_read += u64::from(done.bytes_read > 0);
        self.inputs.extend(done.input.clone().map(|input| (id, input)));
        if let Ok(row) = &done.row {
            self.committed.outcome.rows += 1;
            self.committed.outcome.add_notes(&row.notes);
            row.identify(&mut self.digest);
        }
    }
}

impl RangeWork for Volumes {
    fn table(&self) -> Table {
        self.files.table()
    }

    fn clock(&self) -> &Arc<StepClock> {
        &self.clock
    }

    fn finished(&self, range_id: u32, range_hash: &str) -> Option<Committed> {
        let (_, Receipt { committed, inputs, .. }) = self.files.find(range_id)?;
        let same = committed.outcome.range_hash == range_hash
            && inputs.values().all(|input| input.is_unchanged(&self.root, self.check_inputs));
        same.then(|| self.progress.skip(&committed.outcome))?;
        Some(committed)
    }

    fn outlook(&self, range_id: u32, rows: &[RecordBatch]) -> Result<Outlook, PrepareError> {
        let entries = entries_of(rows, volumes_from_batch)?;
        let earlier = self.files.find(range_id).and_then(Earlier::of);
        let of = |entry: &ManifestVolume| -> Result<Outlook, PrepareError> {
            if earlier.as_ref().and_then(|earlier| self.found(earlier, entry)).is_some() {
                return Ok(Outlook { kept: 1, ..Outlook::default() });
            }
            let path = self.root.join(&entry.source_path);
            let is_read = entry.refusal.is_none()
                && size_on_disk(&path) > 0
                && reading::patiently(|| link_out_of(&self.root, &path))?.is_none();
            Ok(Outlook { made: 1, inputs_read: u64::from(is_read), ..Outlook::default() })
        };
        let all =
            self.threads.install(|| entries.par_iter().map(|(_, entry)| of(entry)).collect::<Result<Vec<_>, _>>())?;
        let mut sum = Outlook::default();
        all.into_iter().for_each(|one| sum.add(one));
        Ok(sum)
    }

    fn earlier_inputs(&self, range_id: u32) -> Vec<(Id, bool)> {
        let Some((_, Receipt { inputs, .. })) = self.files.find(range_id) else { return Vec::new() };
        let inputs: Vec<(Id, Input)> = inputs.into_iter().collect();
        let is_same = |input: &Input| input.is_unchanged(&self.root, self.check_inputs);
        self.threads.install(|| inputs.par_iter().map(|(id, input)| (*id, is_same(input))).collect())
    }

    fn commit(&self, range_id: u32, rows: &[RecordBatch]) -> Result<Committed, PrepareError> {
        let entries = entries_of(rows, volumes_from_batch)?;
        let identity = range_identity(entries.iter().map(|(ordinal, entry)| (*ordinal, entry)));
        let outcome = self.files.outcome(identity, entries.len());
        let committed = Committed { range_id, outcome, ..Committed::default() };
        let mut range = Range { committed, inputs: BTreeMap::new(), digest: Identity::of_kind("shard rows") };
        let earlier = self.files.find(range_id).and_then(Earlier::of);
        let schema = schema_with(&self.format, self.hounsfield);
        let mut writer = ShardWriter::create(&self.files.path(range_id), schema, self.layout)?;
        self.write(&mut writer, earlier.as_ref(), &entries, &mut range)?;
        let Range { committed, inputs, digest } = range;
        let rows = Id::of_parts([digest.finish().as_bytes()]);
        self.clock.time(Step::Write, || self.files.commit(writer, rows, committed, inputs))
    }
}

fn step_of(stage: Stage) -> Step {
    match stage {
        Stage::Read => Step::Read,
        Stage::Inflate => Step::Inflate,
        Stage::Decode => Step::Decode,
    }
}

/// The plane that a series' name begins with, as M3D's do (`Axial_non_contrast`).
fn plane_in(series: &str) -> Option<&'static str> {
    let series = series.to_ascii_lowercase();
    ["axial", "coronal", "sagittal"].into_iter().find(|plane| series.starts_with(plane))
}

/// Bytes of a file and its partner, or of the files of a folder.
fn size_on_disk(path: &Path) -> u64 {
    let size = |path: &Path| fs::metadata(path).map_or(0, |m| if m.is_file() { m.len() } else { 0 });
    let own = size(path) + volume::paired_file(path).map_or(0, |pair| size(&pair));
    let inner = fs::read_dir(path).into_iter().flatten().flatten();
    own + inner.filter_map(|entry| entry.metadata().ok()).filter(|m| m.is_file()).map(|m| m.len()).sum::<u64>()
}
