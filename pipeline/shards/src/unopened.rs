//! A shard that is opened when it is first read: what tells whether it is the index's own without its footer is looked at before.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use med2e3_schemas::index::ShardEntry;
use med2e3_schemas::volume::VoxelFormat;
use med2e3_store::{FileError, PositionedFile};

use crate::shards::{check, check_voxels, once};
use crate::{Members, ShardError, ShardReader};

/// A shard that the index names, open or not.
pub(crate) struct Unopened {
    path: PathBuf,
    rows: u64,
    bytes: u64,
    // The cells that it must have; none of a shard of samples.
    voxels: Option<VoxelFormat>,
    file: OnceLock<Arc<PositionedFile>>,
    reader: OnceLock<ShardReader>,
}

impl Unopened {
    /// Looks for the file, without opening it where it has its size. `numbers` are those of the shards before it.
    ///
    /// # Errors
    /// A file that does not belong to the dataset, is missing, there twice, or has another size.
    pub(crate) fn find(
        members: &Members,
        entry: &ShardEntry,
        voxels: Option<VoxelFormat>,
        numbers: &mut HashSet<(u64, u64)>,
    ) -> Result<Unopened, ShardError> {
        let path = members.path(&entry.path)?;
        let found = fs::metadata(&path).map_err(FileError::of(&path, "stat"))?;
        once(numbers, (found.dev(), found.ino()), &path)?;
        let (file, reader) = (OnceLock::new(), OnceLock::new());
        let shard = Unopened { path, rows: entry.rows, bytes: entry.bytes, voxels, file, reader };
        if found.len() != entry.bytes {
            // With the words for what is wrong with it.
            shard.reader()?;
        }
        Ok(shard)
    }

    /// One that is open, and was compared with the index.
    pub(crate) fn opened(reader: ShardReader) -> Unopened {
        Unopened {
            path: reader.path().to_owned(),
            rows: reader.rows() as u64,
            bytes: reader.bytes(),
            voxels: None,
            file: OnceLock::from(reader.file().clone()),
            reader: OnceLock::from(reader),
        }
    }

    /// The file, for reads of places that are known.
    ///
    /// # Errors
    /// A file that is gone by now, or that the system does not open.
    pub(crate) fn file(&self) -> Result<&Arc<PositionedFile>, FileError> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        let file = Arc::new(PositionedFile::open(&self.path)?);
        Ok(self.file.get_or_init(|| file))
    }

    /// The shard's reader.
    ///
    /// # Errors
    /// As [`ShardReader::open`]; rows or cells that are not those that the index states.
    pub(crate) fn reader(&self) -> Result<&ShardReader, ShardError> {
        if let Some(reader) = self.reader.get() {
            return Ok(reader);
        }
        let reader = ShardReader::of_file(self.file()?.clone())?;
        check(&reader, self.rows, self.bytes)?;
        self.voxels.as_ref().map_or(Ok(()), |voxels| check_voxels(&reader, voxels))?;
        Ok(self.reader.get_or_init(|| reader))
    }
}
