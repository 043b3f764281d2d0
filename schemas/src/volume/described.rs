//! What is known of volumes, read without their voxels.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float32Type, UInt32Type};

use super::{SliceDropped, VoxelCode, VoxelFormat, schema};
use crate::columns::Columns;
use crate::{Id, SchemaError};

/// What is known of a volume and its source, without its voxels: the fields of a [`VolumeRow`](super::VolumeRow).
#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    /// Key.
    pub volume_id: Id,
    /// As in [`VolumeRow`](super::VolumeRow).
    pub source_path: Option<String>,
    /// As in [`VolumeRow`](super::VolumeRow).
    pub case_id: Option<String>,
    /// As in [`VolumeRow`](super::VolumeRow).
    pub series: Option<String>,
    /// As in [`VolumeRow`](super::VolumeRow).
    pub plane: Option<String>,
    /// As in [`VolumeRow`](super::VolumeRow).
    pub orientation: Option<String>,
    /// As in [`VolumeRow`](super::VolumeRow).
    pub source_shape: [u32; 3],
    /// As in [`VolumeRow`](super::VolumeRow).
    pub crop_start: [u32; 3],
    /// As in [`VolumeRow`](super::VolumeRow).
    pub crop_stop: [u32; 3],
    /// As in [`VolumeRow`](super::VolumeRow).
    pub spacing_mm: Option<[f32; 3]>,
    /// As in [`VolumeRow`](super::VolumeRow).
    pub hu_known: bool,
    /// As in [`VolumeRow`](super::VolumeRow).
    pub value_min: f32,
    /// As in [`VolumeRow`](super::VolumeRow).
    pub value_max: f32,
    /// As in [`VolumeRow`](super::VolumeRow).
    pub slices_dropped: Vec<SliceDropped>,
    /// As in [`VolumeRow`](super::VolumeRow).
    pub notes: Vec<String>,
}

/// The columns of [`described_from_batch`].
pub const DESCRIBED: [&str; 15] = [
    "volume_id",
    "source_path",
    "case_id",
    "series",
    "plane",
    "orientation",
    "source_shape",
    "crop_start",
    "crop_stop",
    "spacing_mm",
    "hu_known",
    "value_min",
    "value_max",
    "slices_dropped",
    "notes",
];

/// What is known of each volume of a batch with at least the columns of [`DESCRIBED`].
///
/// # Errors
/// A column is missing or of another type.
pub fn described_from_batch(batch: &RecordBatch) -> Result<Vec<Described>, SchemaError> {
    // The fields of every format but for its voxels.
    let columns = Columns { batch, expected: schema(&VoxelFormat::unit_range([1; 3], VoxelCode::U8)) };
    (0..batch.num_rows()).map(|row| described(&columns, row)).collect()
}

pub(super) fn described(columns: &Columns<'_>, row: usize) -> Result<Described, SchemaError> {
    let triple = |name: &str| {
        let list = columns.get(name)?.as_list::<i32>().value(row);
        columns.triple(name, list.as_primitive::<UInt32Type>().values())
    };
    let float = |name: &str| Ok::<_, SchemaError>(columns.get(name)?.as_primitive::<Float32Type>().value(row));
    let dropped = columns.get("slices_dropped")?.as_list::<i32>().value(row);
    let (numbers, reasons) = (dropped.as_struct().column(0), dropped.as_struct().column(1));
    let slices = numbers.as_primitive::<UInt32Type>().values().iter().zip(reasons.as_string::<i32>());
    Ok(Described {
        volume_id: columns.id("volume_id", row)?,
        source_path: columns.maybe_text("source_path", row)?,
        case_id: columns.maybe_text("case_id", row)?,
        series: columns.maybe_text("series", row)?,
        plane: columns.maybe_text("plane", row)?,
        orientation: columns.maybe_text("orientation", row)?,
        source_shape: triple("source_shape")?,
        crop_start: triple("crop_start")?,
        crop_stop: triple("crop_stop")?,
        spacing_mm: spacing_of(columns, row)?,
        hu_known: columns.flag("hu_known", row)?,
        value_min: float("value_min")?,
        value_max: float("value_max")?,
        slices_dropped: slices
            .map(|(&slice, reason)| SliceDropped { slice, reason: reason.unwrap_or_default().to_owned() })
            .collect(),
        notes: columns.maybe_texts("notes", row)?.unwrap_or_default(),
    })
}

fn spacing_of(columns: &Columns<'_>, row: usize) -> Result<Option<[f32; 3]>, SchemaError> {
    let spacing = columns.get("spacing_mm")?;
    if spacing.is_null(row) {
        return Ok(None);
    }
    let list = spacing.as_list::<i32>().value(row);
    columns.triple("spacing_mm", list.as_primitive::<Float32Type>().values()).map(Some)
}
