//! Which files a NIfTI volume has: one, or a pair that is known by its names alone.

use std::path::{Path, PathBuf};

use crate::error::InputError;

pub(in super::super) enum Parts {
    Single { path: PathBuf },
    Pair { header: PathBuf, voxels: PathBuf },
}

/// The endings of a pair, header first.
const ENDINGS: [&str; 2] = [".hdr", ".img"];

impl Parts {
    /// The parts of the volume at a path, which for a pair is that of either part; the other one lies beside it, plain
    /// or gzipped.
    ///
    /// # Errors
    /// [`InputError::NotFound`] where the other part is missing.
    pub(super) fn of(path: &Path) -> Result<Parts, InputError> {
        let Some((stem, which, zipped)) = split(path) else {
            return Ok(Parts::Single { path: path.to_owned() });
        };
        let ending = ENDINGS[1 - which];
        let upper = ending.to_uppercase();
        // First the partner that is packed and written the same way.
        let tails = [[ending, &upper].map(|ending| (ending, "")), [ending, &upper].map(|ending| (ending, ".gz"))];
        let candidates = if zipped { [tails[1], tails[0]] } else { tails };
        let candidates = candidates.as_flattened().iter().map(|(ending, gz)| {
            let mut name = stem.clone().into_os_string();
            name.push(ending);
            name.push(gz);
            PathBuf::from(name)
        });
        let candidates: Vec<PathBuf> = candidates.collect();
        let Some(partner) = candidates.iter().find(|candidate| candidate.is_file()) else {
            return Err(InputError::NotFound { path: candidates[0].clone() });
        };
        let (given, partner) = (path.to_owned(), partner.clone());
        Ok(if which == 0 {
            Parts::Pair { header: given, voxels: partner }
        } else {
            Parts::Pair { header: partner, voxels: given }
        })
    }

    /// The file beside the given one, if there is one.
    pub(in super::super) fn partner(path: &Path) -> Option<PathBuf> {
        match Parts::of(path).ok()? {
            Parts::Single { .. } => None,
            Parts::Pair { header, voxels } => Some(if header == path { voxels } else { header }),
        }
    }

    pub(super) fn header(&self) -> &Path {
        match self {
            Parts::Single { path } => path,
            Parts::Pair { header, .. } => header,
        }
    }
}

/// Whether a path is named as a part of a pair: `.hdr` or `.img`, perhaps with `.gz`.
pub(in super::super) fn is_pair_name(path: &Path) -> bool {
    split(path).is_some()
}

/// The path without its ending, which of [`ENDINGS`] it has, and whether `.gz` follows.
fn split(path: &Path) -> Option<(PathBuf, usize, bool)> {
    let ends = |path: &Path, ending: &str| {
        path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(&ending[1..]))
    };
    let zipped = ends(path, ".gz");
    let inner = if zipped { path.with_extension("") } else { path.to_owned() };
    let which = ENDINGS.iter().position(|ending| ends(&inner, ending))?;
    Some((inner.with_extension(""), which, zipped))
}
