//! Files and folders that appear whole: a temporary sibling, its contents on the disk, then the rename.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::FileError;
use crate::store::Commit;
use crate::temporary;

/// A file that is being written under a temporary name. Dropped before it is published, it is removed.
#[derive(Debug)]
pub struct WholeFile {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
}

impl WholeFile {
    /// Starts a file that will appear at `path`. Its folder must exist.
    ///
    /// # Errors
    /// The system refuses to create it.
    pub fn create(path: &Path) -> Result<WholeFile, FileError> {
        let open = |path: &Path| OpenOptions::new().read(true).write(true).create_new(true).open(path);
        let (temporary, file) = temporary::create(path, open).map_err(FileError::of(path, "create"))?;
        Ok(WholeFile { file, temporary, path: path.to_owned() })
    }

    /// The open file; what is written to it counts.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The path under which the file can be read and written until it is published.
    pub fn temporary(&self) -> &Path {
        &self.temporary
    }

    /// The path at which the file will appear.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the file appear under its name, durably, in place of an earlier one. Blocks until the disk has it.
    ///
    /// # Errors
    /// The system refuses the sync or the rename.
    pub fn publish(self) -> Result<(), FileError> {
        self.file.sync_all().map_err(FileError::of(&self.temporary, "sync"))?;
        rename(&self.temporary, &self.path)?;
        sync_folder(&self.path)
    }

    /// As [`WholeFile::publish`], but an earlier file stays. Of several writers at the same time exactly one commits.
    ///
    /// # Errors
    /// The system refuses the sync or the link.
    pub fn publish_if_absent(self) -> Result<Commit, FileError> {
        self.file.sync_all().map_err(FileError::of(&self.temporary, "sync"))?;
        // A link, unlike a rename, fails where something is there. The temporary name is removed by the drop.
        match fs::hard_link(&self.temporary, &self.path) {
            Ok(()) => sync_folder(&self.path).map(|()| Commit::Done),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Commit::AlreadyThere),
            // A file system without hard links may still have a rename that replaces nothing.
            Err(error) if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported) => {
                match rename_if_absent(&self.temporary, &self.path) {
                    Ok(()) => sync_folder(&self.path).map(|()| Commit::Done),
                    Err(renamed) if renamed.kind() == io::ErrorKind::AlreadyExists => Ok(Commit::AlreadyThere),
                    Err(_) => Err(FileError::of(&self.path, "link")(error)),
                }
            }
            Err(error) => Err(FileError::of(&self.path, "link")(error)),
        }
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for WholeFile {
    fn drop(&mut self) {
        // After a rename nothing has this name any more.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// Writes a small file whole, in place of an earlier one.
///
/// # Errors
/// The system refuses to create, write, sync or rename.
pub fn put_whole(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let mut file = WholeFile::create(path)?;
    file.write_all(bytes).map_err(FileError::of(path, "write"))?;
    file.publish()
}

/// A folder that is being filled under a temporary name. Dropped before it is published, it is removed.
#[derive(Debug)]
pub struct WholeFolder {
    temporary: PathBuf,
    path: PathBuf,
}

impl WholeFolder {
    /// Starts a folder that will appear at `path`. The folder above must exist.
    ///
    /// # Errors
    /// The system refuses to create it.
    pub fn create(path: &Path) -> Result<WholeFolder, FileError> {
        let (temporary, ()) =
            temporary::create(path, |path| fs::create_dir(path)).map_err(FileError::of(path, "create"))?;
        Ok(WholeFolder { temporary, path: path.to_owned() })
    }

    /// The folder to fill.
    pub fn temporary(&self) -> &Path {
        &self.temporary
    }

    /// Makes the folder appear under its name, durably, in place of an earlier one. The two are exchanged in one step, so at
    /// every moment one of them is complete under the name. On a file system without that step (NFS) the earlier one has the
    /// name [`earlier`] for a moment, and after a kill in that moment only that. Files in the folder must be synced.
    ///
    /// # Errors
    /// The system refuses to rename.
    pub fn publish(self) -> Result<(), FileError> {
        if !self.path.exists() {
            rename(&self.temporary, &self.path)?;
        } else if exchange(&self.temporary, &self.path).is_err() {
            let earlier = earlier(&self.path);
            rename(&self.path, &earlier)?;
            rename(&self.temporary, &self.path)?;
            fs::remove_dir_all(&earlier).map_err(FileError::of(&earlier, "remove"))?;
        }
        sync_folder(&self.path)
    }
}

/// The name that a folder has while another takes its place on a file system that can't exchange names.
pub fn earlier(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(EARLIER);
    path.with_file_name(name)
}

/// The name of the folder that `name` is an earlier state of, or `name` itself.
pub fn without_earlier(name: &str) -> &str {
    name.strip_suffix(EARLIER).unwrap_or(name)
}

const EARLIER: &str = ".old";

/// Removes what killed writers left next to a folder: unfinished folders, and the earlier one, unless it is the only one, which
/// then gets its name back. The caller must be the only writer.
///
/// # Errors
/// The system refuses to list, rename or remove.
pub fn undo_interrupted(path: &Path) -> Result<(), FileError> {
    let earlier = earlier(path);
    if !path.exists() && earlier.exists() {
        rename(&earlier, path)?;
    }
    let folder = folder_above(path);
    let entries = match fs::read_dir(folder).map_err(FileError::of(folder, "list")) {
        Err(FileError::NotFound { .. }) => return Ok(()),
        entries => entries?,
    };
    let entries = entries.flatten().map(|entry| folder.join(entry.file_name()));
    for leftover in entries.filter(|entry| *entry == earlier || temporary::is_temporary_of(entry, path)) {
        fs::remove_dir_all(&leftover).map_err(FileError::of(&leftover, "remove"))?;
    }
    Ok(())
}

fn rename(from: &Path, to: &Path) -> Result<(), FileError> {
    fs::rename(from, to).map_err(FileError::of(to, "rename"))
}

/// Renames where nothing has the new name.
fn rename_if_absent(from: &Path, to: &Path) -> io::Result<()> {
    Ok(rustix::fs::renameat_with(rustix::fs::CWD, from, rustix::fs::CWD, to, rustix::fs::RenameFlags::NOREPLACE)?)
}

/// Exchanges two folders' names at once.
fn exchange(one: &Path, other: &Path) -> rustix::io::Result<()> {
    rustix::fs::renameat_with(rustix::fs::CWD, one, rustix::fs::CWD, other, rustix::fs::RenameFlags::EXCHANGE)
}

impl Drop for WholeFolder {
    fn drop(&mut self) {
        // Whatever has the temporary name now: what was not published, or the earlier folder.
        let _ = fs::remove_dir_all(&self.temporary);
    }
}

fn folder_above(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A rename is on the disk only when the folder above is.
fn sync_folder(path: &Path) -> Result<(), FileError> {
    let folder = folder_above(path);
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        // File systems that sync no folders say so in these ways: EINVAL, EOPNOTSUPP, ENOSYS.
        Err(error) if matches!(error.raw_os_error(), Some(22 | 95 | 38)) => Ok(()),
        synced => synced.map_err(FileError::of(folder, "sync")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn two_writers_at_one_file_never_mix() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let (mut a, mut b) = (WholeFile::create(&path).unwrap(), WholeFile::create(&path).unwrap());
        for _ in 0..100 {
            a.write_all(b"aaaa").unwrap();
            b.write_all(b"bbbbbb").unwrap();
        }
        a.publish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"aaaa".repeat(100));
        b.publish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"bbbbbb".repeat(100));
        assert_eq!(names(folder.path()), ["x"]);
    }

    #[test]
    fn an_unpublished_file_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = WholeFile::create(&folder.path().join("x")).unwrap();
        file.write_all(b"half").unwrap();
        drop(file);
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn whatever_a_kill_leaves_the_next_writer_finds_the_last_complete_folder() {
        // What is on the disk after a kill, and the text that must be found.
        for (left, expected) in [
            (&[("x", "one"), ("x.host-1-0.part", "half")][..], "one"),
            (&[("x.old", "one"), ("x.host-1-0.part", "two")], "one"),
            (&[("x", "two"), ("x.old", "one")], "two"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            for (name, text) in left {
                fs::create_dir(folder.path().join(name)).unwrap();
                fs::write(folder.path().join(name).join("a"), text).unwrap();
            }
            let path = folder.path().join("x");
            undo_interrupted(&path).unwrap();
            assert_eq!(names(folder.path()), ["x"]);
            assert_eq!(fs::read_to_string(path.join("a")).unwrap(), expected);
        }
        assert_eq!((without_earlier("step-3.old"), without_earlier("step-3")), ("step-3", "step-3"));
    }

    #[test]
    fn a_folder_replaces_an_earlier_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("step-1");
        for text in ["one", "two"] {
            let whole = WholeFolder::create(&path).unwrap();
            fs::write(whole.temporary().join("a"), text).unwrap();
            whole.publish().unwrap();
            assert_eq!(fs::read_to_string(path.join("a")).unwrap(), text);
        }
        assert_eq!(names(folder.path()), ["step-1"]);
        drop(WholeFolder::create(&path).unwrap());
        assert_eq!(names(folder.path()), ["step-1"]);
    }
}
