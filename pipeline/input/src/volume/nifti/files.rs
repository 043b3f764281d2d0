//! The files of a NIfTI volume: a single file, or a pair, which only the names connect.

use std::path::{Path, PathBuf};

use crate::error::InputError;
use crate::reading;

pub(in super::super) enum NiftiFiles {
    Single { path: PathBuf },
    Pair { header: PathBuf, voxels: PathBuf },
}

/// The endings of a pair, header first.
const ENDINGS: [&str; 2] = [".hdr", ".img"];

impl NiftiFiles {
    /// The files of the volume at a path, which may be either file of a pair; the other one is in the same folder,
    /// plain or gzipped.
    ///
    /// # Errors
    /// [`InputError::NotFound`] where the other file of a pair is missing.
    pub(super) fn of(path: &Path) -> Result<NiftiFiles, InputError> {
        let Some((stem, which, zipped)) = split(path) else {
            return Ok(NiftiFiles::Single { path: path.to_owned() });
        };
        let ending = ENDINGS[1 - which];
        let upper = ending.to_uppercase();
        // First the name with the same compression and the same case.
        let tails = [[ending, &upper].map(|ending| (ending, "")), [ending, &upper].map(|ending| (ending, ".gz"))];
        let candidates = if zipped { [tails[1], tails[0]] } else { tails };
        let candidates = candidates.as_flattened().iter().map(|(ending, gz)| {
            let mut name = stem.clone().into_os_string();
            name.push(ending);
            name.push(gz);
            PathBuf::from(name)
        });
        let candidates: Vec<PathBuf> = candidates.collect();
        let Some(paired_file) = candidates.iter().find(|candidate| reading::is_file(candidate)) else {
            return Err(InputError::NotFound { path: candidates[0].clone() });
        };
        let (given, paired_file) = (path.to_owned(), paired_file.clone());
        Ok(if which == 0 {
            NiftiFiles::Pair { header: given, voxels: paired_file }
        } else {
            NiftiFiles::Pair { header: paired_file, voxels: given }
        })
    }

    /// The other file of a pair, if there is one.
    pub(in super::super) fn paired_file(path: &Path) -> Option<PathBuf> {
        match NiftiFiles::of(path).ok()? {
            NiftiFiles::Single { .. } => None,
            NiftiFiles::Pair { header, voxels } => Some(if header == path { voxels } else { header }),
        }
    }

    pub(super) fn header(&self) -> &Path {
        match self {
            NiftiFiles::Single { path } => path,
            NiftiFiles::Pair { header, .. } => header,
        }
    }
}

/// Whether a path is named as a file of a pair: `.hdr` or `.img`, optionally with `.gz`.
pub(in super::super) fn is_pair_name(path: &Path) -> bool {
    split(path).is_some()
}

/// The path without its endings, the index of its ending in [`ENDINGS`], and whether `.gz` follows.
fn split(path: &Path) -> Option<(PathBuf, usize, bool)> {
    let ends = |path: &Path, ending: &str| {
        path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(&ending[1..]))
    };
    let zipped = ends(path, ".gz");
    let inner = if zipped { path.with_extension("") } else { path.to_owned() };
    let which = ENDINGS.iter().position(|ending| ends(&inner, ending))?;
    Some((inner.with_extension(""), which, zipped))
}
