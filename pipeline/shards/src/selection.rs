//! Selections of a dataset's samples, and their identity.

use med2e3_schemas::Id;
use med2e3_schemas::sample::{SampleRow, Split, Task};

/// Which samples to feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Part of the study.
    pub split: Split,
    /// Kinds of pair.
    pub tasks: Vec<Task>,
    /// Name of a subset stored by `med2e3-data sample`; `None` for all.
    pub subset: Option<String>,
}

/// The selected samples, sorted by id, and what was left out.
pub struct Samples {
    /// Rows sorted by sample id.
    pub rows: Vec<SampleRow>,
    /// Rows of the selection whose volume is not in the dataset.
    pub without_volume: u64,
    /// Identity of the selection, which seeds its order.
    pub hash: [u8; 32],
}

/// Hash of a selection: blake3 over its sample ids, which must be sorted.
pub(crate) fn selection_hash(sorted_ids: impl Iterator<Item = Id>) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    sorted_ids.for_each(|id| {
        hasher.update(&id.0);
    });
    *hasher.finalize().as_bytes()
}
