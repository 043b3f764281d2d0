//! The manifest as parquet files that DataFusion's own scan reads: one row group a range, a few ranges a file.

use std::fs;
use std::path::Path;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use med2e3_feed::shard::{Layout, ShardWriter};

use crate::PrepareError;

/// Most ranges of one manifest file, and how many files there are at least where there are ranges enough: files are what
/// partitions are made of, so several to share among threads, not too many to open.
const RANGES_PER_FILE: usize = 16;

/// Writes the ranges' batches as `folder/00000.parquet` and so on, in place of what was there.
///
/// # Errors
/// The system refuses to write.
pub fn write_manifest(folder: &Path, schema: &SchemaRef, ranges: &[RecordBatch]) -> Result<(), PrepareError> {
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(PrepareError::io(folder, "remove"))?;
    }
    fs::create_dir_all(folder).map_err(PrepareError::io(folder, "create"))?;
    let per_file = ranges.len().div_ceil(RANGES_PER_FILE).clamp(1, RANGES_PER_FILE);
    for (number, ranges) in ranges.chunks(per_file).enumerate() {
        let name = format!("{number:05}.parquet");
        let mut writer = ShardWriter::create(&folder.join(&name), schema.clone(), Layout::Table)?;
        ranges.iter().try_for_each(|range| writer.write(range))?;
        writer.commit(&name, &[])?;
    }
    Ok(())
}
