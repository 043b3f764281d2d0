//! A folder of volumes without texts: every file that is a volume, every folder of slices or of a DICOM series below it.
//!
//! Every file below the folder is accounted for: it is a volume, a part of one, or passed over for a reason that is counted.
//! Links are followed where they stay within the data root; folders behind links come after all others, so that a
//! folder is listed under its own name and once.

use std::collections::{HashSet, VecDeque};
use std::ffi::OsStr;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use med2e3_input::reading;
use med2e3_input::volume::{Entry, FileKind, Folder, PassedOver, Series, entry_at};
use med2e3_schemas::manifest::Refusal;
use med2e3_schemas::quarantine::Reason;

use super::Builder;
use super::source::leads_out;
use crate::PrepareError;

/// Words by which a folder of label maps is known, and a file by the last part of its name (`_seg`, `-label`).
const LABEL_WORDS: [&str; 18] = [
    "annotation",
    "annotations",
    "dseg",
    "gt",
    "label",
    "labels",
    "labelmap",
    "labelstr",
    "labelsts",
    "mask",
    "masks",
    "predictions",
    "probseg",
    "roi",
    "rois",
    "seg",
    "segmentation",
    "segmentations",
];

/// Adds every volume at or below `root/start`, in the order of the names.
///
/// # Errors
/// `start` itself can't be looked at. What lies below and can't be listed or named becomes a refused row.
pub(super) fn read(root: &Path, start: &Path, builder: &mut Builder<'_>) -> Result<(), PrepareError> {
    let location = root.join(start);
    if entry_at(&location).map_err(PrepareError::file(&location, "read"))? != Entry::Folder {
        // A file that is named is read, whatever it is: the reader says why it can't be.
        builder.source(location);
        let name = start.to_string_lossy().into_owned();
        builder.add_listed(name.clone(), Ok(name));
        return Ok(());
    }
    // It ends where the tree does: nothing here breaks off.
    let _ = walk(root, start, |path, item| {
        let refusal = |reason, detail| Err(Refusal { reason, detail });
        match item {
            Item::Opened => drop(builder.source(root.join(path))),
            Item::Part => builder.manifest.listing.in_volumes += 1,
            Item::PassedOver(_) if builder.files.contains(path) => {
                builder.manifest.listing.note_manifest_file(text_of(path));
            }
            Item::PassedOver(reason) => builder.manifest.listing.pass_over(reason, text_of(path)),
            Item::NotListed(error) => {
                let detail = format!("the folder can't be listed: {error}");
                builder.add_listed(text_of(path), refusal(Reason::Unreadable, detail));
            }
            Item::Series(_) | Item::Volume(_) => {
                builder.manifest.listing.in_volumes += u64::from(matches!(item, Item::Volume(_)));
                // The root itself, where it is a series.
                let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
                let name = path.to_str().map(str::to_owned);
                let not_text = || refusal(Reason::NameNotUtf8, "expected a name in UTF-8, found other bytes".into());
                builder.add_listed(text_of(path), name.map_or_else(not_text, Ok));
            }
        }
        ControlFlow::Continue(())
    });
    Ok(())
}

/// Whether volumes at or below the folder have Hounsfield units to be expected: any that is no picture and no array. Without
/// any volume they have.
pub(crate) fn expects_units(root: &Path, start: &Path) -> bool {
    let mut without = false;
    let found = walk(root, start, |_, item| match item {
        Item::Volume(FileKind::Nifti | FileKind::Dicom | FileKind::Raster) | Item::Series(Series::Dicom) => {
            ControlFlow::Break(())
        }
        Item::Volume(FileKind::Array) | Item::Series(Series::Slices) => {
            without = true;
            ControlFlow::Continue(())
        }
        _ => ControlFlow::Continue(()),
    });
    found.is_break() || !without
}

/// Gives every volume at or below the folder, by its path from the root, in the order of a listing.
pub(crate) fn volumes_below(
    root: &Path,
    start: &Path,
    mut visit: impl FnMut(&Path) -> ControlFlow<()>,
) -> ControlFlow<()> {
    walk(root, start, |path, item| match item {
        Item::Series(_) | Item::Volume(_) => visit(path),
        _ => ControlFlow::Continue(()),
    })
}

/// What a walk through a tree finds, with its path relative to the root.
enum Item {
    /// A folder whose entries follow.
    Opened,
    /// A folder that the system does not list.
    NotListed(io::Error),
    /// A folder that is a volume.
    Series(Series),
    /// A file that is a volume.
    Volume(FileKind),
    /// A file that belongs to a volume.
    Part,
    /// Nothing that a volume is made of.
    PassedOver(PassedOver),
}

/// Walks through the folders at and below `root/start`, depth first, names in order, so that the list, and with it every range,
/// is the same on every machine; folders behind links last. Ends early where `visit` breaks.
fn walk(root: &Path, start: &Path, mut visit: impl FnMut(&Path, Item) -> ControlFlow<()>) -> ControlFlow<()> {
    // Device and number of every folder that was listed: a link can lead to one of them, or in a circle.
    let mut listed = HashSet::new();
    let mut linked = VecDeque::from([start.to_owned()]);
    while let Some(folder) = linked.pop_front() {
        let mut open = vec![(folder, Entry::Folder)];
        while let Some((path, entry)) = open.pop() {
            let item = match entry {
                Entry::Part => Item::Part,
                Entry::PassedOver(reason) => Item::PassedOver(reason),
                Entry::Volume(kind) if is_label_map(path.strip_prefix(start).unwrap_or(&path), kind) => {
                    Item::PassedOver(PassedOver::LabelMap)
                }
                Entry::Volume(kind) => Item::Volume(kind),
                Entry::Folder => {
                    let location = root.join(&path);
                    if reading::metadata(&location).is_ok_and(|m| !listed.insert((m.dev(), m.ino()))) {
                        visit(&path, Item::PassedOver(PassedOver::LinkToListed))?;
                        continue;
                    }
                    visit(&path, Item::Opened)?;
                    let folder = match Folder::list(&location, |link| leads_out(root, link)) {
                        Ok(folder) => folder,
                        Err(error) => {
                            visit(&path, Item::NotListed(error))?;
                            continue;
                        }
                    };
                    if let Some(series) = folder.series {
                        visit(&path, Item::Series(series))?;
                    }
                    for (name, entry) in folder.entries.into_iter().rev() {
                        let path = path.join(name);
                        if entry == Entry::Folder && root.join(&path).is_symlink() {
                            linked.push_back(path);
                        } else {
                            open.push((path, entry));
                        }
                    }
                    continue;
                }
            };
            visit(&path, item)?;
        }
    }
    ControlFlow::Continue(())
}

/// Whether a file is named as a label map, by itself or by a folder between it and the one that was asked for.
fn is_label_map(below: &Path, kind: FileKind) -> bool {
    let is_word = |word: &str| LABEL_WORDS.contains(&word.to_lowercase().as_str());
    let mut folders = below.parent().into_iter().flat_map(Path::components);
    let name = below.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let stem = name.strip_suffix(".gz").unwrap_or(name).rsplit_once('.').map_or(name, |(stem, _)| stem);
    let last = stem.rsplit(['_', '-', '.']).next().unwrap_or_default();
    matches!(kind, FileKind::Nifti | FileKind::Raster)
        && (folders.any(|folder| folder.as_os_str().to_str().is_some_and(is_word))
            || (last.len() < stem.len() && is_word(last)))
}

/// A path as text: bytes that are no UTF-8 as `\xNN`, so that different names stay different.
fn text_of(path: &Path) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_encoded_bytes().utf8_chunks() {
        text.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_maps_are_known_by_their_names() {
        let is = |path: &str| is_label_map(Path::new(path), FileKind::Nifti);
        for path in [
            "labelsTr/liver_0.nii.gz",
            "s1/segmentations/spleen.nii.gz",
            "a/ct_seg.nii",
            "a/1-label.nii.gz",
            "ct.mask.nii",
            "ct.seg.nii.gz",
            "x/Masks/1.nii",
        ] {
            assert!(is(path), "{path}");
        }
        for path in
            ["imagesTr/liver_0.nii.gz", "ct.nii.gz", "a/seg.nii", "segments/1.nii.gz", "a/unmasked.nii", "label/"]
        {
            assert!(!is(path), "{path}");
        }
    }

    #[test]
    fn names_of_any_bytes_stay_different() {
        use std::os::unix::ffi::OsStrExt;
        let text = |bytes: &[u8]| text_of(Path::new(OsStr::from_bytes(bytes)));
        assert_eq!((text(b"a/M\xfcller"), text("a/Müller".as_bytes())), ("a/M\\xfcller".into(), "a/Müller".into()));
        assert_ne!(text(b"\xfc"), text(b"\xe9"));
    }
}
