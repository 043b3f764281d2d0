//! Selections of a dataset's samples, and their identity.

use std::sync::Arc;

use med2e3_schemas::Id;
use med2e3_schemas::sample::{SampleRow, Split, Task};

use crate::{ShardError, Text, Texts};

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

/// Samples to be fed: rows of a table that all processes of a machine share, in their order, and what was left out. Of a dataset's
/// selection they are sorted by id.
#[derive(Clone, Debug)]
pub struct Samples {
    texts: Arc<Texts>,
    rows: Vec<u32>,
    /// Rows of the selection whose volume is not in the dataset.
    pub without_volume: u64,
    /// Identity of the selection, which seeds its order.
    pub hash: [u8; 32],
}

impl Samples {
    /// What [`Samples::volume_count`] counts at most.
    pub const MANY_VOLUMES: usize = Texts::MANY_VOLUMES;

    /// Rows of texts, by their numbers.
    pub(crate) fn new(texts: Arc<Texts>, rows: Vec<u32>, without_volume: u64) -> Samples {
        let hash = selection_hash(rows.iter().map(|row| texts.id(*row as usize)));
        Samples { texts, rows, without_volume, hash }
    }

    /// Rows in memory as samples to be fed, in their order; the same one may be there several times.
    pub fn of_rows(rows: &[SampleRow]) -> Samples {
        Samples::new(Arc::new(Texts::of_rows(rows)), (0..).zip(rows).map(|(at, _)| at).collect(), 0)
    }

    /// Those at these positions, in this order, as samples of their own.
    ///
    /// # Panics
    /// A position beyond the last one.
    pub fn picked(&self, positions: impl IntoIterator<Item = usize>) -> Samples {
        let rows = positions.into_iter().map(|position| self.rows[position]).collect();
        Samples::new(self.texts.clone(), rows, self.without_volume)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The text at a position.
    ///
    /// # Errors
    /// Contents that are not as they were written.
    ///
    /// # Panics
    /// A position beyond the last one; so do the others.
    pub fn text(&self, position: usize) -> Result<Text<'_>, ShardError> {
        self.texts.at(self.row(position))
    }

    /// All texts, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Result<Text<'_>, ShardError>> + Clone {
        self.rows.iter().map(|row| self.texts.at(*row as usize))
    }

    /// The key at a position. This and what follows looks at the table alone.
    ///
    /// # Panics
    /// As [`Samples::text`].
    pub fn id(&self, position: usize) -> Id {
        self.texts.id(self.row(position))
    }

    /// The kind of pair.
    ///
    /// # Panics
    /// As [`Samples::text`].
    pub fn task(&self, position: usize) -> Task {
        self.texts.task(self.row(position))
    }

    /// A number of the text's first volume, by which volumes are sorted as by their keys; `None` where it shows none.
    ///
    /// # Panics
    /// As [`Samples::text`].
    pub fn first_volume(&self, position: usize) -> Option<u32> {
        self.texts.first_volume(self.row(position))
    }

    /// How many volumes the text shows; [`Samples::MANY_VOLUMES`] stands for that or more.
    ///
    /// # Panics
    /// As [`Samples::text`].
    pub fn volume_count(&self, position: usize) -> usize {
        self.texts.volume_count(self.row(position))
    }

    /// How many token ids the whole pair has.
    ///
    /// # Panics
    /// As [`Samples::text`].
    pub fn ids_len(&self, position: usize) -> usize {
        self.texts.ids_len(self.row(position))
    }

    fn row(&self, position: usize) -> usize {
        self.rows[position] as usize
    }
}

/// Samples with everything that their rows hold, strings too, in memory: for what answers and reports.
#[derive(Clone, Debug)]
pub struct SampleRows {
    /// The rows; of a dataset's selection they are sorted by sample id.
    pub rows: Vec<SampleRow>,
    /// Rows of the selection whose volume is not in the dataset.
    pub without_volume: u64,
    /// Identity of the selection.
    pub hash: [u8; 32],
}

impl SampleRows {
    /// The same to be fed.
    pub fn samples(&self) -> Samples {
        let SampleRows { rows, without_volume, hash } = self;
        Samples { without_volume: *without_volume, hash: *hash, ..Samples::of_rows(rows) }
    }
}

/// Hash of a selection: blake3 over its sample ids, which must be sorted.
pub(crate) fn selection_hash(sorted_ids: impl Iterator<Item = Id>) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    sorted_ids.for_each(|id| {
        hasher.update(&id.0);
    });
    *hasher.finalize().as_bytes()
}
