//! What the page of a dataset shows.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use med2e3_input::volume::{self as input, ReadLimits};
use med2e3_schemas::Id;
use med2e3_schemas::config::shortened;
use med2e3_schemas::index::DatasetIndex;
use med2e3_schemas::manifest::volumes_from_batch;
use med2e3_schemas::quarantine::{QuarantineRecord, Reason, Table};
use med2e3_schemas::sample::{self, SampleRow};
use med2e3_schemas::volume::{self, Described};
use med2e3_shards::{Dataset, Members, ShardError, ShardReader};
use med2e3_store::read_regular;

use super::Part;
use super::picture::{self, Strip};
use crate::PrepareError;
use crate::manifest::link_out_of;
use crate::provenance::{Paths, Provenance};
use crate::run::configuration_of;
use crate::show::rejects::rejects;

/// Texts of a volume that are shown.
const TEXTS_SHOWN: usize = 12;

/// Notes of a volume that are shown.
const NOTES_SHOWN: usize = 24;

/// Characters of a text that are shown.
const TEXT_CHARACTERS: usize = 3000;

/// Rows that were set aside and are shown.
const REJECTS_SHOWN: usize = 100;

/// Inputs that were set aside and are read for a picture.
const REJECTS_PICTURED: usize = 16;

/// Decoded bytes of an input that is read for a picture.
const PICTURED_BYTES: u64 = 1 << 29;

/// Bytes of the configuration that is shown.
const CONFIGURATION_BYTES: u64 = 1 << 16;

/// Rows of a batch.
const BATCH_ROWS: usize = 1024;

pub(super) struct Material {
    /// The folder's name.
    pub(super) name: String,
    pub(super) part: Part,
    pub(super) index: DatasetIndex,
    pub(super) volume_count: u64,
    pub(super) sample_count: u64,
    pub(super) volumes: Vec<Shown>,
    pub(super) set_aside_count: u64,
    pub(super) reasons: BTreeMap<Reason, u64>,
    pub(super) rejects: Vec<Reject>,
    /// `prepare.toml` as the dataset has it.
    pub(super) configuration: Option<String>,
    pub(super) withholds_names: bool,
}

/// A volume with its texts.
pub(super) struct Shown {
    pub(super) number: u64,
    /// The manifest's name of a volume whose dataset withholds it.
    pub(super) name: Option<String>,
    pub(super) volume: Described,
    pub(super) strip: Strip,
    pub(super) texts: Vec<SampleRow>,
    pub(super) more_texts: u64,
}

/// An input that was set aside.
pub(super) struct Reject {
    pub(super) record: QuarantineRecord,
    pub(super) strip: Option<Strip>,
}

impl Material {
    pub(super) fn read(root: &Path, part: Part) -> Result<Material, PrepareError> {
        let dataset = Dataset::open(root)?;
        let volume_count = dataset.index().volumes.iter().map(|shard| shard.rows).sum();
        if part.start > 0 && part.start >= volume_count {
            let problem = format!("the dataset has {volume_count} volumes, counted from 0");
            return Err(PrepareError::Request { what: format!("row {}", part.start), problem });
        }
        let ids = ids_of(&dataset, part)?;
        let mut texts = texts_of(&dataset, &ids)?;
        let beside = Provenance::folder(Paths::Hash, root);
        let withholds_names = beside.exists() || is_withheld(root);
        let names = if part.names && withholds_names { names_in(&beside, &ids) } else { HashMap::new() };
        let mut volumes = Vec::with_capacity(ids.len());
        for (number, id) in (part.start..).zip(&ids) {
            let (texts, more_texts) = texts.remove(id).unwrap_or_default();
            let Some(volume) = described(&dataset, *id)? else { continue };
            let strip = picture::of_volume(&dataset, *id)?;
            let name = names.get(id).cloned();
            volumes.push(Shown { number, name, volume, strip, texts, more_texts });
        }
        // An early dataset may have no such file.
        let records = rejects(root, part.names, None).unwrap_or_default();
        let mut reasons = BTreeMap::new();
        records.iter().for_each(|record| *reasons.entry(record.reason).or_default() += 1);
        let set_aside_count = records.len() as u64;
        let pictures = part.names.then(|| DataRoot::of(root)).flatten();
        let mut pictured = 0;
        let rejects = records.into_iter().take(REJECTS_SHOWN).map(|mut record| {
            record.detail = shortened(&record.detail, TEXT_CHARACTERS);
            let wanted = pictures.as_ref().filter(|_| pictured < REJECTS_PICTURED && may_be_readable(&record));
            pictured += usize::from(wanted.is_some());
            let strip = wanted.and_then(|data| data.picture(&record.path));
            Reject { record, strip }
        });
        let rejects = rejects.collect();
        let name = fs::canonicalize(root).ok().and_then(|real| Some(real.file_name()?.to_string_lossy().into_owned()));
        Ok(Material {
            name: name.unwrap_or_else(|| "dataset".into()),
            part,
            sample_count: dataset.index().samples.iter().map(|shard| shard.rows).sum(),
            index: dataset.index().clone(),
            volume_count,
            volumes,
            set_aside_count,
            reasons,
            rejects,
            configuration: configuration(root),
            withholds_names,
        })
    }
}

/// The ids of the part's volumes.
fn ids_of(dataset: &Dataset, part: Part) -> Result<Vec<Id>, PrepareError> {
    let (mut ids, mut before) = (Vec::new(), 0);
    let end = part.start.saturating_add(part.rows);
    for shard in dataset.volume_shards() {
        let shard = shard?;
        let after = before + shard.rows() as u64;
        if after > part.start && before < end {
            let mut number = before;
            for batch in shard.read(&volume::IDS)? {
                for id in volume::ids_from_batch(&batch).map_err(ShardError::schema(shard.path()))? {
                    if (part.start..end).contains(&number) {
                        ids.push(id);
                    }
                    number += 1;
                }
            }
        }
        before = after;
    }
    Ok(ids)
}

/// What is known of a volume, its texts shortened.
fn described(dataset: &Dataset, id: Id) -> Result<Option<Described>, PrepareError> {
    if !dataset.has(id) {
        return Ok(None);
    }
    let (shard, row) = dataset.location(id)?;
    let batch = shard.read_row(row, &volume::DESCRIBED)?;
    let mut found = volume::described_from_batch(&batch).map_err(ShardError::schema(shard.path()))?.pop();
    if let Some(found) = &mut found {
        found.notes.truncate(NOTES_SHOWN);
        found.notes.iter_mut().for_each(|note| *note = shortened(note, TEXT_CHARACTERS));
    }
    Ok(found)
}

/// The first texts of each volume, and how many more it has.
fn texts_of(dataset: &Dataset, ids: &[Id]) -> Result<HashMap<Id, (Vec<SampleRow>, u64)>, PrepareError> {
    let mut found: HashMap<Id, (Vec<SampleRow>, u64)> = ids.iter().map(|id| (*id, Default::default())).collect();
    for shard in dataset.sample_shards() {
        let shard = shard?;
        for group in 0..shard.groups() {
            for batch in shard.read_group(group, &[], BATCH_ROWS)? {
                for mut row in sample::from_batch(&batch?).map_err(ShardError::schema(shard.path()))? {
                    (row.ids, row.target_spans, row.pretrain_ids) = Default::default();
                    (row.question_ids_llm, row.question_ids_bert) = Default::default();
                    for text in [&mut row.question, &mut row.answer].into_iter().chain(row.choices.iter_mut().flatten())
                    {
                        *text = shortened(text, TEXT_CHARACTERS);
                    }
                    let mut ids = std::mem::take(&mut row.volume_ids);
                    ids.dedup();
                    for id in &ids {
                        let Some((texts, more)) = found.get_mut(id) else { continue };
                        match texts.len() {
                            TEXTS_SHOWN.. => *more += 1,
                            _ => texts.push(row.clone()),
                        }
                    }
                }
            }
        }
    }
    Ok(found)
}

/// Whether the dataset's own configuration says that names are withheld.
fn is_withheld(root: &Path) -> bool {
    configuration(root).is_some_and(|text| text.contains("paths = \"hash\""))
}

fn configuration(root: &Path) -> Option<String> {
    let path = Members::of(root).ok()?.path("prepare.toml").ok()?;
    String::from_utf8(read_regular(&path, CONFIGURATION_BYTES).ok()?).ok()
}

/// The manifest's names of some volumes, from the working folder beside a dataset.
fn names_in(beside: &Path, ids: &[Id]) -> HashMap<Id, String> {
    let mut names = HashMap::new();
    let entries = fs::read_dir(beside.join("volumes")).into_iter().flatten().flatten();
    for reader in entries.filter_map(|entry| ShardReader::open(&entry.path()).ok()) {
        for batch in reader.read(&[]).unwrap_or_default() {
            let rows = volumes_from_batch(&batch).unwrap_or_default().into_iter();
            names.extend(rows.filter(|row| ids.contains(&row.volume_id)).map(|row| (row.volume_id, row.image)));
        }
    }
    names
}

/// Reasons of inputs that can be read though a recipe does not take them.
fn may_be_readable(record: &QuarantineRecord) -> bool {
    let of_recipe = [Reason::HuUnknown, Reason::SpacingUnknown, Reason::AllZero, Reason::NotFinite, Reason::TooLarge];
    record.table == Table::Volumes && of_recipe.contains(&record.reason)
}

/// The folder of the run's inputs.
struct DataRoot(PathBuf);

impl DataRoot {
    /// `None` where the run's configuration or its data is not there.
    fn of(root: &Path) -> Option<DataRoot> {
        fs::canonicalize(configuration_of(root).ok()?.root).ok().map(DataRoot)
    }

    /// A picture of an input that lies within the root; `None` where it can't be read.
    fn picture(&self, path: &str) -> Option<Strip> {
        let real = fs::canonicalize(self.0.join(path)).ok().filter(|real| real.starts_with(&self.0))?;
        if link_out_of(&self.0, &real).is_some() {
            return None;
        }
        let limits = ReadLimits { max_decoded_bytes: PICTURED_BYTES };
        picture::of_input(&input::read(&real, &limits).ok()?)
    }
}
