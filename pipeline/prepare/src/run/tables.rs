//! The manifest's two tables on disk: cut into ranges, written as the parquet files that the engine scans, and kept while
//! nothing that they came from has changed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use med2e3_schemas::Id;
use med2e3_schemas::identity::Identify;
use med2e3_schemas::index::FileEntry;
use med2e3_schemas::manifest::{range_identity, texts_schema, texts_to_batch, volumes_schema, volumes_to_batch};
use med2e3_schemas::report::ManifestCounts;
use med2e3_schemas::subset::Subset;
use med2e3_shards::index::{TOKENIZER, TOKENIZER_CONFIG, file_entry};
use med2e3_shards::{PageLayout, ShardError, ShardWriter, subset};
use med2e3_store::{FileError, LocalFolder, Store, get_whole};
use serde::{Deserialize, Serialize};

use super::folder::RunFolder;
use super::text_tools::TextTools;
use crate::PrepareError;
use crate::config::PrepareConfig;
use crate::manifest::{self, Listing, Manifest, Stamp};
use crate::sealed;

/// The tables' summary in the working folder.
const FILE: &str = "tables.json";

/// Where names are withheld: the manifest's names of parts by the dataset's.
const PARTS: &str = "parts.json";

/// Most ranges of one manifest file, and how many files there are at least where there are ranges enough: files are what
/// partitions are made of, so several to share among threads, not too many to open.
const RANGES_PER_FILE: usize = 16;

/// What is known of the tables without reading them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tables {
    /// Distinct volumes.
    pub volumes: Ranges,
    /// Text pairs.
    pub texts: Ranges,
    /// What became of the files of folders that were listed.
    pub listing: Listing,
    /// What else reading the manifest found.
    pub counts: ManifestCounts,
    // Every file that the tables came from, as it was then.
    #[serde(with = "path_keys")]
    sources: BTreeMap<PathBuf, Stamp>,
    files: Files,
}

/// What was written with the tables, by name: a range's rows, and all texts by way of the tokenizer, come from these files,
/// whoever changes them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Files {
    /// Below the working folder.
    tables: BTreeMap<String, FileEntry>,
    /// In the dataset.
    tokenizer: BTreeMap<String, FileEntry>,
}

impl Files {
    /// As they are now.
    fn now(folder: &RunFolder) -> Result<Files, PrepareError> {
        let work = LocalFolder::new(&folder.work);
        let mut files = Files::default();
        for table in ["volumes", "texts"] {
            for entry in work.list(table)? {
                let found = file_entry(&folder.work.join(&entry.path))?;
                files.tables.insert(entry.path, found);
            }
        }
        for name in [TOKENIZER, TOKENIZER_CONFIG] {
            match file_entry(&folder.dataset.join(name)) {
                Ok(found) => drop(files.tokenizer.insert(name.to_owned(), found)),
                Err(ShardError::File(FileError::NotFound { .. })) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(files)
    }
}

/// One table's ranges.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Ranges {
    /// Rows in all ranges.
    pub rows: u64,
    /// The identity of each range's rows, by its number.
    pub hashes: Vec<String>,
}

impl Tables {
    /// The tables of a configuration: found unchanged, or made by reading the manifest; with them the tokenizer and the
    /// named parts of splits, which come from the same files.
    ///
    /// # Errors
    /// As [`manifest::read`]; a tokenizer that can't be had; a folder that can't be written.
    pub fn provide(config: &PrepareConfig, folder: &RunFolder) -> Result<Tables, PrepareError> {
        let work = LocalFolder::new(&folder.work);
        if let Some(tables) = Tables::unchanged(folder)? {
            return Ok(tables);
        }
        if folder.is_shared() {
            return Err(PrepareError::Output {
                path: folder.dataset.clone(),
                problem: "the manifest changed while other processes work at their parts".into(),
                hint: "wait for them, then start again".into(),
            });
        }
        // Until they are whole again there are none.
        work.remove(FILE)?;
        // Before they are read: a change in between shows in the next run.
        let text = &config.text;
        let mut sources: BTreeMap<_, _> = text.files().map(|path| (path.clone(), Stamp::quick(path))).collect();
        let Cut { manifest, volumes, texts } = Cut::read(config, folder)?;
        sources.extend(manifest.sources.clone());
        if !manifest.texts.is_empty() {
            TextTools::provide(text, &manifest)?.store(&folder.dataset)?;
        }
        write(&folder.work.join("volumes"), &volumes_schema(), &volumes.1)?;
        write(&folder.work.join("texts"), &texts_schema(), &texts.1)?;
        let mut names = BTreeMap::new();
        for (number, (name, ids)) in (1..).zip(&manifest.parts) {
            let shown = folder.provenance.part(name, number);
            subset::write(&folder.dataset, &listed(&shown, ids), ids, None)?;
            names.insert(shown, name);
        }
        if folder.provenance.withholds_names() && !names.is_empty() {
            work.put_whole(PARTS, &serde_json::to_vec_pretty(&names).expect("names are plain data"))?;
        }
        let files = Files::now(folder)?;
        let manifest::Manifest { listing, counts, .. } = manifest;
        let tables = Tables { volumes: volumes.0, texts: texts.0, listing, counts, sources, files };
        work.put_whole(FILE, &sealed::seal(&tables))?;
        Ok(tables)
    }
}

impl Tables {
    /// The tables of an earlier run, where neither they nor anything that they came from has changed.
    ///
    /// # Errors
    /// A folder that can't be listed.
    pub fn unchanged(folder: &RunFolder) -> Result<Option<Tables>, PrepareError> {
        let known = get_whole(&LocalFolder::new(&folder.work), FILE).ok();
        let known = known.and_then(|text| sealed::open::<Tables>(&text));
        let is_current = |tables: &Tables| tables.sources.iter().all(|(path, stamp)| stamp.is_current(path));
        let Some(tables) = known.filter(is_current) else { return Ok(None) };
        if tables.files == Files::now(folder)? {
            return Ok(Some(tables));
        }
        tracing::warn!(
            "{}: the tables were changed or damaged since they were written: the manifest is read again",
            folder.work.display()
        );
        Ok(None)
    }
}

/// A manifest that was read, with its tables cut into ranges: each table's identities and its rows.
pub struct Cut {
    /// The manifest.
    pub manifest: Manifest,
    /// Its volumes.
    pub volumes: (Ranges, Vec<RecordBatch>),
    /// Its texts.
    pub texts: (Ranges, Vec<RecordBatch>),
}

impl Cut {
    /// Reads the manifest of a configuration. Writes nothing.
    ///
    /// # Errors
    /// As [`manifest::read`].
    pub fn read(config: &PrepareConfig, folder: &RunFolder) -> Result<Cut, PrepareError> {
        let manifest = manifest::read(&folder.root, &config.manifest, &config.text.rules()?, &folder.provenance)?;
        let engine = &config.engine;
        let volumes = cut(&manifest.volumes, engine.volumes_per_range, volumes_to_batch);
        let texts = cut(&manifest.texts, engine.texts_per_range, texts_to_batch);
        Ok(Cut { manifest, volumes, texts })
    }
}

/// A named part of a split that the manifest lists.
fn listed(name: &str, ids: &[Id]) -> Subset {
    let counts = vec![("all".to_owned(), ids.len() as u64)];
    Subset { name: name.to_owned(), seed: 0, counts, queries: vec!["as the manifest lists it".into()] }
}

/// Cuts a table into ranges and makes each a batch.
fn cut<Row: Identify>(
    rows: &[Row],
    per_range: usize,
    to_batch: impl Fn(u32, u64, &[Row]) -> RecordBatch,
) -> (Ranges, Vec<RecordBatch>) {
    if rows.is_empty() {
        // A file without rows still tells the scan its schema.
        return (Ranges::default(), vec![to_batch(0, 0, rows)]);
    }
    let starts = (0..rows.len()).step_by(per_range);
    let ranges = starts.map(|start| (start, &rows[start..rows.len().min(start + per_range)]));
    let (mut hashes, mut batches) = (Vec::new(), Vec::new());
    for (range, (start, rows)) in ranges.enumerate() {
        hashes.push(range_identity((start as u64..).zip(rows)));
        batches.push(to_batch(range as u32, start as u64, rows));
    }
    (Ranges { rows: rows.len() as u64, hashes }, batches)
}

/// Writes the ranges' batches as `folder/00000.parquet` and so on, in place of what was there.
fn write(folder: &Path, schema: &SchemaRef, ranges: &[RecordBatch]) -> Result<(), PrepareError> {
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(PrepareError::file(folder, "remove"))?;
    }
    fs::create_dir_all(folder).map_err(PrepareError::file(folder, "create"))?;
    let per_file = ranges.len().div_ceil(RANGES_PER_FILE).clamp(1, RANGES_PER_FILE);
    for (number, ranges) in ranges.chunks(per_file).enumerate() {
        let name = format!("{number:05}.parquet");
        let mut writer = ShardWriter::create(&folder.join(&name), schema.clone(), PageLayout::Table)?;
        ranges.iter().try_for_each(|range| writer.write(range))?;
        writer.commit(&name, &[])?;
    }
    Ok(())
}

/// Paths of any bytes as the keys of a JSON object: those that are no UTF-8 in hex after a zero, which no path holds.
mod path_keys {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};

    use serde::{Deserializer, Serializer, de};

    use super::*;

    pub(super) fn serialize<S: Serializer>(map: &BTreeMap<PathBuf, Stamp>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(map.iter().map(|(path, stamp)| (key(path), stamp)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<PathBuf, Stamp>, D::Error> {
        let map = BTreeMap::<String, Stamp>::deserialize(from)?;
        let paths = map.into_iter().map(|(key, stamp)| Some((path(&key)?, stamp)));
        paths.collect::<Option<_>>().ok_or_else(|| de::Error::custom("a path that is no hex"))
    }

    fn key(path: &Path) -> String {
        let hex = || path.as_os_str().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        path.to_str().map_or_else(|| format!("\0{}", hex()), str::to_owned)
    }

    fn path(key: &str) -> Option<PathBuf> {
        let Some(hex) = key.strip_prefix('\0') else { return Some(key.into()) };
        let digits: Option<Vec<u8>> = hex.chars().map(|digit| Some(digit.to_digit(16)? as u8)).collect();
        Some(
            OsString::from_vec(
                digits?.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect(),
            )
            .into(),
        )
    }

    #[test]
    fn paths_of_any_bytes_come_back() {
        for bytes in [&b"a/b"[..], b"M\xfcller", b"\xff", "M\u{fc}ller".as_bytes()] {
            let one = PathBuf::from(OsString::from_vec(bytes.to_vec()));
            assert_eq!(path(&key(&one)), Some(one));
        }
    }
}
