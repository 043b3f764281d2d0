//! The texts of all samples as token ids, mapped from one file that all processes of a machine share: what the feed plans steps
//! and fills batches from. The strings of samples stay in the shards.
//!
//! # Layout
//! - `record`: an entry of the table, and a sample's ids behind it
//! - `make`: how the file is made of the sample shards
//!
//! The file is a line of JSON, the ids of all volumes that samples name, sorted; a table of 48 bytes a sample, sorted by its id;
//! and records of 32-bit words, in the order of the shards. It follows from the shards alone, bit by bit. Line, volumes and table
//! have a hash that is compared when the file is opened; each record has one that is compared whenever it is read; and every
//! number is checked before it is used. The file appears whole and is never changed: another program that cuts it short while it
//! is mapped ends the process by SIGBUS, see [`MappedFile`].

mod make;
mod record;

use std::path::{Path, PathBuf};

use med2e3_schemas::Id;
use med2e3_schemas::index::DatasetIndex;
use med2e3_schemas::sample::{SampleRow, Split, Task};
use med2e3_store::MappedFile;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

use crate::ShardError;
use crate::kept::{self, Kept};
use record::{Entry, Parts};

/// The file in a dataset.
pub const FILE: &str = "feed/texts.bin";

/// Rises when the file means something else.
const VERSION: u32 = 1;

/// Records are words in the machine's own order, as they are in the file.
const _: () = assert!(cfg!(target_endian = "little"), "the file of texts is mapped as it is, which is little-endian");

/// The file's first line, which spaces fill to a length that depends on nothing but the version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stated {
    version: u32,
    texts: u64,
    volumes: u64,
    // 32-bit words of all records.
    words: u64,
    // What the dataset's index says of the sample shards, as one hash.
    shards: String,
    // Of this line with this value empty, of the volumes and of the table, as hex.
    xxh3: String,
}

impl Stated {
    /// Bytes of the line: a multiple of 8, so that records are aligned.
    const BYTES: usize = 256;

    fn line(&self) -> String {
        let text = serde_json::to_string(self).expect("plain data");
        format!("{text:<width$}\n", width = Stated::BYTES - 1)
    }

    /// The line with the hash of itself, of the volumes and of the table.
    fn with_hash(mut self, tables: &[&[u8]]) -> Stated {
        self.xxh3.clear();
        let mut hasher = Xxh3::new();
        hasher.update(self.line().as_bytes());
        tables.iter().for_each(|table| hasher.update(table));
        self.xxh3 = format!("{:016x}", hasher.digest());
        self
    }
}

#[derive(Debug)]
enum Bytes {
    Mapped(MappedFile),
    // Words, so that records are aligned.
    Own(Vec<i32>),
}

impl Bytes {
    fn all(&self) -> &[u8] {
        match self {
            Bytes::Mapped(file) => file.as_ref(),
            Bytes::Own(words) => bytemuck::cast_slice(words),
        }
    }
}

/// The texts of samples, in the order of their ids.
#[derive(Debug)]
pub struct Texts {
    bytes: Bytes,
    path: PathBuf,
    stated: Stated,
}

/// One sample's text. What it borrows is the file.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    /// The sample's key.
    pub sample_id: Id,
    /// Kind of pair.
    pub task: Task,
    /// Part of the study.
    pub split: Split,
    /// The sample's shard, by the order of the dataset's index.
    pub shard: u32,
    /// Its row there.
    pub row: u32,
    /// The volumes that the text refers to, one for each image mark of `ids`.
    pub volume_ids: VolumeIds<'a>,
    /// Token ids of the whole pair.
    pub ids: &'a [i32],
    /// Half-open ranges over `ids` that are training targets.
    pub target_spans: &'a [[u32; 2]],
    /// Captions only: the form of the first training stage.
    pub pretrain_ids: Option<&'a [i32]>,
    /// The question in the language model's tokens.
    pub question_ids_llm: &'a [i32],
    /// The question in a text encoder's tokens.
    pub question_ids_bert: Option<&'a [i32]>,
}

/// The volumes of a text, in order of appearance.
#[derive(Clone, Copy, Debug)]
pub struct VolumeIds<'a> {
    numbers: &'a [u32],
    all: &'a [[u8; 16]],
}

impl<'a> VolumeIds<'a> {
    /// How many there are.
    pub fn len(self) -> usize {
        self.numbers.len()
    }

    /// Whether the text shows none.
    pub fn is_empty(self) -> bool {
        self.numbers.is_empty()
    }

    /// Their keys.
    pub fn iter(self) -> impl ExactSizeIterator<Item = Id> + Clone + use<'a> {
        self.numbers.iter().map(move |number| Id(self.all[*number as usize]))
    }

    /// Their numbers among [`Texts::volumes`].
    pub fn numbers(self) -> &'a [u32] {
        self.numbers
    }
}

impl Texts {
    /// What [`Texts::volume_count`] counts at most: it is a byte of the table.
    pub const MANY_VOLUMES: usize = u8::MAX as usize;

    /// The texts that the dataset's folder or the user's cache holds, if they are those of its shards; else texts that are made
    /// now, and kept where that is possible. Of several processes that miss them one makes them.
    ///
    /// # Errors
    /// A shard that differs from the index or can't be read, a sample that is there twice, a file that is not as it was written.
    pub fn open(root: &Path, index: &DatasetIndex) -> Result<Texts, ShardError> {
        if index.samples.is_empty() {
            return Ok(Texts::of_rows(&[]));
        }
        kept::open(root, index, |_, file| make::of_shards(root, index, file))
    }

    /// Writes the texts of a dataset to its folder, unless they are there whole. Nothing is written for a dataset without samples.
    ///
    /// # Errors
    /// As [`Texts::open`]; the system refuses to write.
    pub fn provide(root: &Path, index: &DatasetIndex) -> Result<(), ShardError> {
        let is_there = |found: Texts| found.is_of(index) && (0..found.len()).all(|row| found.at(row).is_ok());
        if index.samples.is_empty() || Texts::read(root).ok().flatten().is_some_and(is_there) {
            return Ok(());
        }
        make::to_file(root, index, kept::create(root, FILE)?).map(drop)
    }

    /// The texts of rows, in memory and in the order of the rows, which may be there several times.
    pub fn of_rows(rows: &[SampleRow]) -> Texts {
        make::of_rows(rows)
    }

    /// Compares the texts with every row of the sample shards.
    ///
    /// # Errors
    /// A text that differs from its row, a row that has no text; a shard that can't be read.
    pub fn check(&self, root: &Path, index: &DatasetIndex) -> Result<(), ShardError> {
        make::check(self, root, index)
    }

    /// The texts in a dataset's folder, of whatever shards they are; `None` where there are none.
    ///
    /// # Errors
    /// A file that is not as it was written.
    pub fn read(root: &Path) -> Result<Option<Texts>, ShardError> {
        let Some(real) = kept::existing(root, FILE)? else { return Ok(None) };
        Texts::of_bytes(Bytes::Mapped(MappedFile::open(&real)?), root.join(FILE)).map(Some)
    }

    /// Whether these are the texts of the sample shards that the index names.
    pub fn is_of(&self, index: &DatasetIndex) -> bool {
        let rows: u64 = index.samples.iter().map(|shard| shard.rows).sum();
        self.stated.texts == rows && self.stated.shards == kept::identity_of(&index.samples)
    }

    /// How many samples there are.
    pub fn len(&self) -> usize {
        self.stated.texts as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The key of a sample.
    ///
    /// # Panics
    /// A row beyond the last one; so do the other looks at the table.
    pub fn id(&self, row: usize) -> Id {
        self.entry(row).id
    }

    /// Its kind of pair.
    ///
    /// # Panics
    /// As [`Texts::id`].
    pub fn task(&self, row: usize) -> Task {
        self.entry(row).task()
    }

    /// Its part of the study.
    ///
    /// # Panics
    /// As [`Texts::id`].
    pub fn split(&self, row: usize) -> Split {
        self.entry(row).split()
    }

    /// The first of its volumes, as its number among [`Texts::volumes`].
    ///
    /// # Panics
    /// As [`Texts::id`].
    pub fn first_volume(&self, row: usize) -> Option<u32> {
        self.entry(row).first_volume()
    }

    /// How many volumes it names; [`Texts::MANY_VOLUMES`] stands for that or more.
    ///
    /// # Panics
    /// As [`Texts::id`].
    pub fn volume_count(&self, row: usize) -> usize {
        self.entry(row).volumes.into()
    }

    /// How many token ids its whole pair has.
    ///
    /// # Panics
    /// As [`Texts::id`].
    pub fn ids_len(&self, row: usize) -> usize {
        self.entry(row).ids as usize
    }

    /// All volumes that samples name, sorted.
    pub fn volumes(&self) -> &[[u8; 16]] {
        self.parts().volumes
    }

    /// A sample's text.
    ///
    /// # Errors
    /// A row beyond the last one; contents that are not as they were written.
    pub fn at(&self, row: usize) -> Result<Text<'_>, ShardError> {
        let parts = self.parts();
        let rows = parts.table.len();
        let entry = parts.table.get(row).ok_or_else(|| ShardError::NoSuchRow { path: self.path.clone(), row, rows })?;
        let entry = Entry::of_bytes(entry);
        let range = entry.range(parts.words.len());
        let words = range.and_then(|range| parts.words.get(range)).filter(|words| entry.xxh3 == hash(entry.id, words));
        let text = words.and_then(|words| record::text(&entry, words, parts.volumes));
        let expected = || format!("the record of sample {} with xxh3 {:016x}", entry.id, entry.xxh3);
        text.ok_or_else(|| self.problem(expected(), "other contents".into()))
    }

    /// What is wrong with the texts as a whole.
    pub(crate) fn problem(&self, expected: String, found: String) -> ShardError {
        ShardError::Kept { path: self.path.clone(), expected, found }
    }

    /// Whether all volumes of a sample satisfy `is_there`, which is asked for their numbers among [`Texts::volumes`].
    ///
    /// # Errors
    /// As [`Texts::at`].
    pub(crate) fn has_volumes(&self, row: usize, is_there: impl Fn(u32) -> bool) -> Result<bool, ShardError> {
        let entry = self.entry(row);
        match (entry.volumes, entry.first_volume()) {
            (0, _) => Ok(true),
            (1, Some(only)) => Ok(is_there(only)),
            _ => Ok(self.at(row)?.volume_ids.numbers().iter().all(|number| is_there(*number))),
        }
    }

    /// Whether the sample's row is one that no program writes.
    pub(crate) fn is_unsound(&self, row: usize) -> bool {
        self.entry(row).is_unsound()
    }

    fn entry(&self, row: usize) -> Entry {
        Entry::of_bytes(&self.parts().table[row])
    }

    fn parts(&self) -> Parts<'_> {
        Parts::of(self.bytes.all(), &self.stated).expect("the sizes were compared when it was opened")
    }

    /// Checks everything but the records.
    fn of_bytes(bytes: Bytes, path: PathBuf) -> Result<Texts, ShardError> {
        let problem = |found: String| ShardError::Kept {
            path: path.clone(),
            expected: format!("texts of version {VERSION}"),
            found,
        };
        let stated = parse(bytes.all()).map_err(problem)?;
        Ok(Texts { bytes, path, stated })
    }
}

impl Kept for Texts {
    const FILE: &'static str = FILE;

    fn read(folder: &Path) -> Result<Option<Texts>, ShardError> {
        Texts::read(folder)
    }

    fn is_of(&self, index: &DatasetIndex) -> bool {
        Texts::is_of(self, index)
    }
}

/// The hash of a record, which is another one for each sample: one that is another sample's does not pass for it.
fn hash(id: Id, words: &[i32]) -> u64 {
    let seed = u64::from_le_bytes(std::array::from_fn(|byte| id.0[byte]));
    xxh3_64_with_seed(bytemuck::cast_slice(words), seed)
}

/// The first line of a file whose table is right, or what is wrong.
fn parse(bytes: &[u8]) -> Result<Stated, String> {
    let line = bytes.get(..Stated::BYTES).filter(|line| line.ends_with(b"\n")).ok_or("no line of JSON")?;
    let stated: Stated = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    if stated.version != VERSION {
        return Err(format!("version {}", stated.version));
    }
    let parts = Parts::of(bytes, &stated).ok_or_else(|| format!("{} bytes where others are stated", bytes.len()))?;
    let again = stated.clone().with_hash(&[parts.volumes.as_flattened(), parts.table.as_flattened()]);
    if again.line().as_bytes() != line {
        return Err(format!("contents whose xxh3 is not the stated {}", stated.xxh3));
    }
    if !parts.volumes.is_sorted_by(|one, next| one < next) {
        return Err("volumes that are not in order, each once".into());
    }
    let mut before: Option<Id> = None;
    for bytes in parts.table {
        let entry = Entry::of_bytes(bytes);
        if before.is_some_and(|before| before >= entry.id) {
            return Err(format!("sample {} out of order or twice", entry.id));
        }
        before = Some(entry.id);
        if !entry.is_within(&parts) {
            return Err(format!("sample {} with a record, a volume or a word that is not there", entry.id));
        }
    }
    Ok(stated)
}

#[cfg(test)]
mod tests;
