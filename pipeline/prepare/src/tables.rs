//! The manifest's two tables on disk: cut into ranges, written as the parquet files that the engine scans, and kept while
//! nothing that they came from has changed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use med2e3_feed::shard::commit::write_whole;
use med2e3_schemas::manifest::{texts_schema, texts_to_batch, volumes_schema, volumes_to_batch};
use serde::{Deserialize, Serialize};

use crate::PrepareError;
use crate::config::PrepareConfig;
use crate::engine::write_manifest;
use crate::manifest;
use crate::output::Workplace;
use crate::tokenizer::{self, TextTools};
use crate::work::{Stamp, range_hash};
use crate::{config::TokenizerConfig, sample};

/// What is known of the tables without reading them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tables {
    /// Distinct volumes.
    pub volumes: Ranges,
    /// Text pairs.
    pub texts: Ranges,
    // Every file that the tables came from, as it was then.
    sources: BTreeMap<PathBuf, Stamp>,
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
    pub fn provide(config: &PrepareConfig, place: &Workplace) -> Result<Tables, PrepareError> {
        let path = place.work.join("tables.json");
        let known = fs::read(&path).ok().and_then(|text| serde_json::from_slice::<Tables>(&text).ok());
        if let Some(tables) = known.filter(|tables| tables.sources.iter().all(|(path, stamp)| stamp.is_current(path))) {
            return Ok(tables);
        }
        if path.exists() {
            // Until they are whole again there are none.
            fs::remove_file(&path).map_err(PrepareError::io(&path, "remove"))?;
        }
        // Before they are read: a change in between shows in the next run.
        let text = &config.text;
        let tokenizer = if let TokenizerConfig::Path(path) = &text.tokenizer { Some(path) } else { None };
        let named = tokenizer.into_iter().chain(&text.caption_prompts).chain(&text.question_tokenizer);
        let mut sources: BTreeMap<_, _> = named.map(|path| (path.clone(), Stamp::quick(path))).collect();
        let manifest = manifest::read(&place.root, &config.manifest, &text.prompts()?, &place.provenance)?;
        sources.extend(manifest.sources.clone());
        if !manifest.texts.is_empty() {
            tokenizer::store(&TextTools::provide(text, &manifest)?.tokenizer, &place.dataset)?;
        }
        let engine = &config.engine;
        let volumes = cut(&manifest.volumes, engine.volumes_per_range, volumes_to_batch);
        write_manifest(&place.work.join("volumes"), &volumes_schema(), &volumes.1)?;
        let texts = cut(&manifest.texts, engine.texts_per_range, texts_to_batch);
        write_manifest(&place.work.join("texts"), &texts_schema(), &texts.1)?;
        for (name, ids) in &manifest.parts {
            sample::write_part(&place.dataset, name, ids)?;
        }
        let tables = Tables { volumes: volumes.0, texts: texts.0, sources };
        write_whole(&path, &serde_json::to_vec(&tables).expect("the tables' summary is plain data"))?;
        Ok(tables)
    }
}

/// Cuts a table into ranges and makes each a batch.
fn cut<T: std::fmt::Debug + Clone>(
    rows: &[T],
    per_range: usize,
    to_batch: impl Fn(u32, u64, &[T]) -> RecordBatch,
) -> (Ranges, Vec<RecordBatch>) {
    if rows.is_empty() {
        // A file without rows still tells the scan its schema.
        return (Ranges::default(), vec![to_batch(0, 0, rows)]);
    }
    let starts = (0..rows.len()).step_by(per_range);
    let ranges = starts.map(|start| (start, &rows[start..rows.len().min(start + per_range)]));
    let (mut hashes, mut batches) = (Vec::new(), Vec::new());
    for (range, (start, rows)) in ranges.enumerate() {
        let numbered: Vec<_> = (start as u64..).zip(rows).collect();
        hashes.push(range_hash(&numbered));
        batches.push(to_batch(range as u32, start as u64, rows));
    }
    (Ranges { rows: rows.len() as u64, hashes }, batches)
}

/// A path's nearest ancestor that is there: its time changes when the path's next part appears.
pub(crate) fn nearest_existing(path: &Path) -> &Path {
    path.ancestors().find(|path| path.exists()).unwrap_or(path)
}
