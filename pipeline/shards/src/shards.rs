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
        let members = Members::of(root)?;
        for name in index.files.keys().map(String::as_str).chain([index.tokenizer.as_deref().unwrap_or(TOKENIZER)]) {
            match members.path(name) {
                // What needs a file that is missing says so.
                Ok(_) | Err(ShardError::File(FileError::NotFound { .. })) => {}
                Err(error) => return Err(error),
            }
        }
        let mut numbers = HashSet::new();
        let mut open = |entry: &ShardEntry| {
            let path = members.path(&entry.path)?;
            let reader = ShardReader::open(&path)?;
            if !numbers.insert(reader.number()) {
                let (expected, found) = ("each shard once".into(), "another name of a shard before it".into());
                return Err(ShardError::NotAsIndexed { path, expected, found });
            }
            let (rows, bytes) = (reader.rows() as u64, reader.bytes());
            if (rows, bytes) == (entry.rows, entry.bytes) {
                return Ok(reader);
            }
            Err(ShardError::NotAsIndexed {
                path,
                expected: format!("{} rows in {} bytes", entry.rows, entry.bytes),
                found: format!("{rows} rows in {bytes} bytes"),
            })
        };
        let volumes = index.volumes.iter().map(&mut open).collect::<Result<Vec<_>, _>>()?;
        for shard in &volumes {
            let stated = VoxelFormat::of_schema(shard.schema()).map_err(ShardError::schema(shard.path()))?;
            if stated != index.voxels {
                return Err(ShardError::NotAsIndexed {
                    path: shard.path().to_owned(),
                    expected: index.voxels.in_words(),
                    found: stated.in_words(),
                });
            }
        }
        let samples = index.samples.iter().map(&mut open).collect::<Result<Vec<_>, _>>()?;
        Ok(Shards { index, volumes, samples })
    }
}
