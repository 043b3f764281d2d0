//! `stats`: what is in a dataset, in numbers: its volumes by plane, spacing, size and notes, its texts by task, topic, split,
//! length and language, and how the two and the cases belong together.
//!
//! Shards are read one batch after the other, and never a voxel. Memory: some dozens of bytes for each volume and each case;
//! nothing for a text.
//!
//! # Layout
//! - [`spread`]: quantiles in bounded memory; [`kinds`]: counts of words in bounded memory
//! - [`language`]: the script or language of a text
//! - `table`: everything for a person

pub mod kinds;
pub mod language;
pub mod spread;
mod table;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use med2e3_schemas::Id;
use med2e3_schemas::outcome::RangeOutcome;
use med2e3_schemas::report::TableCounts;
use med2e3_schemas::sample::{self, SampleRow, Task};
use med2e3_schemas::volume::{self, Described};
use med2e3_shards::{ShardError, ShardReader, Shards};
use serde::Serialize;

use crate::PrepareError;
use kinds::Kinds;
use spread::{Numbers, Spread};

pub use table::to_table;

/// Rows of a batch.
const BATCH_ROWS: usize = 1024;

/// What is in a dataset.
#[derive(Clone, Debug, Serialize)]
pub struct Stats {
    /// How voxels are stored: the recipe's word, the shape (slices, rows, columns) and the type.
    pub stored: Stored,
    /// The volumes.
    pub volumes: VolumeStats,
    /// The texts.
    pub texts: TextStats,
    /// Distinct cases of volumes and texts; rows without a case count as none.
    pub cases: u64,
    /// Distinct cases of the texts of each split.
    pub cases_of_split: BTreeMap<String, u64>,
    /// What became of the manifest's rows, as the shards state it.
    pub manifest: Manifest,
}

/// How voxels are stored.
#[derive(Clone, Debug, Serialize)]
pub struct Stored {
    /// The recipe's word.
    pub recipe: String,
    /// Slices, rows, columns.
    pub shape_dhw: [usize; 3],
    /// `u8`, `i16` or `f32`.
    pub voxels: &'static str,
    /// Bytes of all shards.
    pub bytes: u64,
}

/// What became of the manifest's rows.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Manifest {
    /// Of volumes.
    pub volumes: TableCounts,
    /// Of texts.
    pub texts: TableCounts,
}

/// One spread along each axis.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Axes {
    /// From slice to slice, or the number of slices.
    pub slices: Option<Spread>,
    /// From row to row, or the number of rows.
    pub rows: Option<Spread>,
    /// From column to column, or the number of columns.
    pub columns: Option<Spread>,
}

/// The volumes of a dataset.
#[derive(Clone, Debug, Default, Serialize)]
pub struct VolumeStats {
    /// How many.
    pub count: u64,
    /// By plane: `axial`, `coronal`, `sagittal`, or `unknown`.
    pub planes: Kinds,
    /// By the axis codes of the source, such as `LPS`, or `unknown`.
    pub orientations: Kinds,
    /// Distance of voxel centres in the source, in mm.
    pub spacing_mm: Axes,
    /// Volumes whose source states no spacing.
    pub spacing_unknown: u64,
    /// Voxels of the source.
    pub source_shape: Axes,
    /// By unit of the source's values: `hounsfield` (as CT has them), or `unknown`.
    pub units: Kinds,
    /// Volumes of which slices were left out.
    pub with_slices_dropped: u64,
    /// By note, each kind of a volume once, with every number as `N`.
    pub notes: Kinds,
    /// Volumes that no text refers to.
    pub without_texts: u64,
}

/// The texts of a dataset.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TextStats {
    /// How many.
    pub count: u64,
    /// By split.
    pub splits: Kinds,
    /// By task.
    pub tasks: Kinds,
    /// By question type, or `none`.
    pub topics: Kinds,
    /// By split, then by task.
    pub tasks_of_split: BTreeMap<String, Kinds>,
    /// Characters of the questions.
    pub question_characters: Option<Spread>,
    /// Characters of the answers.
    pub answer_characters: Option<Spread>,
    /// Token ids of question and answer in the template; a volume counts as one.
    pub tokens: Option<Spread>,
    /// Token ids that are targets.
    pub target_tokens: Option<Spread>,
    /// Texts that the length budget cut.
    pub truncated: u64,
    /// By language or script, see [`language::of`]: of captions the answer's, of questions that of both together.
    pub languages: Kinds,
    /// Texts that refer to no volume.
    pub without_volumes: u64,
    /// Texts that refer to a volume that the dataset does not have, because it was set aside.
    pub volume_set_aside: u64,
}

/// Counts what is in a dataset.
///
/// # Errors
/// A folder that is no dataset, a shard that can't be read.
pub fn stats(root: &Path) -> Result<Stats, PrepareError> {
    let Shards { index, volumes, samples } = Shards::open(root)?;
    let mut cases = Cases::default();
    let mut known = HashMap::new();
    let mut manifest = Manifest::default();
    let mut volume_stats = VolumeCounts::default();
    for shard in &volumes {
        add_counts(&mut manifest.volumes, shard);
        each_batch(shard, &volume::DESCRIBED, |batch| {
            for row in volume::described_from_batch(batch)? {
                known.insert(row.volume_id, false);
                cases.all.extend(row.case_id.as_deref().and_then(case_key));
                volume_stats.add(&row);
            }
            Ok(())
        })?;
    }
    let mut text_stats = TextCounts::default();
    for shard in &samples {
        add_counts(&mut manifest.texts, shard);
        each_batch(shard, &[], |batch| {
            for row in sample::from_batch(batch)? {
                let absent = row.volume_ids.iter().filter(|id| !known.contains_key(*id)).count();
                row.volume_ids.iter().for_each(|id| _ = known.entry(*id).and_modify(|has_text| *has_text = true));
                cases.add(&row);
                text_stats.add(&row, absent > 0);
            }
            Ok(())
        })?;
    }
    let shards = index.volumes.iter().chain(&index.samples);
    Ok(Stats {
        stored: Stored {
            recipe: index.recipe.clone(),
            shape_dhw: index.voxels.shape_dhw,
            voxels: index.voxels.code.as_str(),
            bytes: shards.map(|shard| shard.bytes).fold(0, u64::saturating_add),
        },
        volumes: volume_stats.ended(known.values().filter(|has_text| !**has_text).count() as u64),
        texts: text_stats.ended(),
        cases: cases.all.len() as u64,
        cases_of_split: cases.of_split.into_iter().map(|(split, cases)| (split, cases.len() as u64)).collect(),
        manifest,
    })
}

/// Gives every batch of a shard's columns to `add`; every column when `columns` is empty.
fn each_batch(
    shard: &ShardReader,
    columns: &[&str],
    mut add: impl FnMut(&arrow::array::RecordBatch) -> Result<(), med2e3_schemas::SchemaError>,
) -> Result<(), PrepareError> {
    for group in 0..shard.groups() {
        for batch in shard.read_group(group, columns, BATCH_ROWS)? {
            add(&batch?).map_err(ShardError::schema(shard.path()))?;
        }
    }
    Ok(())
}

fn add_counts(counts: &mut TableCounts, shard: &ShardReader) {
    if let Some(outcome) = shard.outcome() {
        counts.add(&outcome.counts());
    }
}

/// The key of a case's name; `None` for none.
fn case_key(name: &str) -> Option<Id> {
    (!name.is_empty()).then(|| Id::of_parts([name.as_bytes()]))
}

/// The cases so far, by the hash of their names.
#[derive(Default)]
struct Cases {
    all: HashSet<Id>,
    of_split: BTreeMap<String, HashSet<Id>>,
}

impl Cases {
    fn add(&mut self, row: &SampleRow) {
        let of_split = self.of_split.entry(row.split.to_string()).or_default();
        if let Some(case) = case_key(&row.case_id) {
            self.all.insert(case);
            of_split.insert(case);
        }
    }
}

/// Numbers along each axis so far.
#[derive(Default)]
struct AxisNumbers([Numbers; 3]);

impl AxisNumbers {
    fn add(&mut self, numbers: [f64; 3]) {
        self.0.iter_mut().zip(numbers).for_each(|(axis, number)| axis.add(number));
    }

    fn axes(&self) -> Axes {
        let [slices, rows, columns] = self.0.each_ref().map(Numbers::spread);
        Axes { slices, rows, columns }
    }
}

/// The volumes so far.
#[derive(Default)]
struct VolumeCounts {
    stats: VolumeStats,
    spacing: AxisNumbers,
    shape: AxisNumbers,
}

impl VolumeCounts {
    fn add(&mut self, row: &Described) {
        let stats = &mut self.stats;
        stats.count += 1;
        stats.planes.add(row.plane.as_deref().unwrap_or("unknown"));
        stats.orientations.add(row.orientation.as_deref().unwrap_or("unknown"));
        match row.spacing_mm {
            Some(mm) => self.spacing.add(mm.map(|mm| exactly(f64::from(mm)))),
            None => stats.spacing_unknown += 1,
        }
        self.shape.add(row.source_shape.map(f64::from));
        stats.units.add(if row.hu_known { "hounsfield" } else { "unknown" });
        stats.with_slices_dropped += u64::from(!row.slices_dropped.is_empty());
        let mut kinds = RangeOutcome::default();
        kinds.add_notes(&row.notes);
        kinds.notes.keys().for_each(|kind| stats.notes.add(kind));
    }

    fn ended(self, without_texts: u64) -> VolumeStats {
        let (spacing_mm, source_shape) = (self.spacing.axes(), self.shape.axes());
        VolumeStats { spacing_mm, source_shape, without_texts, ..self.stats }
    }
}

/// A number of 32 bits without the digits that 64 bits add to it: 0.7 rather than 0.699999988.
fn exactly(number: f64) -> f64 {
    (number as f32).to_string().parse().unwrap_or(number)
}

/// The texts so far.
#[derive(Default)]
struct TextCounts {
    stats: TextStats,
    question: Numbers,
    answer: Numbers,
    tokens: Numbers,
    targets: Numbers,
}

impl TextCounts {
    fn add(&mut self, row: &SampleRow, is_volume_absent: bool) {
        let stats = &mut self.stats;
        stats.count += 1;
        stats.splits.add(row.split.as_str());
        stats.tasks.add(row.task.as_str());
        stats.topics.add(row.topic.map_or("none", |topic| topic.as_str()));
        stats.tasks_of_split.entry(row.split.to_string()).or_default().add(row.task.as_str());
        // The instruction of a caption is the program's own.
        let language = match row.task {
            Task::Caption => language::of(&row.answer),
            Task::OpenVqa | Task::ClosedVqa => language::of(&format!("{} {}", row.question, row.answer)),
        };
        stats.languages.add(language);
        stats.truncated += u64::from(row.truncated);
        stats.without_volumes += u64::from(row.volume_ids.is_empty());
        stats.volume_set_aside += u64::from(is_volume_absent);
        self.question.add(row.question.chars().count() as f64);
        self.answer.add(row.answer.chars().count() as f64);
        self.tokens.add(row.ids.len() as f64);
        let targets = row.target_spans.iter().map(|(start, end)| f64::from(end.saturating_sub(*start)));
        self.targets.add(targets.sum());
    }

    fn ended(self) -> TextStats {
        TextStats {
            question_characters: self.question.spread(),
            answer_characters: self.answer.spread(),
            tokens: self.tokens.spread(),
            target_tokens: self.targets.spread(),
            ..self.stats
        }
    }
}
