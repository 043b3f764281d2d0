//! Where the voxels of each volume are in the shards, and the hash of their stored bytes: what the feed reads by, so that one
//! positioned read brings a volume and no changed bit goes unseen.
//!
//! The file follows from the shards alone, bit by bit, whoever makes it. It is read as a whole, never mapped: one that is cut short
//! meanwhile can't end the process.

use std::collections::HashSet;
use std::fs::File;
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use arrow::array::{Array, AsArray, FixedSizeBinaryArray, RecordBatch, UInt32Array, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, UInt32Type, UInt64Type};
use arrow::ipc::reader::FileReader;
use arrow::ipc::writer::FileWriter;
use med2e3_schemas::Id;
use med2e3_schemas::codec::VoxelCodec;
use med2e3_schemas::guarded::guarded;
use med2e3_schemas::identity::Identity;
use med2e3_schemas::index::{DatasetIndex, ShardEntry};
use med2e3_schemas::volume;
use med2e3_store::{FileError, put_whole, read_regular};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::{Members, ShardError, ShardReader};

/// The file in a dataset.
pub const FILE: &str = "feed/places.arrow";

/// The key of the schema's metadata under which [`Stated`] is.
const KEY: &str = "med2e3.places";

/// Rises when the file means something else.
const VERSION: u32 = 1;

/// Bytes of the file at most; a place has 48, so that a hundred million volumes have less.
const MAX_BYTES: u64 = 1 << 33;

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

/// What the file says besides its rows.
#[derive(Serialize, Deserialize)]
struct Stated {
    version: u32,
    cell_bytes: usize,
    shards: Vec<PlacedShard>,
    // Of the rows.
    xxh3: String,
}

/// The places of all volumes of a dataset, in the order of its shards and their rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    cell_bytes: usize,
    shards: Vec<PlacedShard>,
    places: Vec<Place>,
    // The first place of each shard, and their number at the end.
    starts: Vec<usize>,
}

impl Places {
    /// The places that the dataset's folder holds, if they are those of its shards; else places that are made now, and written to
    /// the folder where it lets them be. Of several processes that open a dataset without them one makes them.
    ///
    /// # Errors
    /// As [`Places::make`] and [`Places::read`].
    pub fn open(root: &Path, index: &DatasetIndex) -> Result<Places, ShardError> {
        let of_these = |found: &Places| found.is_of(index);
        if let Some(found) = Places::read(root)?.filter(of_these) {
            return Ok(found);
        }
        // A file system without locks has each process make them.
        let folder = File::open(root).map_err(FileError::of(root, "open"))?;
        let _ = folder.lock();
        let earlier = Places::read(root)?;
        if let Some(found) = earlier.clone().filter(of_these) {
            return Ok(found);
        }
        let made = Places::make(root, index, earlier.as_ref())?;
        // A folder that can't be written is no reason not to read it.
        let _ = made.write(root);
        Ok(made)
    }

    /// Writes the places of a dataset to its folder, unless they are there. `earlier` runs' places of shards that did not change
    /// are taken over; a file that does not read is made again.
    ///
    /// # Errors
    /// As [`Places::make`]; the system refuses to write.
    pub fn provide(root: &Path, index: &DatasetIndex) -> Result<(), ShardError> {
        let earlier = Places::read(root).ok().flatten();
        let made = Places::make(root, index, earlier.as_ref())?;
        if earlier.as_ref() == Some(&made) { Ok(()) } else { made.write(root) }
    }

    /// Whether these are the places of the shards that the index names.
    pub fn is_of(&self, index: &DatasetIndex) -> bool {
        let identities = index.volumes.iter().map(identity);
        self.cell_bytes == index.voxels.cell_bytes()
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
        let identity = identity(entry);
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
        let problem = |expected: &str, found: String| ShardError::Places {
            path: root.join(FILE),
            expected: expected.into(),
            found,
        };
        let mut volumes = HashSet::with_capacity(places.len());
        let mut starts = vec![0];
        let mut at = 0;
        for shard in 0..shards.len() {
            let mut end = 4;
            let first = at;
            while let Some(place) = places.get(at).filter(|place| place.shard as usize == shard) {
                let words = || {
                    format!("bytes {} and {} more for row {} of shard {shard}", place.offset, place.length, place.row)
                };
                if place.row as usize != at - first {
                    return Err(problem("each row of a shard once, in order", words()));
                }
                let stop = place.offset.checked_add(place.length.into()).filter(|stop| *stop <= bytes[shard]);
                if place.offset < end || stop.is_none() {
                    return Err(problem("places behind one another within their shard", words()));
                }
                if !volumes.insert(place.volume) {
                    return Err(problem("each volume once", format!("volume {} twice", place.volume)));
                }
                end = stop.unwrap_or(end);
                at += 1;
            }
            starts.push(at);
        }
        if at < places.len() {
            return Err(problem(&format!("places in {} shards", shards.len()), format!("shard {}", places[at].shard)));
        }
        Ok(Places { cell_bytes, shards, places, starts })
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
        let real = match Members::of(root)?.path(FILE) {
            Err(ShardError::File(FileError::NotFound { .. })) => return Ok(None),
            other => other?,
        };
        let bytes = read_regular(&real, MAX_BYTES)?;
        let problem = |found: String| ShardError::Places {
            path: path.clone(),
            expected: format!("places of version {VERSION}"),
            found,
        };
        let read = guarded(|| parse(&bytes)).unwrap_or_else(|words| Err(format!("damage: {words}")));
        let (stated, places) = read.map_err(problem)?;
        let most = vec![u64::MAX; stated.shards.len()];
        Places::of(root, stated.cell_bytes, stated.shards, places, most).map(Some)
    }

    /// Writes the file; it appears whole.
    fn write(&self, root: &Path) -> Result<(), ShardError> {
        let path = root.join(FILE);
        let folder = path.parent().unwrap_or(root);
        std::fs::create_dir_all(folder).map_err(FileError::of(folder, "create"))?;
        Ok(put_whole(&path, &self.to_bytes())?)
    }

    /// The file's bytes.
    fn to_bytes(&self) -> Vec<u8> {
        let stated = Stated {
            version: VERSION,
            cell_bytes: self.cell_bytes,
            shards: self.shards.clone(),
            xxh3: hash_of(&self.places),
        };
        let stated = serde_json::to_string(&stated).expect("plain data");
        let schema = schema().with_metadata([(KEY.to_owned(), stated)].into());
        let numbers = |of: fn(&Place) -> u32| Arc::new(UInt32Array::from_iter_values(self.places.iter().map(of)));
        let long = |of: fn(&Place) -> u64| Arc::new(UInt64Array::from_iter_values(self.places.iter().map(of)));
        let ids: Vec<u8> = self.places.iter().flat_map(|place| place.volume.0).collect();
        let ids = FixedSizeBinaryArray::new(16, ids.into(), None);
        let schema = Arc::new(schema);
        let columns: Vec<Arc<dyn Array>> = vec![
            Arc::new(ids),
            numbers(|place| place.shard),
            numbers(|place| place.row),
            long(|place| place.offset),
            numbers(|place| place.length),
            long(|place| place.xxh3),
        ];
        let batch = RecordBatch::try_new(schema.clone(), columns).expect("columns of the schema");
        let mut writer = FileWriter::try_new(Vec::new(), &schema).expect("written to memory");
        writer.write(&batch).expect("written to memory");
        writer.into_inner().expect("written to memory")
    }
}

fn schema() -> Schema {
    let field = |name: &str, data_type| Field::new(name, data_type, false);
    Schema::new(vec![
        field("volume_id", DataType::FixedSizeBinary(16)),
        field("shard", DataType::UInt32),
        field("row", DataType::UInt32),
        field("offset", DataType::UInt64),
        field("length", DataType::UInt32),
        field("xxh3", DataType::UInt64),
    ])
}

/// A file's contents, or what is wrong with them.
fn parse(bytes: &[u8]) -> Result<(Stated, Vec<Place>), String> {
    let reader = FileReader::try_new(Cursor::new(bytes), None).map_err(|error| error.to_string())?;
    let found = reader.schema();
    if found.fields() != schema().fields() {
        return Err("other columns".into());
    }
    let stated = found.metadata().get(KEY).ok_or_else(|| format!("no {KEY}"))?;
    let stated: Stated = serde_json::from_str(stated).map_err(|error| error.to_string())?;
    if stated.version != VERSION {
        return Err(format!("version {}", stated.version));
    }
    let mut places = Vec::new();
    for batch in reader {
        let batch = batch.map_err(|error| error.to_string())?;
        if batch.columns().iter().any(|column| column.null_count() > 0) {
            return Err("rows without a value".into());
        }
        let numbers = |column: usize| batch.column(column).as_primitive::<UInt32Type>().values();
        let long = |column: usize| batch.column(column).as_primitive::<UInt64Type>().values();
        let ids = batch.column(0).as_fixed_size_binary();
        places.extend((0..batch.num_rows()).map(|row| Place {
            volume: Id::from_bytes(ids.value(row)).expect("16 bytes"),
            shard: numbers(1)[row],
            row: numbers(2)[row],
            offset: long(3)[row],
            length: numbers(4)[row],
            xxh3: long(5)[row],
        }));
    }
    let hash = hash_of(&places);
    if hash != stated.xxh3 {
        return Err(format!("rows with xxh3 {hash} where {} is stated", stated.xxh3));
    }
    Ok((stated, places))
}

/// xxh3 of the rows, each with its values in order, little-endian, as hex.
fn hash_of(places: &[Place]) -> String {
    let mut hasher = Xxh3::new();
    for Place { volume, shard, row, offset, length, xxh3 } in places {
        hasher.update(&volume.0);
        [shard, row, length].iter().for_each(|number| hasher.update(&number.to_le_bytes()));
        [offset, xxh3].iter().for_each(|number| hasher.update(&number.to_le_bytes()));
    }
    format!("{:016x}", hasher.digest())
}

/// What the index says of a shard, as one hash.
fn identity(entry: &ShardEntry) -> String {
    let ShardEntry { path, rows, bytes, row_groups_xxh3, rest_xxh3 } = entry;
    let mut identity = Identity::of_kind("placed shard");
    identity.text(path).number(*rows).number(*bytes);
    identity.list(row_groups_xxh3, |identity, hash| {
        identity.text(hash);
    });
    identity.text(rest_xxh3).finish()
}

/// The places of one shard, whose bytes are compared with the index first: hashes are only taken of what was written.
fn read_shard(
    members: &Members,
    entry: &ShardEntry,
    shard: usize,
    cell_bytes: usize,
) -> Result<(PlacedShard, Vec<Place>), ShardError> {
    let path = members.path(&entry.path)?;
    let reader = ShardReader::open(&path)?;
    let now = reader.entry(&entry.path)?;
    if now != *entry {
        let words = |entry: &ShardEntry| {
            format!(
                "{} rows in {} bytes with xxh3 {} and {}",
                entry.rows,
                entry.bytes,
                entry.row_groups_xxh3.join(", "),
                entry.rest_xxh3
            )
        };
        return Err(ShardError::NotAsIndexed { path, expected: words(entry), found: words(&now) });
    }
    let mut ids = Vec::with_capacity(reader.rows());
    for batch in reader.read(&volume::IDS)? {
        ids.extend(volume::ids_from_batch(&batch).map_err(ShardError::schema(&path))?);
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
    Ok((PlacedShard { identity: identity(entry), codec: reader.codec(cell_bytes)? }, places))
}
