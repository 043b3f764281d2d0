//! Room on a disk.

use std::path::Path;

use crate::FileError;

/// Bytes that an ordinary user may still write at `path`, which need not exist yet.
///
/// # Errors
/// The system refuses to report them.
pub fn free_bytes(path: &Path) -> Result<u64, FileError> {
    let absolute = std::path::absolute(path).map_err(FileError::of(path, "find"))?;
    let there = nearest_existing(&absolute);
    let disk = rustix::fs::statvfs(there).map_err(|error| FileError::of(there, "measure")(error.into()))?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// A path's nearest ancestor that exists; its time changes when the next part of the path appears.
pub fn nearest_existing(path: &Path) -> &Path {
    path.ancestors().find(|path| path.exists()).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_to_come_has_the_room_of_its_disk() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b/c");
        assert_eq!(nearest_existing(&deep), folder.path());
        assert!(free_bytes(&deep).unwrap() > 0);
    }
}
