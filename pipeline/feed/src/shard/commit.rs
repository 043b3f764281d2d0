//! Files that appear whole: a temporary sibling, its contents on the disk, then the rename.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use med2e3_schemas::index::FileEntry;
use xxhash_rust::xxh3::xxh3_64;

use crate::FeedError;
use crate::map::MappedFile;

/// The temporary sibling of a file: same folder, so that the rename can't cross file systems.
pub fn sibling(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    path.with_file_name(name)
}

/// Makes a finished temporary sibling appear under its own name, durably.
///
/// # Errors
/// The system refuses the sync or the rename.
pub fn publish(file: &File, path: &Path) -> Result<(), FeedError> {
    let part = sibling(path);
    file.sync_all().map_err(FeedError::io(&part, "sync"))?;
    fs::rename(&part, path).map_err(FeedError::io(path, "rename"))?;
    // The rename itself is on the disk only when the folder is.
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(FeedError::io(folder, "sync"))
}

/// Writes a small file whole.
///
/// # Errors
/// The system refuses to create, write, sync or rename.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), FeedError> {
    let part = sibling(path);
    let mut file = File::create(&part).map_err(FeedError::io(&part, "create"))?;
    file.write_all(bytes).map_err(FeedError::io(&part, "write"))?;
    publish(&file, path)
}

/// What the index says of a file that is no shard.
///
/// # Errors
/// The system refuses to read.
pub fn file_entry(path: &Path) -> Result<FileEntry, FeedError> {
    let file = MappedFile::open(path)?;
    let bytes = file.as_ref();
    Ok(FileEntry { bytes: bytes.len() as u64, xxh3: format!("{:016x}", xxh3_64(bytes)) })
}
