//! The shards that a dataset's index names, opened and compared with it.

use std::collections::HashSet;
use std::path::Path;

use med2e3_schemas::index::{DatasetIndex, ShardEntry};
use med2e3_schemas::volume::VoxelFormat;
use med2e3_store::FileError;

use crate::index::{TOKENIZER, read_index};
use crate::members::Members;
use crate::{ShardError, ShardReader};

/// A dataset's index and its shards, in the order of the index. Others that are in the folder do not count.
pub struct Shards {
    /// The index.
    pub index: DatasetIndex,
    /// Volume shards.
    pub volumes: Vec<ShardReader>,
    /// Sample shards.
    pub samples: Vec<ShardReader>,
}

impl Shards {
    /// Opens the folder's index and every shard's footer.
    ///
    /// # Errors
    /// A folder without an index, an index of another version, a file that does not belong to the dataset (see [`Members`]), a
    /// shard that is missing, there twice, or has other rows than stated.
    pub fn open(root: &Path) -> Result<Shards, ShardError> {
        let index = read_index(root)?;
        let members = check_members(root, &index)?;
        let mut numbers = HashSet::new();
        let mut open = |entry: &ShardEntry| {
            let path = members.path(&entry.path)?;
            let reader = ShardReader::open(&path)?;
            once(&mut numbers, reader.number(), &path)?;
            check(&reader, entry.rows, entry.bytes)?;
            Ok::<_, ShardError>(reader)
        };
        let volumes = index.volumes.iter().map(&mut open).collect::<Result<Vec<_>, _>>()?;
        volumes.iter().try_for_each(|shard| check_voxels(shard, &index.voxels))?;
        let samples = index.samples.iter().map(&mut open).collect::<Result<Vec<_>, _>>()?;
        Ok(Shards { index, volumes, samples })
    }
}

/// The dataset's folder, in which the files that its index names are.
///
/// # Errors
/// A file that leads out of it, or is no regular one. What needs a file that is missing says so.
pub(crate) fn check_members(root: &Path, index: &DatasetIndex) -> Result<Members, ShardError> {
    let members = Members::of(root)?;
    for name in index.files.keys().map(String::as_str).chain([index.tokenizer.as_deref().unwrap_or(TOKENIZER)]) {
        match members.path(name) {
            Ok(_) | Err(ShardError::File(FileError::NotFound { .. })) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(members)
}

/// Whether the file at a path, of this device and number, is the first one of them.
pub(crate) fn once(numbers: &mut HashSet<(u64, u64)>, number: (u64, u64), path: &Path) -> Result<(), ShardError> {
    if numbers.insert(number) {
        return Ok(());
    }
    let (expected, found) = ("each shard once".into(), "another name of a shard before it".into());
    Err(ShardError::NotAsIndexed { path: path.to_owned(), expected, found })
}

/// Whether a shard has the rows and bytes that the index states.
pub(crate) fn check(reader: &ShardReader, rows: u64, bytes: u64) -> Result<(), ShardError> {
    let found = (reader.rows() as u64, reader.bytes());
    if found == (rows, bytes) {
        return Ok(());
    }
    Err(ShardError::NotAsIndexed {
        path: reader.path().to_owned(),
        expected: format!("{rows} rows in {bytes} bytes"),
        found: format!("{} rows in {} bytes", found.0, found.1),
    })
}

/// Whether a shard's cells are those that the index states.
pub(crate) fn check_voxels(shard: &ShardReader, expected: &VoxelFormat) -> Result<(), ShardError> {
    let stated = VoxelFormat::of_schema(shard.schema()).map_err(ShardError::schema(shard.path()))?;
    if stated == *expected {
        return Ok(());
    }
    Err(ShardError::NotAsIndexed {
        path: shard.path().to_owned(),
        expected: expected.in_words(),
        found: stated.in_words(),
    })
}
