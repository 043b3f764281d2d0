//! The kind of a DICOM object, by the first bytes of its file.
//!
//! Source: DICOM PS3.4 annex B (storage SOP classes), PS3.3 C.7.6.1.1.2 and C.8.2.1.1.1 (image type).

use super::elements::{Elements, Tag};
use super::file::first_part;

pub(super) const IMAGE_TYPE: Tag = Tag(0x0008, 0x0008);
pub(super) const SOP_CLASS: Tag = Tag(0x0008, 0x0016);

/// Bytes from a file's start that show its kind: a preamble, a meta group and the first elements are shorter.
pub(in crate::volume) const KIND_HEAD: usize = 4096;

/// What a DICOM file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::volume) enum Kind {
    /// The directory of a disc (DICOMDIR), which names the files of other objects.
    Directory,
    /// A report, a presentation state, a structure set, a key object selection: an object without pixels.
    NoImage,
    /// A localizer (scout), by its image type: the picture on which slices were planned.
    Localizer,
    /// A multi-frame object: a volume of its own.
    MultiFrame,
    /// A single image, or an object whose first bytes don't say what it is.
    Image,
}

/// The kind of the file that starts with `head`, of which [`KIND_HEAD`] bytes are enough; `None` where it is not DICOM.
pub(in crate::volume) fn kind(head: &[u8]) -> Option<Kind> {
    let (of_meta, set) = first_part(head)?;
    let elements = set.map(|set| set.first_elements(&[IMAGE_TYPE, SOP_CLASS]));
    let class = elements.as_ref().and_then(|elements| elements.text(SOP_CLASS)).or(of_meta.as_deref()).unwrap_or("");
    Some(match class {
        DIRECTORY => Kind::Directory,
        class if is_no_image(class) => Kind::NoImage,
        class if is_multi_frame(class) => Kind::MultiFrame,
        _ if elements.is_some_and(|elements| is_localizer(&elements, IMAGE_TYPE)) => Kind::Localizer,
        _ => Kind::Image,
    })
}

/// Media Storage Directory Storage.
const DIRECTORY: &str = "1.2.840.10008.1.3.10";

/// The root of the storage SOP classes.
const STORAGE: &str = "1.2.840.10008.5.1.4.1.1.";

fn storage(class: &str) -> Option<Vec<&str>> {
    Some(class.strip_prefix(STORAGE)?.split('.').collect())
}

fn is_no_image(class: &str) -> bool {
    match storage(class).as_deref() {
        // Waveforms, presentation states, reports and key objects, encapsulated documents.
        Some(["9" | "11" | "88" | "104", ..]) => true,
        // Structure sets, treatment records and plans, ion plans and records.
        Some(["481", "3" | "4" | "5" | "6" | "7" | "8" | "9"]) => true,
        // Raw data, registrations, fiducials, surfaces; 66.4 are segmentations, which have pixels.
        Some(["66"] | ["66", "1" | "2" | "3" | "5"] | ["67"]) => true,
        _ => false,
    }
}

/// Whether the object is an enhanced image of CT, MR or PET, or one that was converted to it: its frames are slices.
pub(super) fn is_multi_frame(class: &str) -> bool {
    matches!(storage(class).as_deref(), Some(["2", "1" | "2"] | ["4", "1" | "4"] | ["130"] | ["128", "1"]))
}

/// Whether the object is a secondary capture, a segmentation, a dose grid or an image of a treatment: no slice of the
/// series that it is about.
pub(super) fn is_about_a_series(class: &str) -> bool {
    matches!(storage(class).as_deref(), Some(["7", ..] | ["66", "4"] | ["481", "1" | "2"]))
}

/// Whether the image type (of an image, or of a frame) says that it is a localizer.
pub(super) fn is_localizer(elements: &Elements<'_>, image_type: Tag) -> bool {
    (2..8).any(|n| matches!(elements.term(image_type, n), Some("LOCALIZER" | "SCOUT" | "SURVEY")))
}
