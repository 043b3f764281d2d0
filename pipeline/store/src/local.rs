//! A folder on a local or shared disk as a store.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::store::{Commit, Entry, Store, check_folder, check_path};
use crate::temporary::is_temporary;
use crate::{FileError, WholeFile, put_whole};

/// A folder. Symbolic links below it are followed when a path names them, never when files are listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalFolder {
    root: PathBuf,
}

impl LocalFolder {
    /// The folder at `root`, which need not exist before the first file.
    pub fn new(root: &Path) -> LocalFolder {
        LocalFolder { root: root.to_owned() }
    }

    /// The folder's path.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, path: &str) -> Result<PathBuf, FileError> {
        check_path(path)?;
        Ok(self.root.join(path))
    }

    /// The path for a new file, its folder made.
    fn new_path(&self, path: &str) -> Result<PathBuf, FileError> {
        let path = self.path(path)?;
        let folder = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder).map_err(FileError::of(folder, "create"))?;
        Ok(path)
    }
}

impl Store for LocalFolder {
    fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, FileError> {
        let path = self.path(path)?;
        let mut file = File::open(&path).map_err(FileError::of(&path, "open"))?;
        let bytes = file.metadata().map_err(FileError::of(&path, "stat"))?.len();
        if range.start > range.end || range.end > bytes {
            return Err(FileError::Range { path, range, bytes });
        }
        file.seek(SeekFrom::Start(range.start)).map_err(FileError::of(&path, "seek"))?;
        let mut contents = Vec::new();
        file.take(range.end - range.start).read_to_end(&mut contents).map_err(FileError::of(&path, "read"))?;
        Ok(contents.into())
    }

    fn size(&self, path: &str) -> Result<u64, FileError> {
        let path = self.path(path)?;
        let metadata = fs::metadata(&path).map_err(FileError::of(&path, "stat"))?;
        if metadata.is_file() { Ok(metadata.len()) } else { Err(FileError::NotFound { path }) }
    }

    fn put_whole(&self, path: &str, bytes: &[u8]) -> Result<(), FileError> {
        put_whole(&self.new_path(path)?, bytes)
    }

    fn commit_if_absent(&self, path: &str, bytes: &[u8]) -> Result<Commit, FileError> {
        let path = self.new_path(path)?;
        let mut file = WholeFile::create(&path)?;
        std::io::Write::write_all(&mut file, bytes).map_err(FileError::of(&path, "write"))?;
        file.publish_if_absent()
    }

    fn list(&self, folder: &str) -> Result<Vec<Entry>, FileError> {
        check_folder(folder)?;
        let mut open = vec![folder.to_owned()];
        let mut found = Vec::new();
        while let Some(folder) = open.pop() {
            let path = self.root.join(&folder);
            let entries = match fs::read_dir(&path).map_err(FileError::of(&path, "list")) {
                // Removed meanwhile, or never there.
                Err(FileError::NotFound { .. }) => continue,
                entries => entries?,
            };
            for entry in entries {
                let entry = entry.map_err(FileError::of(&path, "list"))?;
                let kind = entry.file_type().map_err(FileError::of(&path, "list"))?;
                // A name in other bytes than UTF-8 is none that a store has written.
                let Ok(name) = entry.file_name().into_string() else { continue };
                let name = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                if kind.is_dir() {
                    open.push(name);
                } else if kind.is_file() && !is_temporary(Path::new(&name)) {
                    let Ok(metadata) = entry.metadata() else { continue };
                    found.push(Entry { path: name, bytes: metadata.len() });
                }
            }
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    fn remove(&self, path: &str) -> Result<(), FileError> {
        let path = self.path(path)?;
        match fs::remove_file(&path).map_err(FileError::of(&path, "remove")) {
            Err(FileError::NotFound { .. }) => Ok(()),
            result => result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_conforms() {
        let folder = tempfile::tempdir().unwrap();
        // A folder that does not exist yet.
        crate::conformance::check(&LocalFolder::new(&folder.path().join("new")));
    }

    #[test]
    fn unfinished_files_and_links_are_not_listed() {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalFolder::new(folder.path());
        store.put_whole("a", b"1").unwrap();
        let unfinished = WholeFile::create(&folder.path().join("b")).unwrap();
        std::os::unix::fs::symlink("a", folder.path().join("c")).unwrap();
        assert_eq!(store.list("").unwrap(), [Entry { path: "a".into(), bytes: 1 }]);
        drop(unfinished);
    }
}
