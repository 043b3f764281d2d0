//! Stamps: what an input was when it was read, so that a later run notices which inputs changed since.
//!
//! A quick stamp is size and time of the path that the manifest names: for a folder of slices the folder's own time, which
//! changes when a file is added, removed or replaced by a rename, but not when one is written over in place. An input that
//! was set aside is stamped with every file in it, so that a repair is never missed. A full stamp hashes contents.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use med2e3_input::volume::paired_file;
use serde::{Deserialize, Serialize};

/// The stamp of one input, as text; equal stamps mean an unchanged input, as far as the kind of stamp can tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Stamp(String);

impl Stamp {
    /// Size and time of the path itself, and of its other part where it is one of a pair; of a path that is not there, that.
    pub fn quick(path: &Path) -> Stamp {
        match paired_file(path) {
            Some(other) => Stamp(format!("{} {}", times(path), times(&other))),
            None => Stamp(times(path)),
        }
    }

    /// Sizes and times of the path and of what is directly in it.
    pub fn deep(path: &Path) -> Stamp {
        let mut hasher = blake3::Hasher::new();
        for path in with_contents(path) {
            add_name(&mut hasher, &path);
            hasher.update(times(&path).as_bytes());
        }
        Stamp(format!("deep {}", hasher.finalize().to_hex()))
    }

    /// Whether the path has this stamp now.
    pub fn is_current(&self, path: &Path) -> bool {
        let now = match self.0.split_once(' ') {
            Some(("deep", _)) => Stamp::deep(path),
            Some(("full", _)) => Stamp::full(path),
            _ => Stamp::quick(path),
        };
        *self == now
    }

    /// The contents of the file, or of every file that is directly in the folder.
    pub fn full(path: &Path) -> Stamp {
        let mut hasher = blake3::Hasher::new();
        for path in with_contents(path) {
            add_name(&mut hasher, &path);
            // Opening a pipe would wait for ever.
            let content = path.is_file().then(|| fs::File::open(&path).ok()).flatten();
            if content.is_none_or(|file| hasher.update_reader(file).is_err()) {
                hasher.update(b"no readable file");
            }
        }
        Stamp(format!("full {}", hasher.finalize().to_hex()))
    }
}

/// Adds a file's name, with its length, so that no two lists of names are the same bytes.
fn add_name(hasher: &mut blake3::Hasher, path: &Path) {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    hasher.update(&(name.len() as u64).to_le_bytes());
    hasher.update(name);
}

fn times(path: &Path) -> String {
    match fs::metadata(path) {
        Ok(m) => format!("{} {}.{:09}", m.len(), m.mtime(), m.mtime_nsec()),
        Err(error) if error.kind() == ErrorKind::NotFound => "absent".to_owned(),
        Err(_) => "unreadable".to_owned(),
    }
}

fn with_contents(path: &Path) -> Vec<PathBuf> {
    let inner = fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut paths: Vec<PathBuf> = inner.chain([path.to_owned()]).chain(paired_file(path)).collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_notices_what_it_should() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("0.png");
        fs::write(&file, b"one").unwrap();
        let stamps = || [Stamp::quick, Stamp::deep, Stamp::full].map(|stamp| stamp(folder.path()));
        let [quick, deep, full] = stamps();
        // Written over in place, with the same size, at another time.
        fs::write(&file, b"two").unwrap();
        let late = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1);
        fs::File::options().write(true).open(&file).unwrap().set_modified(late).unwrap();
        let [quick_now, deep_now, full_now] = stamps();
        assert!(quick == quick_now && deep != deep_now && full != full_now);
        fs::write(&file, b"one").unwrap();
        assert_eq!(Stamp::full(folder.path()), full);
        assert_eq!(Stamp::quick(&folder.path().join("none")), Stamp("absent".into()));
    }
}
