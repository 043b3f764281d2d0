//! The file of texts, made of the sample shards in two passes: the volumes that they name, then a record for each row, written
//! as it is read. What is held is the table, 64 bytes a sample, and one batch of rows.

use std::collections::BTreeSet;
use std::io::{self, BufWriter, Cursor, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use med2e3_schemas::Id;
use med2e3_schemas::index::DatasetIndex;
use med2e3_schemas::sample::{self, SampleRow};
use med2e3_store::{FileError, MappedFile, WholeFile};

use super::record::{ENTRY_BYTES, Entry};
use super::{Bytes, Stated, Texts, VERSION};
use crate::{Members, ShardError, ShardReader, index, kept};

/// Rows that are read at a time.
const BATCH_ROWS: usize = 4096;

/// Why there is no file.
enum Unmade {
    Shard(ShardError),
    Unwritten(FileError),
}

impl From<ShardError> for Unmade {
    fn from(error: ShardError) -> Unmade {
        Unmade::Shard(error)
    }
}

impl Unmade {
    fn unwritten(path: &Path) -> impl Fn(io::Error) -> Unmade {
        move |error| Unmade::Unwritten(FileError::of(path, "write")(error))
    }
}

/// The texts of a dataset's shards, in a file or in memory; `None` where the file can't be written.
pub(super) fn of_shards(
    root: &Path,
    index: &DatasetIndex,
    file: Option<WholeFile>,
) -> Result<Option<Texts>, ShardError> {
    let made = match file {
        Some(file) => write_file(root, index, file),
        None => {
            let mut out = Cursor::new(Vec::new());
            write(&mut out, &in_memory(), root, index)
                .and_then(|()| Ok(Texts::of_bytes(Bytes::Own(aligned(&out.into_inner())), in_memory())?))
        }
    };
    match made {
        Err(Unmade::Unwritten(_)) => Ok(None),
        Err(Unmade::Shard(error)) => Err(error),
        Ok(made) => Ok(Some(made)),
    }
}

/// The same in a file, which appears whole.
pub(super) fn to_file(root: &Path, index: &DatasetIndex, file: WholeFile) -> Result<Texts, ShardError> {
    write_file(root, index, file).map_err(|unmade| match unmade {
        Unmade::Shard(error) => error,
        Unmade::Unwritten(error) => error.into(),
    })
}

fn write_file(root: &Path, index: &DatasetIndex, file: WholeFile) -> Result<Texts, Unmade> {
    let path = file.path().to_owned();
    let mut out = BufWriter::with_capacity(1 << 20, file.file());
    write(&mut out, &path, root, index)?;
    out.flush().map_err(Unmade::unwritten(&path))?;
    drop(out);
    file.publish().map_err(Unmade::Unwritten)?;
    let map = MappedFile::open(&path).map_err(ShardError::File)?;
    Ok(Texts::of_bytes(Bytes::Mapped(map), path)?)
}

/// Bytes as words, which are aligned as words are.
fn aligned(bytes: &[u8]) -> Vec<i32> {
    bytes.as_chunks().0.iter().map(|word| i32::from_le_bytes(*word)).collect()
}

/// What texts that are in no file are called.
fn in_memory() -> PathBuf {
    "texts in memory".into()
}

/// Records one behind the other, and the table that they come to.
struct Records<'a> {
    volumes: &'a [[u8; 16]],
    table: Vec<Entry>,
    words: u64,
}

impl Records<'_> {
    /// Adds a row; `None` where it has more ids than a record can hold.
    fn add(&mut self, row: &SampleRow, place: (u32, u32)) -> Option<Vec<i32>> {
        let (entry, words) = Entry::of_row(row, place, self.words, self.volumes)?;
        self.words += words.len() as u64;
        self.table.push(entry);
        Some(words)
    }

    /// Line, volumes and table: what comes before the records.
    fn head(&self, shards: String) -> Vec<u8> {
        let table: Vec<u8> = self.table.iter().flat_map(|entry| entry.to_bytes()).collect();
        let stated = Stated {
            version: VERSION,
            texts: self.table.len() as u64,
            volumes: self.volumes.len() as u64,
            words: self.words,
            shards,
            xxh3: String::new(),
        };
        let volumes = self.volumes.as_flattened();
        [stated.with_hash(&[volumes, &table]).line().as_bytes(), volumes, &table].concat()
    }
}

fn write(out: &mut (impl Write + Seek), path: &Path, root: &Path, index: &DatasetIndex) -> Result<(), Unmade> {
    let unwritten = Unmade::unwritten(path);
    let members = Members::of(root)?;
    let shards = index.samples.iter().map(|entry| kept::open_as_indexed(&members, entry));
    let shards = shards.collect::<Result<Vec<ShardReader>, _>>()?;
    let volumes = volumes_of(&shards)?;
    let count: usize = shards.iter().map(ShardReader::rows).sum();
    let head = Stated::BYTES + volumes.as_flattened().len() + count * ENTRY_BYTES;
    let mut records = Records { volumes: &volumes, table: Vec::with_capacity(count), words: 0 };
    out.seek(SeekFrom::Start(head as u64)).map_err(&unwritten)?;
    for_each_row(&shards, |reader, row, place| {
        let words = records.add(&row, place).ok_or_else(|| {
            unsound(reader.path(), row.sample_id, format!("{} ids, more than a text has", row.ids.len()))
        })?;
        out.write_all(bytemuck::cast_slice(&words)).map_err(&unwritten)
    })?;
    records.table.sort_unstable_by_key(|entry| entry.id);
    if let Some(pair) = records.table.windows(2).find(|pair| pair[0].id == pair[1].id) {
        return Err(unsound(&root.join(index::FILE), pair[0].id, "it is there twice".into()).into());
    }
    out.rewind().map_err(&unwritten)?;
    out.write_all(&records.head(kept::identity_of(&index.samples))).map_err(&unwritten)
}

/// The volumes that rows of the shards name, sorted.
fn volumes_of(shards: &[ShardReader]) -> Result<Vec<[u8; 16]>, ShardError> {
    let mut volumes = BTreeSet::new();
    for shard in shards {
        for group in 0..shard.groups() {
            for batch in shard.read_group(group, &sample::VOLUMES, BATCH_ROWS)? {
                let named = sample::volumes_from_batch(&batch?).map_err(ShardError::schema(shard.path()))?;
                volumes.extend(named.into_iter().flatten().map(|id| id.0));
            }
        }
    }
    Ok(volumes.into_iter().collect())
}

/// Gives each row of the shards to `each`, with its shard and its number there.
fn for_each_row<E: From<ShardError>>(
    shards: &[ShardReader],
    mut each: impl FnMut(&ShardReader, SampleRow, (u32, u32)) -> Result<(), E>,
) -> Result<(), E> {
    for (shard, reader) in shards.iter().enumerate() {
        let mut number = 0;
        for group in 0..reader.groups() {
            for batch in reader.read_group(group, &[], BATCH_ROWS)? {
                for row in sample::from_batch(&batch?).map_err(ShardError::schema(reader.path()))? {
                    each(reader, row, (shard as u32, number))?;
                    number += 1;
                }
            }
        }
    }
    Ok(())
}

fn unsound(path: &Path, sample: Id, problem: String) -> ShardError {
    ShardError::UnsoundSample { path: path.to_owned(), sample, problem }
}

/// The texts of rows, as they come.
pub(super) fn of_rows(rows: &[SampleRow]) -> Texts {
    let volumes: BTreeSet<[u8; 16]> = rows.iter().flat_map(|row| &row.volume_ids).map(|id| id.0).collect();
    let volumes: Vec<[u8; 16]> = volumes.into_iter().collect();
    let mut records = Records { volumes: &volumes, table: Vec::with_capacity(rows.len()), words: 0 };
    // Rows in no shard: no reader of shards finds them.
    let add = |row| records.add(row, (u32::MAX, u32::MAX)).expect("a row in memory is no longer than a record can be");
    let words: Vec<i32> = rows.iter().flat_map(add).collect();
    let head = aligned(&records.head(String::new()));
    let stated =
        Stated { texts: rows.len() as u64, volumes: volumes.len() as u64, words: words.len() as u64, ..empty() };
    Texts { bytes: Bytes::Own([head, words].concat()), path: in_memory(), stated }
}

fn empty() -> Stated {
    Stated { version: VERSION, texts: 0, volumes: 0, words: 0, shards: String::new(), xxh3: String::new() }
}

/// Compares texts with every row of the shards.
pub(super) fn check(texts: &Texts, root: &Path, index: &DatasetIndex) -> Result<(), ShardError> {
    let members = Members::of(root)?;
    let shards = index.samples.iter().map(|entry| kept::open_as_indexed(&members, entry));
    let shards = shards.collect::<Result<Vec<ShardReader>, _>>()?;
    let problem = |expected: String, found: &str| Err(texts.problem(expected, found.to_owned()));
    let (parts, mut rows) = (texts.parts(), 0);
    for_each_row(&shards, |_, row, place| {
        let expected = || format!("the text of sample {}", row.sample_id);
        rows += 1;
        let Ok(at) = parts.table.binary_search_by(|entry| entry[..16].cmp(&row.sample_id.0)) else {
            return problem(expected(), "none");
        };
        texts.at(at)?;
        let stored = Entry::of_bytes(&parts.table[at]);
        let is_same = Entry::of_row(&row, place, stored.start, parts.volumes)
            .is_some_and(|(entry, _)| entry.to_bytes() == parts.table[at]);
        if is_same { Ok(()) } else { problem(expected(), "another one") }
    })?;
    if rows == texts.len() { Ok(()) } else { problem(format!("{rows} texts"), &texts.len().to_string()) }
}
