//! What belongs to a dataset: regular files in its folder, and nothing else, whatever its index names.

use std::fs;
use std::path::{Component, Path, PathBuf};

use med2e3_store::{FileError, check_regular};

use crate::ShardError;
use crate::index::FILE;

/// A dataset's folder, by which every path of its index is judged.
#[derive(Clone, Debug)]
pub struct Members {
    root: PathBuf,
    // Without links, so that what is below it can be told.
    real: PathBuf,
}

impl Members {
    /// The folder itself may be a link.
    ///
    /// # Errors
    /// A folder that is not there.
    pub fn of(root: &Path) -> Result<Members, ShardError> {
        let real = fs::canonicalize(root).map_err(FileError::of(root, "find"))?;
        Ok(Members { root: root.to_owned(), real })
    }

    /// The file at a path that the index or the folder states.
    ///
    /// # Errors
    /// A path that is absolute or climbs, a link that leads out of the folder, something else than a regular file.
    pub fn path(&self, relative: &str) -> Result<PathBuf, ShardError> {
        let path = self.root.join(within(&self.root, relative)?);
        let real = fs::canonicalize(&path).map_err(FileError::of(&path, "find"))?;
        if !real.starts_with(&self.real) {
            let found = format!("{relative}, a link that leads out of it");
            return Err(ShardError::OutsideDataset { path: self.root.clone(), found });
        }
        // Whoever opens it asks again: it may be replaced meanwhile.
        check_regular(&path)?;
        Ok(path)
    }
}

/// A path that the index states, which must not lead out of the dataset.
pub(crate) fn within<'a>(root: &Path, relative: &'a str) -> Result<&'a Path, ShardError> {
    let path = Path::new(relative);
    let is_plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    if is_plain && !relative.is_empty() && !relative.contains('\0') {
        Ok(path)
    } else {
        Err(ShardError::OutsideDataset { path: root.join(FILE), found: relative.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::process::Command;

    #[test]
    fn only_regular_files_of_the_folder_belong_to_it() {
        let outside = tempfile::tempdir().unwrap();
        let root = outside.path().join("dataset");
        fs::create_dir_all(root.join("volumes")).unwrap();
        fs::write(outside.path().join("secret"), b"secret").unwrap();
        fs::write(root.join("volumes/0"), b"shard").unwrap();
        symlink("0", root.join("volumes/same")).unwrap();
        symlink("../../secret", root.join("volumes/out")).unwrap();
        symlink(outside.path(), root.join("samples")).unwrap();
        assert!(Command::new("mkfifo").arg(root.join("pipe")).status().unwrap().success());
        // The folder's own name may be a link.
        let link = outside.path().join("link");
        symlink("dataset", &link).unwrap();
        for root in [&root, &link] {
            let members = Members::of(root).unwrap();
            assert_eq!(members.path("volumes/0").unwrap(), root.join("volumes/0"));
            members.path("volumes/same").unwrap();
            let said = |relative: &str| members.path(relative).unwrap_err().to_string();
            for relative in ["", "..", "../secret", "volumes/../../secret", "/etc/hostname", "./volumes/0"] {
                assert!(said(relative).contains("within the folder"), "{relative}");
            }
            assert!(said("volumes/out").contains("leads out of it"));
            assert!(said("samples/secret").contains("leads out of it"));
            assert!(said("pipe").contains("a named pipe"));
            assert!(said("volumes").contains("a folder"));
            assert!(said("none").contains("no such file"));
        }
    }
}
