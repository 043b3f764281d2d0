//! A folder of volumes without texts: every NIfTI or NumPy file, every folder of slices or of a DICOM series below it.

use std::fs;
use std::path::Path;

use med2e3_input::volume::{PathKind, path_kind};

use super::Builder;
use crate::PrepareError;

/// Adds every volume at or below `root/folder`, in the order of the names.
pub(super) fn read(root: &Path, folder: &Path, builder: &mut Builder<'_>) -> Result<(), PrepareError> {
    let mut open = vec![folder.to_owned()];
    // Depth first, names in order: the list, and with it every range, is the same on every machine.
    while let Some(path) = open.pop() {
        let location = root.join(&path);
        let metadata = fs::symlink_metadata(&location).map_err(PrepareError::file(&location, "read"))?;
        // A link could lead in a circle, or out of the root.
        if metadata.is_symlink() {
            continue;
        }
        let mut below = match path_kind(&location).map_err(PrepareError::file(&location, "list"))? {
            PathKind::Volume(folders) => {
                let image = path.to_str().ok_or_else(|| PrepareError::Manifest {
                    path: location.clone(),
                    expected: "names in UTF-8".into(),
                    found: "other bytes".into(),
                })?;
                // The root itself, where it is a series.
                let image = if image.is_empty() { "." } else { image };
                builder.add_volume(image, image.to_owned());
                folders
            }
            PathKind::Folder(names) => names,
            PathKind::Other => continue,
        };
        if metadata.is_dir() {
            builder.source(location);
        }
        below.sort();
        open.extend(below.into_iter().rev().map(|name| path.join(name)));
    }
    Ok(())
}
