//! One row of a dataset for a person: its fields as text, its slices as one picture.

use std::path::Path;

use arrow::util::display::{ArrayFormatter, FormatOptions};
use image::GrayImage;
use med2e3_input::slices::AxialSlices;
use med2e3_schemas::Id;
use med2e3_schemas::sample::{self, SampleRow};
use med2e3_schemas::volume::{self, VoxelFormat};
use med2e3_shards::Dataset;
use med2e3_shards::codes::decode;

use crate::PrepareError;

/// Columns of the picture: 32 slices make four rows.
const COLUMNS: usize = 8;

/// Which row to show.
#[derive(Clone, Copy, Debug)]
pub enum Which {
    /// A volume by its id.
    Volume(Id),
    /// A sample by its id, with its volume.
    Sample(Id),
    /// The n-th volume of the dataset.
    Row(u64),
}

/// A row as text, and the volume that it shows.
#[derive(Debug)]
pub struct Inspection {
    /// Field names and values in order.
    pub fields: Vec<(String, String)>,
    /// The volume.
    pub volume_id: Id,
}

/// Looks a row up.
///
/// # Errors
/// A row that is not in the dataset, a shard that can't be read.
pub fn inspect(dataset: &Dataset, which: Which) -> Result<Inspection, PrepareError> {
    match which {
        Which::Volume(id) => Ok(Inspection { fields: volume_fields(dataset, id)?, volume_id: id }),
        Which::Row(row) => {
            let id = nth_volume(dataset, row)?;
            Ok(Inspection { fields: volume_fields(dataset, id)?, volume_id: id })
        }
        Which::Sample(id) => {
            let row = find_sample(dataset, id)?;
            let volume_id = *row.volume_ids.first().ok_or_else(|| missing("volume of sample", &id.to_string()))?;
            let mut fields = sample_fields(&row);
            fields.extend(volume_fields(dataset, volume_id)?);
            Ok(Inspection { fields, volume_id })
        }
    }
}

/// Writes a volume's slices, in order from left to right and top to bottom, as one grey PNG.
///
/// # Errors
/// A volume that is not in the dataset, a file that can't be written.
pub fn write_montage(dataset: &Dataset, volume: Id, path: &Path) -> Result<(), PrepareError> {
    let format = dataset.voxels();
    let mut cell = vec![0; format.cell_bytes()];
    dataset.read_voxels(volume, &mut cell)?;
    let grey: Vec<u8> = decode(&cell, format).into_iter().map(|value| grey_of(value, format)).collect();
    let slices = AxialSlices::new(&grey, format.shape_dhw).expect("a cell has the format's voxels");
    let montage = slices.montage(0..slices.len(), COLUMNS);
    let [height, width] = montage.shape_hw.map(|n| n as u32);
    let picture = GrayImage::from_raw(width, height, montage.pixels).expect("a montage has height x width pixels");
    picture.save(path).map_err(|error| PrepareError::file(path, "write")(std::io::Error::other(error)))
}

/// A value as a grey level; Hounsfield units are shown from -1000 to 1000.
pub(super) fn grey_of(value: f32, format: &VoxelFormat) -> u8 {
    let unit = if format.is_unit_range() { value } else { (value + 1000.0) / 2000.0 };
    (unit * 255.0).round() as u8
}

fn missing(what: &str, name: &str) -> PrepareError {
    PrepareError::Request { what: format!("{what} {name}"), problem: "the dataset has none".into() }
}

fn volume_fields(dataset: &Dataset, id: Id) -> Result<Vec<(String, String)>, PrepareError> {
    if !dataset.has(id) {
        return Err(missing("volume", &id.to_string()));
    }
    let (shard, row) = dataset.location(id)?;
    let schema = shard.schema();
    let names: Vec<&str> =
        schema.fields().iter().map(|field| field.name().as_str()).filter(|n| *n != "voxels").collect();
    let batch = shard.read_row(row, &names)?;
    let options = FormatOptions::default().with_null("-");
    let mut fields = vec![("shard".to_owned(), format!("{} row {row}", shard.path().display()))];
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let text = ArrayFormatter::try_new(column, &options)?;
        fields.push((field.name().clone(), text.value(0).to_string()));
    }
    let voxels = dataset.voxels();
    fields.push(("voxels".into(), format!("{:?} {}", voxels.shape_dhw, voxels.code.as_str())));
    Ok(fields)
}

fn nth_volume(dataset: &Dataset, row: u64) -> Result<Id, PrepareError> {
    let mut before = 0;
    for shard in dataset.volume_shards() {
        let shard = shard?;
        if row < before + shard.rows() as u64 {
            let batch = shard.read_row((row - before) as usize, &volume::IDS)?;
            return Ok(volume::ids_from_batch(&batch)?[0]);
        }
        before += shard.rows() as u64;
    }
    Err(PrepareError::Request { what: format!("row {row}"), problem: format!("the dataset has {before} volumes") })
}

fn find_sample(dataset: &Dataset, id: Id) -> Result<SampleRow, PrepareError> {
    for shard in dataset.sample_shards() {
        let shard = shard?;
        for batch in shard.read(&[])? {
            if let Some(row) = sample::from_batch(&batch)?.into_iter().find(|row| row.sample_id == id) {
                return Ok(row);
            }
        }
    }
    Err(missing("sample", &id.to_string()))
}

fn sample_fields(row: &SampleRow) -> Vec<(String, String)> {
    let field = |name: &str, value: String| (name.to_owned(), value);
    vec![
        field("sample_id", row.sample_id.to_string()),
        field("task", row.task.to_string()),
        field("topic", row.topic.map_or("-".into(), |topic| topic.to_string())),
        field("split", row.split.to_string()),
        field("question", row.question.clone()),
        field("answer", row.answer.clone()),
        field("ids", format!("{:?}", row.ids)),
        field("target_spans", format!("{:?}", row.target_spans)),
    ]
}
