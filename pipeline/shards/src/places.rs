//! Where the voxels of each volume are in the shards, and the hash of their stored bytes: what the feed reads by, so that one
//! positioned read brings a volume and no changed bit goes unseen.
//!
//! The file follows from the shards alone, bit by bit, whoever makes it: a line of JSON, then a record of 44 bytes a volume. Its
//! hash guards every bit and is compared before anything is believed; Arrow's own reader of files allocates what a damaged one
//! states. It is read as a whole, never mapped: one that is cut short meanwhile can't end the process.

use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use med2e3_schemas::Id;
use med2e3_schemas::codec::VoxelCodec;
use med2e3_schemas::index::{DatasetIndex, ShardEntry};
use med2e3_schemas::volume;
use med2e3_store::{FileError, WholeFile, read_regular};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::kept::{self, Kept};
use crate::{Members, ShardError};

/// The file in a dataset.
pub const FILE: &str = "feed/places.bin";

/// Rises when the file means something else.
const VERSION: u32 = 1;

/// Bytes of a record: volume (16), shard, row, length (4 each), offset, xxh3 (8 each), numbers little-endian.
const RECORD_BYTES: usize = 44;

/// Bytes of the file at most: that of 24 million volumes.
const MAX_BYTES: u64 = 1 << 30;

/// Where the voxels of one volume are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The volume.
    pub volume: Id,
    /// Its shard, by the order of the dataset's index.
    pub shard: u32,
    /// Its row there.
    pub row: u32,
    /// Where its stored bytes begin in the shard's file.
    pub offset: u64,
    /// How many they are.
    pub length: u32,
    /// Their xxh3 (64 bit).
    pub xxh3: u64,
}

/// A shard that places were made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct PlacedShard {
    // Path, rows, bytes and hashes in the dataset's index, as one hash.
    identity: String,
    codec: VoxelCodec,
}

/// The file's first line.
#[derive(Serialize, Deserialize)]
struct Stated {
    version: u32,
    cell_bytes: usize,
    places: usize,
    shards: Vec<PlacedShard>,
    // Of this line with this value empty and of the records, as hex.
    xxh3: String,
}

impl Stated {
    fn line(&self) -> String {
        serde_json::to_string(self).expect("plain data") + "\n"
    }

    /// The line with the hash of itself and of the records.
    fn with_hash(mut self, records: &[u8]) -> String {
        self.xxh3.clear();
        let mut hasher = Xxh3::new();
        hasher.update(self.line().as_bytes());
        hasher.update(records);
        self.xxh3 = format!("{:016x}", hasher.digest());
        self.line()
    }
}

/// The places of all volumes of a dataset, in the order of its shards and their rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    cell_bytes: usize,
    shards: Vec<PlacedShard>,
    places: Vec<Place>,
    // The first place of each shard, and their number at the end.
    starts: Vec<usize>,
    // Numbers of places, in the order of their volumes.
    by_volume: Vec<u32>,
}

impl Places {
    /// The places that the dataset's folder or the user's cache holds, if they are those of its shards; else places that are made
    /// now, and kept where that is possible. Of several processes that miss them one makes them.
    ///
    /// # Errors
    /// As [`Places::make`] and [`Places::read`].
    pub fn open(root: &Path, index: &DatasetIndex) -> Result<Places, ShardError> {
        let mut unwritten = None;
        kept::open(root, index, |earlier: Option<Places>, file| {
            let made = unwritten.take().map_or_else(|| Places::make(root, index, earlier.as_ref()), Ok)?;
            if file.is_none_or(|file| made.write(file).is_ok()) {
                return Ok(Some(made));
            }
            unwritten = Some(made);
            Ok(None)
        })
    }

    /// What the dataset's folder or the user's cache holds, where it is of the dataset's shards and as it was written.
    pub(crate) fn kept(root: &Path, index: &DatasetIndex) -> Option<Places> {
        kept::find(root, index)
    }

    /// Writes the places of a dataset to its folder, unless they are there. `earlier` runs' places of shards that did not change
    /// are taken over; a file that does not read is made again.
    ///
    /// # Errors
    /// As [`Places::make`]; the system refuses to write.
    pub fn provide(root: &Path, index: &DatasetIndex) -> Result<(), ShardError> {
        let earlier = Places::read(root).ok().flatten();
        let made = Places::make(root, index, earlier.as_ref())?;
        if earlier.as_ref() == Some(&made) { Ok(()) } else { Ok(made.write(kept::create(root, FILE)?)?) }
    }

    /// Whether these are the places of the shards that the index names.
    pub fn is_of(&self, index: &DatasetIndex) -> bool {
        let identities = index.volumes.iter().map(kept::shard_identity);
        let rows = self.starts.windows(2).map(|pair| (pair[1] - pair[0]) as u64);
        self.cell_bytes == index.voxels.cell_bytes()
            && rows.eq(index.volumes.iter().map(|entry| entry.rows))
            && self.shards.iter().map(|shard| shard.identity.as_str()).eq(identities.collect::<Vec<_>>())
    }

    /// Reads every shard that `earlier` places do not know and compares its bytes with the index.
    ///
    /// # Errors
    /// A shard that differs from the index, a page that is not as the writer makes it, a volume that is there twice.
    pub fn make(root: &Path, index: &DatasetIndex, earlier: Option<&Places>) -> Result<Places, ShardError> {
        let cell_bytes = index.voxels.cell_bytes();
        let members = Members::of(root)?;
        let of_shard = |(shard, entry): (usize, &ShardEntry)| {
            earlier
                .and_then(|earlier| earlier.again(entry, shard, cell_bytes))
                .map_or_else(|| read_shard(&members, entry, shard, cell_bytes), Ok)
        };
        let entries: Vec<(usize, &ShardEntry)> = index.volumes.iter().enumerate().collect();
        let threads = thread::available_parallelism().map_or(1, usize::from).min(entries.len());
        let (next, of_shard, entries) = (AtomicUsize::new(0), &of_shard, &entries);
        // Each thread takes the next shard until none is left.
        let work = || {
            let taken = std::iter::from_fn(|| entries.get(next.fetch_add(1, Ordering::Relaxed)));
            taken.map(|entry| (entry.0, of_shard(*entry))).collect::<Vec<_>>()
        };
        let mut done = thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let mut done = work();
            for other in others {
                done.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            done
        });
        done.sort_by_key(|(shard, _)| *shard);
        let mut shards = Vec::with_capacity(done.len());
        let mut places = Vec::new();
        for (_, of_shard) in done {
            let (shard, own) = of_shard?;
            shards.push(shard);
            places.extend(own);
        }
        Places::of(root, cell_bytes, shards, places, index.volumes.iter().map(|entry| entry.bytes).collect())
    }

    /// What is known of a shard already, as the shard of a number.
    fn again(&self, entry: &ShardEntry, shard: usize, cell_bytes: usize) -> Option<(PlacedShard, Vec<Place>)> {
        let identity = kept::shard_identity(entry);
        let known = self.shards.iter().position(|known| known.identity == identity)?;
        let own = self.places[self.starts[known]..self.starts[known + 1]].iter();
        let own = own.map(|place| Place { shard: shard as u32, ..*place }).collect();
        (self.cell_bytes == cell_bytes).then(|| (self.shards[known].clone(), own))
    }

    /// Checks that the places are those of so many shards of so many bytes, each row once and in order, none within another.
    fn of(
        root: &Path,
        cell_bytes: usize,
        shards: Vec<PlacedShard>,
        places: Vec<Place>,
        bytes: Vec<u64>,
    ) -> Result<Places, ShardError> {
        let problem = |expected: &str, found: String| ShardError::Kept {
            path: root.join(FILE),
            expected: expected.into(),
            found,
        };
        let mut starts = vec![0];
        let mut at = 0;
        for (shard, bytes) in bytes.into_iter().enumerate() {
            let mut end = 4;
            let first = at;
            while let Some(place) = places.get(at).filter(|place| place.shard as usize == shard) {
                let words = || {
                    format!("bytes {} and {} more for row {} of shard {shard}", place.offset, place.length, place.row)
                };
                if place.row as usize != at - first {
                    return Err(problem("each row of a shard once, in order", words()));
                }
                let stop = place.offset.checked_add(place.length.into()).filter(|stop| *stop <= bytes);
                if place.offset < end || stop.is_none() {
                    return Err(problem("places behind one another within their shard", words()));
                }
                end = stop.unwrap_or(end);
                at += 1;
            }
            starts.push(at);
        }
        if at < places.len() {
            return Err(problem(&format!("places in {} shards", shards.len()), format!("shard {}", places[at].shard)));
        }
        let volume = |number: &u32| places[*number as usize].volume;
        let mut by_volume: Vec<u32> = (0..places.len() as u32).collect();
        by_volume.sort_unstable_by_key(volume);
        if let Some(pair) = by_volume.windows(2).find(|pair| volume(&pair[0]) == volume(&pair[1])) {
            return Err(problem("each volume once", format!("volume {} twice", volume(&pair[0]))));
        }
        Ok(Places { cell_bytes, shards, places, starts, by_volume })
    }

    /// The place of a volume.
    pub fn find(&self, volume: Id) -> Option<&Place> {
        let at = self.by_volume.binary_search_by_key(&volume, |number| self.places[*number as usize].volume).ok()?;
        Some(&self.places[self.by_volume[at] as usize])
    }

    /// The place of a row; `None` where there is no such row.
    pub fn at(&self, shard: usize, row: usize) -> Option<&Place> {
        let (start, end) = (*self.starts.get(shard)?, *self.starts.get(shard + 1)?);
        self.places[start..end].get(row)
    }

    /// All places.
    pub fn all(&self) -> &[Place] {
        &self.places
    }

    /// The codec of a shard's cells.
    ///
    /// # Panics
    /// A shard beyond the last one.
    pub fn codec(&self, shard: usize) -> VoxelCodec {
        self.shards[shard].codec
    }

    /// Bytes of a cell.
    pub fn cell_bytes(&self) -> usize {
        self.cell_bytes
    }

    /// The places in a dataset's folder, whatever shards they are of; `None` where there are none.
    ///
    /// # Errors
    /// A file that is not as it was written.
    pub fn read(root: &Path) -> Result<Option<Places>, ShardError> {
        let path = root.join(FILE);
        let Some(real) = kept::existing(root, FILE)? else { return Ok(None) };
        let bytes = read_regular(&real, MAX_BYTES)?;
        let problem = |found: String| ShardError::Kept {
            path: path.clone(),
            expected: format!("places of version {VERSION}"),
            found,
        };
        let (stated, places) = parse(&bytes).map_err(problem)?;
        let most = vec![u64::MAX; stated.shards.len()];
        Places::of(root, stated.cell_bytes, stated.shards, places, most).map(Some)
    }

    /// Writes the file; it appears whole.
    fn write(&self, mut file: WholeFile) -> Result<(), FileError> {
        file.write_all(&self.to_bytes()).map_err(FileError::of(file.path(), "write"))?;
        file.publish()
    }

    /// The file's bytes.
    fn to_bytes(&self) -> Vec<u8> {
        let records: Vec<u8> = self.places.iter().flat_map(record).collect();
        let (shards, cell_bytes) = (self.shards.clone(), self.cell_bytes);
        let stated = Stated { version: VERSION, cell_bytes, places: self.places.len(), shards, xxh3: String::new() };
        [stated.with_hash(&records).into_bytes(), records].concat()
    }
}

fn record(place: &Place) -> [u8; RECORD_BYTES] {
    let Place { volume, shard, row, offset, length, xxh3 } = place;
    let mut record = [0; RECORD_BYTES];
    record[..16].copy_from_slice(&volume.0);
    for (at, number) in [(16, shard), (20, row), (24, length)] {
        record[at..at + 4].copy_from_slice(&number.to_le_bytes());
    }
    for (at, number) in [(28, offset), (36, xxh3)] {
        record[at..at + 8].copy_from_slice(&number.to_le_bytes());
    }
    record
}

fn place(record: &[u8; RECORD_BYTES]) -> Place {
    let number = |at: usize| u32::from_le_bytes(std::array::from_fn(|byte| record[at + byte]));
    let long = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| record[at + byte]));
    Place {
        volume: Id(std::array::from_fn(|byte| record[byte])),
        shard: number(16),
        row: number(20),
        length: number(24),
        offset: long(28),
        xxh3: long(36),
    }
}

/// A file's contents, or what is wrong with them.
fn parse(bytes: &[u8]) -> Result<(Stated, Vec<Place>), String> {
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or("no line of JSON")?;
    let (line, records) = bytes.split_at(end + 1);
    let stated: Stated = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    if stated.version != VERSION {
        return Err(format!("version {}", stated.version));
    }
    let (records, rest) = records.as_chunks::<RECORD_BYTES>();
    if records.len() != stated.places || !rest.is_empty() {
        return Err(format!("{} records and {} bytes where {} are stated", records.len(), rest.len(), stated.places));
    }
    let again = Stated { shards: stated.shards.clone(), xxh3: String::new(), ..stated };
    if again.with_hash(records.as_flattened()).as_bytes() != line {
        return Err(format!("contents whose xxh3 is not the stated {}", stated.xxh3));
    }
    Ok((stated, records.iter().map(place).collect()))
}

impl Kept for Places {
    const FILE: &'static str = FILE;

    fn read(folder: &Path) -> Result<Option<Places>, ShardError> {
        Places::read(folder)
    }

    fn is_of(&self, index: &DatasetIndex) -> bool {
        Places::is_of(self, index)
    }
}

/// The places of one shard, whose bytes are compared with the index first: hashes are only taken of what was written.
fn read_shard(
    members: &Members,
    entry: &ShardEntry,
    shard: usize,
    cell_bytes: usize,
) -> Result<(PlacedShard, Vec<Place>), ShardError> {
    let reader = kept::open_as_indexed(members, entry)?;
    let mut ids = Vec::with_capacity(reader.rows());
    for batch in reader.read(&volume::IDS)? {
        ids.extend(volume::ids_from_batch(&batch).map_err(ShardError::schema(reader.path()))?);
    }
    let mut places = Vec::with_capacity(ids.len());
    reader.stored_cells(cell_bytes, |row, offset, payload| {
        if let Some(volume) = ids.get(row) {
            let (shard, row) = (shard as u32, row as u32);
            places.push(Place {
                volume: *volume,
                shard,
                row,
                offset,
                length: payload.len() as u32,
                xxh3: xxh3_64(payload),
            });
        }
    })?;
    Ok((PlacedShard { identity: kept::shard_identity(entry), codec: reader.codec(cell_bytes)? }, places))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(places: &[(u32, u32, u64, u32, &str)]) -> Result<Places, ShardError> {
        let of = |&(shard, row, offset, length, id): &(u32, u32, u64, u32, &str)| Place {
            volume: Id::of_volume(id),
            shard,
            row,
            offset,
            length,
            xxh3: 7,
        };
        let shard = PlacedShard { identity: String::new(), codec: VoxelCodec::Lz4 };
        let places = places.iter().map(of).collect();
        Places::of(Path::new("set"), 256, vec![shard.clone(), shard], places, vec![1000, 1000])
    }

    #[test]
    fn a_place_is_within_its_shard_and_in_no_other() {
        let sound = placed(&[(0, 0, 4, 100, "a"), (0, 1, 104, 896, "b"), (1, 0, 4, 9, "c")]).unwrap();
        assert_eq!(sound.at(1, 0).map(|place| place.volume), Some(Id::of_volume("c")));
        assert_eq!((sound.at(1, 1), sound.at(0, 2), sound.at(2, 0)), (None, None, None));
        assert!(parse(&sound.to_bytes()).unwrap().1 == sound.places);
        for (bad, words) in [
            // Past the file, past what can be counted, into a neighbour, before the first page.
            (vec![(0, 0, 4, 997, "a")], "within their shard"),
            (vec![(0, 0, u64::MAX, 1, "a")], "within their shard"),
            (vec![(0, 0, 4, 100, "a"), (0, 1, 103, 9, "b")], "behind one another"),
            (vec![(0, 0, 3, 1, "a")], "behind one another"),
            // Rows that are there twice, or not at all; a volume that is there twice; a shard that is not.
            (vec![(0, 0, 4, 1, "a"), (0, 0, 5, 1, "b")], "each row"),
            (vec![(1, 1, 4, 1, "a")], "each row"),
            (vec![(0, 0, 4, 1, "a"), (1, 0, 4, 1, "a")], "each volume once"),
            (vec![(2, 0, 4, 1, "a")], "places in 2 shards"),
        ] {
            let error = placed(&bad).unwrap_err().to_string();
            assert!(error.contains(words) && error.contains(FILE), "{error}");
        }
    }
}
