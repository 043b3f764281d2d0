//! Files that follow from a dataset's shards ([`crate::places`], [`crate::texts`]): where they are kept, and by whom they are
//! made. They are in the dataset's folder; where that can't be written, in the user's cache; where that can't be either, in
//! memory alone. Of several processes that miss one, one makes it, under a lock of the folder.

use std::env;
use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use med2e3_schemas::identity::Identity;
use med2e3_schemas::index::{DatasetIndex, ShardEntry};
use med2e3_store::{FileError, WholeFile};

use crate::{Members, ShardError, ShardReader};

/// What is kept in a file that follows from the shards.
pub(crate) trait Kept: Sized {
    /// The file, relative to the folder.
    const FILE: &'static str;

    /// What a folder holds, of whatever shards it is; `None` where it holds none.
    ///
    /// # Errors
    /// A file that is not as it was written.
    fn read(folder: &Path) -> Result<Option<Self>, ShardError>;

    /// Whether it follows from the shards that the index names.
    fn is_of(&self, index: &DatasetIndex) -> bool;
}

/// What the dataset's folder or the user's cache holds, if it is of the dataset's shards; else what `make` makes, of what was
/// there earlier and to the file that it is given, if any. It says `None` where the file can't be written.
///
/// # Errors
/// A file that is not as it was written; as `make`.
pub(crate) fn open<T: Kept>(
    root: &Path,
    index: &DatasetIndex,
    mut make: impl FnMut(Option<T>, Option<WholeFile>) -> Result<Option<T>, ShardError>,
) -> Result<T, ShardError> {
    let of_these = |found: &T| found.is_of(index);
    for folder in [Some(root.to_owned()), cache_of(index)].iter().flatten() {
        // The cache's own folder, which is nobody else's to read, as texts may be; the dataset's is there.
        if DirBuilder::new().recursive(true).mode(0o700).create(folder).is_err() {
            continue;
        }
        if let Some(found) = T::read(folder)?.filter(of_these) {
            return Ok(found);
        }
        let handle = File::open(folder).map_err(FileError::of(folder, "open"))?;
        // A file system without locks has each process make it.
        let _ = handle.lock();
        let earlier = match T::read(folder)? {
            Some(found) if of_these(&found) => return Ok(found),
            earlier => earlier,
        };
        // A folder that can't be written is no reason not to read it.
        let Ok(file) = create(folder, T::FILE) else { continue };
        if let Some(made) = make(earlier, Some(file))? {
            return Ok(made);
        }
    }
    Ok(make(None, None)?.expect("memory takes it"))
}

/// What the dataset's folder or the user's cache holds, where it is of the dataset's shards and as it was written.
pub(crate) fn find<T: Kept>(root: &Path, index: &DatasetIndex) -> Option<T> {
    let kept = |folder: &PathBuf| T::read(folder).ok().flatten().filter(|found| found.is_of(index));
    kept(&root.to_owned()).or_else(|| kept(&cache_of(index)?))
}

/// Starts the file in a folder.
///
/// # Errors
/// A folder that can't be written; a link, by which somebody's dataset could have a file written elsewhere.
pub(crate) fn create(root: &Path, relative: &str) -> Result<WholeFile, ShardError> {
    let path = root.join(relative);
    let folder = path.parent().unwrap_or(root);
    fs::create_dir_all(folder).map_err(FileError::of(folder, "create"))?;
    let found = fs::symlink_metadata(folder).map_err(FileError::of(folder, "stat"))?;
    if !found.is_dir() {
        let found = format!("{}, a link", folder.display());
        return Err(ShardError::OutsideDataset { path: root.to_owned(), found });
    }
    Ok(WholeFile::create(&path)?)
}

/// The path of a file that is there.
///
/// # Errors
/// As [`Members::path`], but for a file that is not there.
pub(crate) fn existing(root: &Path, relative: &str) -> Result<Option<PathBuf>, ShardError> {
    match Members::of(root)?.path(relative) {
        Err(ShardError::File(FileError::NotFound { .. })) => Ok(None),
        found => found.map(Some),
    }
}

/// The user's cache for datasets of these shards, as freedesktop.org's base directories have it.
fn cache_of(index: &DatasetIndex) -> Option<PathBuf> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    let mut identity = Identity::of_kind("cached feed");
    for shards in [&index.volumes, &index.samples] {
        identity.text(&identity_of(shards));
    }
    Some(cache.join("med2e3").join(identity.finish()))
}

/// What the index says of some shards, as one hash.
pub(crate) fn identity_of(shards: &[ShardEntry]) -> String {
    let mut identity = Identity::of_kind("shards");
    identity.list(shards, |identity, entry| {
        identity.text(&shard_identity(entry));
    });
    identity.finish()
}

/// What the index says of a shard, as one hash.
pub(crate) fn shard_identity(entry: &ShardEntry) -> String {
    let ShardEntry { path, rows, bytes, row_groups_xxh3, rest_xxh3 } = entry;
    let mut identity = Identity::of_kind("placed shard");
    identity.text(path).number(*rows).number(*bytes);
    identity.list(row_groups_xxh3, |identity, hash| {
        identity.text(hash);
    });
    identity.text(rest_xxh3).finish()
}

/// Opens a shard whose bytes are compared with the index: what is kept is only taken of what was written.
///
/// # Errors
/// A shard that differs from the index, or can't be read.
pub(crate) fn open_as_indexed(members: &Members, entry: &ShardEntry) -> Result<ShardReader, ShardError> {
    let path = members.path(&entry.path)?;
    let reader = ShardReader::open(&path)?;
    let now = reader.entry(&entry.path)?;
    if now == *entry {
        return Ok(reader);
    }
    let words = |entry: &ShardEntry| {
        format!(
            "{} rows in {} bytes with xxh3 {} and {}",
            entry.rows,
            entry.bytes,
            entry.row_groups_xxh3.join(", "),
            entry.rest_xxh3
        )
    };
    Err(ShardError::NotAsIndexed { path, expected: words(entry), found: words(&now) })
}
