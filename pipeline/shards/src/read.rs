//! Reading a shard: whole columns, or one row's voxels by way of the offset index.

use std::ops::Range;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use med2e3_schemas::index::ShardEntry;
use med2e3_schemas::outcome::{FOOTER_KEY, RangeOutcome};
use med2e3_store::MappedFile;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::PageIndexPolicy;

use crate::ShardError;
use crate::write::{bytes_of_group, entry};

/// An open shard: its bytes mapped, its footer parsed once.
pub struct ShardReader {
    bytes: Bytes,
    metadata: ArrowReaderMetadata,
    // First row of each row group, and the total at the end.
    group_starts: Vec<usize>,
    path: PathBuf,
}

impl ShardReader {
    /// Opens a shard and parses its footer and offset index.
    ///
    /// # Errors
    /// A file that can't be mapped or is not parquet.
    pub fn open(path: &Path) -> Result<ShardReader, ShardError> {
        let bytes = Bytes::from_owner(MappedFile::open(path)?);
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
        guarded(path, || {
            let metadata = ArrowReaderMetadata::load(&bytes, options)?;
            let mut group_starts = vec![0_usize];
            for group in metadata.metadata().row_groups() {
                let rows = usize::try_from(group.num_rows()).ok();
                let end = rows.and_then(|rows| group_starts[group_starts.len() - 1].checked_add(rows));
                group_starts.push(end.ok_or_else(|| ParquetError::General("an impossible number of rows".into()))?);
                // Panics where its pages are not at a possible offset.
                bytes_of_group(group);
            }
            Ok(ShardReader { bytes, metadata, group_starts, path: path.to_owned() })
        })
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.group_starts[self.group_starts.len() - 1]
    }

    /// Size of the file.
    pub fn bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The Arrow schema with its metadata.
    pub fn schema(&self) -> &SchemaRef {
        self.metadata.schema()
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The bytes of the file that a row group's pages take.
    pub fn bytes_of_group(&self, group: usize) -> Range<u64> {
        bytes_of_group(self.metadata.metadata().row_group(group))
    }

    /// The numbers of the rows in a row group.
    pub fn rows_of_group(&self, group: usize) -> Range<usize> {
        self.group_starts[group]..self.group_starts[group + 1]
    }

    /// What the index should say of this file.
    ///
    /// # Errors
    /// A file shorter than its own footer says.
    pub fn entry(&self, relative: &str) -> Result<ShardEntry, ShardError> {
        entry(&MappedFile::open(&self.path)?, relative, self.rows() as u64, self.metadata.metadata())
    }

    /// The text that the footer holds under a key.
    pub fn footer(&self, key: &str) -> Option<&str> {
        let pairs = self.metadata.metadata().file_metadata().key_value_metadata()?;
        pairs.iter().find(|pair| pair.key == key)?.value.as_deref()
    }

    /// What became of the range that this shard was made from; `None` for a file that does not state it.
    pub fn outcome(&self) -> Option<RangeOutcome> {
        serde_json::from_str(self.footer(FOOTER_KEY)?).ok()
    }

    /// Every row of the named columns, in batches of at most 4,096 rows; every column when `columns` is empty.
    ///
    /// # Errors
    /// Pages that can't be decoded.
    pub fn read(&self, columns: &[&str]) -> Result<Vec<RecordBatch>, ShardError> {
        guarded(&self.path, || {
            let reader = self.builder(columns).with_batch_size(4096).build()?;
            Ok(reader.collect::<Result<_, _>>()?)
        })
    }

    /// One row of the named columns.
    ///
    /// # Errors
    /// A row beyond the end, pages that can't be decoded.
    pub fn read_row(&self, row: usize, columns: &[&str]) -> Result<RecordBatch, ShardError> {
        let error = || ShardError::NoSuchRow { path: self.path.clone(), row, rows: self.rows() };
        let group = self.group_starts.partition_point(|&start| start <= row) - 1;
        if row >= self.rows() {
            return Err(error());
        }
        let skip = row - self.group_starts[group];
        let batch = guarded(&self.path, || {
            let rows = RowSelection::from(vec![RowSelector::skip(skip), RowSelector::select(1)]);
            let builder = self.builder(columns).with_row_groups(vec![group]).with_row_selection(rows);
            Ok(builder.with_batch_size(1).build()?.next().transpose()?)
        })?;
        batch.ok_or_else(error)
    }

    /// Copies the voxel cell of a row to `cell`.
    ///
    /// # Errors
    /// As [`ShardReader::read_row`]; no voxels, or a cell of another size than `cell`.
    pub fn read_voxels(&self, row: usize, cell: &mut [u8]) -> Result<(), ShardError> {
        let batch = self.read_row(row, &["voxels"])?;
        let column = batch.column_by_name("voxels");
        let cells = column.and_then(|column| column.as_fixed_size_binary_opt());
        let value = cells.map(|cells| cells.value(0)).filter(|value| value.len() == cell.len());
        let value = value.ok_or_else(|| ShardError::NoCells {
            path: self.path.clone(),
            expected: cell.len(),
            found: column.map_or("no column `voxels`".into(), |column| column.data_type().to_string()),
        })?;
        cell.copy_from_slice(value);
        Ok(())
    }

    fn builder(&self, columns: &[&str]) -> ParquetRecordBatchReaderBuilder<Bytes> {
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(self.bytes.clone(), self.metadata.clone());
        if columns.is_empty() {
            return builder;
        }
        let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
        builder.with_projection(mask)
    }
}

/// What the parquet reader gives. Its panics, which some damaged footers and pages cause, become errors.
fn guarded<T>(path: &Path, read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, ShardError> {
    // After a panic nothing that the call may have changed is used.
    let result = panic::catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        let words = words.unwrap_or("no message");
        Err(ParquetError::General(format!("damage that the reader does not expect: {words}")))
    });
    result.map_err(ShardError::parquet(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PageLayout, ShardWriter};
    use med2e3_schemas::Id;
    use med2e3_schemas::volume::{self, VolumeRow, VoxelCode, VoxelFormat};

    fn rows(count: usize, format: &VoxelFormat) -> Vec<VolumeRow> {
        (0..count)
            .map(|i| VolumeRow {
                volume_id: Id::of_volume(&i.to_string()),
                voxels: vec![i as u8; format.cell_bytes()],
                source_path: None,
                content_hash: [0; 32],
                perceptual_hash: [0; 64],
                case_id: None,
                series: None,
                plane: None,
                orientation: None,
                source_shape: [1; 3],
                crop_start: [0; 3],
                crop_stop: [1; 3],
                spacing_mm: None,
                hu_known: false,
                value_min: 0.0,
                value_max: 1.0,
                slices_dropped: vec![],
                notes: vec![],
            })
            .collect()
    }

    fn write(path: &Path, outcome: &RangeOutcome) -> ShardEntry {
        let format = VoxelFormat::unit_range([4, 8, 8], VoxelCode::U8);
        let mut writer = ShardWriter::create(path, volume::schema(&format), PageLayout::Volumes).unwrap();
        for group in rows(7, &format).chunks(3) {
            writer.write(&volume::to_batch(group, &format)).unwrap();
        }
        writer.commit("volumes/00000.parquet", &[(FOOTER_KEY, serde_json::to_string(outcome).unwrap())]).unwrap()
    }

    #[test]
    fn a_row_is_read_by_its_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("00000.parquet");
        let outcome = RangeOutcome { rows: 7, range_hash: "ab".into(), ..RangeOutcome::default() };
        let written = write(&path, &outcome);
        let reader = ShardReader::open(&path).unwrap();
        assert_eq!((reader.rows(), written.row_groups_xxh3.len()), (7, 3));
        assert_eq!(reader.entry("volumes/00000.parquet").unwrap(), written);
        assert_eq!(reader.outcome().unwrap(), outcome);
        let mut cell = vec![0; 256];
        for row in 0..7 {
            reader.read_voxels(row, &mut cell).unwrap();
            assert!(cell.iter().all(|&byte| usize::from(byte) == row));
        }
        assert!(matches!(reader.read_voxels(7, &mut cell), Err(ShardError::NoSuchRow { .. })));
        // No temporary file is left.
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_shard_without_voxels_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("00000.parquet");
        let names = std::sync::Arc::new(arrow::array::StringArray::from(vec!["a"]));
        let batch = RecordBatch::try_from_iter([("name", names as arrow::array::ArrayRef)]).unwrap();
        let mut writer = ShardWriter::create(&path, batch.schema(), PageLayout::Table).unwrap();
        writer.write(&batch).unwrap();
        writer.commit("00000.parquet", &[]).unwrap();
        let error = ShardReader::open(&path).unwrap().read_voxels(0, &mut [0; 4]).unwrap_err().to_string();
        assert!(error.contains("found no column `voxels`"), "{error}");
    }

    #[test]
    fn the_same_rows_make_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let outcome = RangeOutcome::default();
        let bytes: Vec<Vec<u8>> = (0..8)
            .map(|i| {
                let path = folder.path().join(format!("{i}.parquet"));
                write(&path, &outcome);
                std::fs::read(path).unwrap()
            })
            .collect();
        assert!(bytes.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn two_writers_at_one_range_publish_whole_shards() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("00000.parquet");
        let format = VoxelFormat::unit_range([4, 8, 8], VoxelCode::U8);
        let create = || ShardWriter::create(&path, volume::schema(&format), PageLayout::Volumes).unwrap();
        let (mut slow, mut fast) = (create(), create());
        let rows = rows(6, &format);
        slow.write(&volume::to_batch(&rows[..3], &format)).unwrap();
        fast.write(&volume::to_batch(&rows, &format)).unwrap();
        let fast = fast.commit("volumes/00000.parquet", &[]).unwrap();
        assert_eq!(ShardReader::open(&path).unwrap().entry("volumes/00000.parquet").unwrap(), fast);
        slow.write(&volume::to_batch(&rows[3..], &format)).unwrap();
        let slow = slow.commit("volumes/00000.parquet", &[]).unwrap();
        assert_eq!(ShardReader::open(&path).unwrap().entry("volumes/00000.parquet").unwrap(), slow);
    }

    #[test]
    fn a_cut_file_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.parquet");
        write(&path, &RangeOutcome::default());
        let bytes = std::fs::read(&path).unwrap();
        for keep in [0, 4, bytes.len() / 2, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..keep]).unwrap();
            let error = ShardReader::open(&path).err().map(|e| e.to_string()).unwrap_or_default();
            assert!(error.contains("x.parquet"), "{keep}: {error}");
        }
    }
}
