//! The volumes of a dataset with their texts, to be looked through page by page.

use std::collections::HashMap;
use std::sync::Arc;

use med2e3_schemas::Id;
use med2e3_schemas::sample::{self, Split, Task, Topic};
use med2e3_schemas::volume;
use med2e3_shards::{Dataset, ShardError};
use serde::Serialize;

use crate::TrainerError;

/// Volumes of a page.
const OF_A_PAGE: usize = 50;

/// A dataset's volumes in the order of their ids. In memory with all texts, some 300 bytes a text.
pub(super) struct Catalog {
    pub(super) dataset: Arc<Dataset>,
    volumes: Vec<Entry>,
    places: HashMap<Id, usize>,
}

/// A volume.
pub(super) struct Entry {
    pub(super) id: Id,
    series: Option<String>,
    case: Option<String>,
    pub(super) texts: Vec<Text>,
}

/// A sample about a volume.
#[derive(Clone, Serialize)]
pub(super) struct Text {
    split: Split,
    task: Task,
    topic: Option<Topic>,
    question: String,
    expected: String,
}

/// Volumes that were looked for.
#[derive(Serialize)]
pub(super) struct Found<'a> {
    /// How many there are.
    total: usize,
    /// From 0.
    page: usize,
    pages: usize,
    volumes: Vec<Listed<'a>>,
}

#[derive(Serialize)]
struct Listed<'a> {
    id: String,
    series: Option<&'a str>,
    case: Option<&'a str>,
    texts: usize,
}

impl Catalog {
    /// Reads everything but voxels.
    ///
    /// # Errors
    /// A shard that can't be read.
    pub(super) fn read(dataset: Arc<Dataset>) -> Result<Catalog, TrainerError> {
        let mut volumes: HashMap<Id, Entry> = HashMap::new();
        for shard in dataset.volume_shards() {
            let shard = shard?;
            let refused = || ShardError::schema(shard.path());
            for batch in shard.read(&volume::CASES)? {
                for (id, case) in volume::cases_from_batch(&batch).map_err(refused())? {
                    volumes.insert(id, Entry { id, series: None, case, texts: Vec::new() });
                }
            }
            for batch in shard.read(&volume::SERIES)? {
                for (id, series) in volume::series_from_batch(&batch).map_err(refused())? {
                    volumes.entry(id).and_modify(|entry| entry.series = series);
                }
            }
        }
        for shard in dataset.sample_shards() {
            let shard = shard?;
            for batch in shard.read(&[])? {
                for row in sample::from_batch(&batch).map_err(ShardError::schema(shard.path()))? {
                    let Some(entry) = row.volume_ids.first().and_then(|id| volumes.get_mut(id)) else { continue };
                    entry.texts.push(Text {
                        split: row.split,
                        task: row.task,
                        topic: row.topic,
                        question: row.question,
                        expected: row.answer,
                    });
                }
            }
        }
        let mut volumes: Vec<Entry> = volumes.into_values().collect();
        volumes.sort_unstable_by_key(|entry| entry.id);
        let places = volumes.iter().enumerate().map(|(place, entry)| (entry.id, place)).collect();
        Ok(Catalog { dataset, volumes, places })
    }

    /// A volume by its id.
    pub(super) fn volume(&self, id: Id) -> Option<&Entry> {
        self.places.get(&id).map(|place| &self.volumes[*place])
    }

    /// A page of the volumes of which all words stand in an id, a series, a case or a text, whatever their case; first those where none
    /// stands in a text alone.
    pub(super) fn find(&self, search: &str, page: usize) -> Found<'_> {
        let words: Vec<String> = search.to_lowercase().split_whitespace().map(str::to_owned).collect();
        let mut found: Vec<&Entry> = self.volumes.iter().filter(|entry| entry.has(&words)).collect();
        found.sort_by_key(|entry| !entry.is_named(&words));
        let pages = found.len().div_ceil(OF_A_PAGE).max(1);
        let page = page.min(pages - 1);
        let volumes = found.iter().skip(page * OF_A_PAGE).take(OF_A_PAGE).map(|entry| entry.listed()).collect();
        Found { total: found.len(), page, pages, volumes }
    }
}

impl Entry {
    /// What it is called: its series, else its id.
    pub(super) fn name(&self) -> String {
        self.series.as_ref().map_or_else(|| self.id.to_string(), |series| series.replace('_', " "))
    }

    fn listed(&self) -> Listed<'_> {
        let Entry { id, series, case, texts } = self;
        Listed { id: id.to_string(), series: series.as_deref(), case: case.as_deref(), texts: texts.len() }
    }

    fn is_named(&self, words: &[String]) -> bool {
        self.without_names(words).is_empty()
    }

    fn has(&self, words: &[String]) -> bool {
        let texts = self.texts.iter().flat_map(|text| [text.question.as_str(), &text.expected]);
        without(self.without_names(words), texts).is_empty()
    }

    /// The words that stand neither in the id nor in series, case and splits.
    fn without_names<'a>(&self, words: &'a [String]) -> Vec<&'a String> {
        let id = self.id.to_string();
        let named = [Some(id.as_str()), self.series.as_deref(), self.case.as_deref()];
        let splits = self.texts.iter().map(|text| text.split.as_str());
        without(words.iter().collect(), named.into_iter().flatten().chain(splits))
    }
}

/// The words that stand in none of the texts.
fn without<'a, 't>(mut words: Vec<&'a String>, texts: impl Iterator<Item = &'t str>) -> Vec<&'a String> {
    for text in texts {
        if words.is_empty() {
            break;
        }
        let text = text.to_lowercase();
        words.retain(|word| !text.contains(word.as_str()));
    }
    words
}
