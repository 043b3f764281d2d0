//! Reading a shard: whole columns, row group by row group, or one row's voxels by way of the offset index.

use std::cell::RefCell;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use med2e3_schemas::codec::VoxelCodec;
use med2e3_schemas::guarded::guarded;
use med2e3_schemas::index::ShardEntry;
use med2e3_schemas::outcome::{FOOTER_KEY, RangeOutcome};
use med2e3_store::PositionedFile;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, RowGroups, RowSelection, RowSelector,
};
use parquet::arrow::{ProjectionMask, parquet_to_arrow_field_levels};
use parquet::basic::{Compression, Type};
use parquet::column::page::PageIterator;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};

use crate::page_header::{Kind, PageHeader};
use crate::pages::{Budget, Column, OneColumn, refused, unfold, unfold_others};
use crate::write::{bytes_of_group, entry};
use crate::{ShardError, footer};

/// Rows of a batch at most.
const BATCH_ROWS: usize = 4096;

/// An open shard: its footer parsed once. It is read by copies, so that a shard that is cut short or removed meanwhile is an
/// error.
pub struct ShardReader {
    file: Arc<PositionedFile>,
    metadata: ArrowReaderMetadata,
    // First row of each row group, and the total at the end.
    group_starts: Vec<usize>,
    // Where each row's voxels are, by row group; none where a row's cell is no page of its own.
    voxels: Option<Voxels>,
}

/// The column of voxel cells, where each cell is a page.
struct Voxels {
    column: usize,
    cell_bytes: usize,
    pages: Vec<Option<Vec<(u64, u64)>>>,
}

impl ShardReader {
    /// Opens a shard and parses its footer and the offset index of its voxels.
    ///
    /// # Errors
    /// A file that can't be read, is not parquet, or states what no shard of its size can have.
    pub fn open(path: &Path) -> Result<ShardReader, ShardError> {
        ShardReader::of_file(Arc::new(PositionedFile::open(path)?))
    }

    /// The same of an open file.
    pub(crate) fn of_file(file: Arc<PositionedFile>) -> Result<ShardReader, ShardError> {
        checked(file.path(), || {
            let metadata = Arc::new(footer::read(&file)?);
            let mut group_starts = vec![0_usize];
            for group in metadata.row_groups() {
                // The footer's check bounds their sum.
                group_starts.push(group_starts[group_starts.len() - 1] + group.num_rows() as usize);
            }
            let voxels = Voxels::find(&file, &metadata);
            let metadata = ArrowReaderMetadata::try_new(metadata, ArrowReaderOptions::new())?;
            Ok(ShardReader { file: file.clone(), metadata, group_starts, voxels })
        })
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.group_starts[self.group_starts.len() - 1]
    }

    /// Size of the file.
    pub fn bytes(&self) -> u64 {
        self.file.bytes()
    }

    /// The Arrow schema with its metadata.
    pub fn schema(&self) -> &SchemaRef {
        self.metadata.schema()
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Device and number of the file: the same for every name of one file.
    pub fn number(&self) -> (u64, u64) {
        self.file.number()
    }

    /// Row groups.
    pub fn groups(&self) -> usize {
        self.group_starts.len() - 1
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
        entry(&self.file, relative, self.rows() as u64, self.metadata.metadata())
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
    /// Pages that can't be decoded, or that unfold to more than a file of this size holds.
    pub fn read(&self, columns: &[&str]) -> Result<Vec<RecordBatch>, ShardError> {
        let budget = Budget::of(self.bytes());
        let mut batches = Vec::new();
        for group in 0..self.groups() {
            checked(self.path(), || {
                for batch in self.batches(group, columns, BATCH_ROWS, None, &budget)? {
                    batches.push(batch.map_err(plain)?);
                }
                Ok(())
            })?;
        }
        Ok(batches)
    }

    /// The rows of one row group, in batches of at most `batch_rows` rows; every column when `columns` is empty.
    ///
    /// # Errors
    /// As [`ShardReader::read`]; the iterator too.
    pub fn read_group(
        &self,
        group: usize,
        columns: &[&str],
        batch_rows: usize,
    ) -> Result<impl Iterator<Item = Result<RecordBatch, ShardError>> + Send + use<>, ShardError> {
        let budget = Budget::of(self.bytes());
        let mut batches = checked(self.path(), || self.batches(group, columns, batch_rows, None, &budget))?;
        let path = self.path().to_owned();
        Ok(std::iter::from_fn(move || checked(&path, || batches.next().transpose().map_err(plain)).transpose()))
    }

    /// One row of the named columns.
    ///
    /// # Errors
    /// A row beyond the end, pages that can't be decoded.
    pub fn read_row(&self, row: usize, columns: &[&str]) -> Result<RecordBatch, ShardError> {
        let error = || ShardError::NoSuchRow { path: self.path().to_owned(), row, rows: self.rows() };
        let group = self.group_starts.partition_point(|&start| start <= row) - 1;
        if row >= self.rows() {
            return Err(error());
        }
        let skip = row - self.group_starts[group];
        let rows = RowSelection::from(vec![RowSelector::skip(skip), RowSelector::select(1)]);
        let budget = Budget::of(self.bytes());
        let first = || self.batches(group, columns, 1, Some(rows), &budget)?.next().transpose().map_err(plain);
        checked(self.path(), first)?.ok_or_else(error)
    }

    /// The named columns of rows, which are in ascending order and each there once, in batches of at most 4,096 rows; every column when `columns` is
    /// empty.
    ///
    /// # Errors
    /// As [`ShardReader::read_row`].
    ///
    /// # Panics
    /// Rows in another order, or one of them twice.
    pub fn read_rows(&self, rows: &[usize], columns: &[&str]) -> Result<Vec<RecordBatch>, ShardError> {
        if let Some(&row) = rows.last().filter(|row| **row >= self.rows()) {
            return Err(ShardError::NoSuchRow { path: self.path().to_owned(), row, rows: self.rows() });
        }
        let budget = Budget::of(self.bytes());
        let mut batches = Vec::new();
        for group in 0..self.groups() {
            let Range { start, end } = self.rows_of_group(group);
            let own = &rows[rows.partition_point(|row| *row < start)..rows.partition_point(|row| *row < end)];
            if own.is_empty() {
                continue;
            }
            let ranges = own.chunk_by(|row, next| row + 1 == *next);
            let ranges = ranges.map(|run| run[0] - start..run[run.len() - 1] + 1 - start);
            let selected = RowSelection::from_consecutive_ranges(ranges, end - start);
            checked(self.path(), || {
                for batch in self.batches(group, columns, BATCH_ROWS, Some(selected), &budget)? {
                    batches.push(batch.map_err(plain)?);
                }
                Ok(())
            })?;
        }
        Ok(batches)
    }

    /// Copies the voxel cell of a row to `cell`.
    ///
    /// # Errors
    /// As [`ShardReader::read_row`]; no voxels, or a cell of another size than `cell`.
    pub fn read_voxels(&self, row: usize, cell: &mut [u8]) -> Result<(), ShardError> {
        if let Some(voxels) = self.voxels.as_ref().filter(|voxels| voxels.cell_bytes == cell.len() && row < self.rows())
        {
            let group = self.group_starts.partition_point(|&start| start <= row) - 1;
            if let Some(pages) = &voxels.pages[group] {
                let page = pages[row - self.group_starts[group]];
                let column = self.metadata.metadata().row_group(group).column(voxels.column);
                return checked(self.path(), || self.unfold_cell(page, column.compression(), cell));
            }
        }
        let batch = self.read_row(row, &["voxels"])?;
        let column = batch.column_by_name("voxels");
        let cells = column.and_then(|column| column.as_fixed_size_binary_opt());
        let value = cells.map(|cells| cells.value(0)).filter(|value| value.len() == cell.len());
        let value = value.ok_or_else(|| ShardError::NoCells {
            path: self.path().to_owned(),
            expected: cell.len(),
            found: column.map_or("no column `voxels`".into(), |column| column.data_type().to_string()),
        })?;
        cell.copy_from_slice(value);
        Ok(())
    }

    /// Unfolds the one cell of a page to where it belongs.
    fn unfold_cell(&self, page: (u64, u64), compression: Compression, cell: &mut [u8]) -> ParquetResult<()> {
        thread_local! {
            // One buffer a reader: a fresh one would cost its pages each time.
            static STORED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        STORED.with_borrow_mut(|stored| {
            let (start, length) = page;
            self.file.read(start..start + length, stored).map_err(|error| ParquetError::External(error.into()))?;
            let bytes = cell.len();
            let words =
                || refused(format!("column voxels: expected the page of a cell of {bytes} bytes at byte {start}"));
            let (header, at) = PageHeader::parse(stored).ok_or_else(words)?;
            let is_cell = (header.kind, header.encoding, header.values, header.unfolded) == (Kind::Data, 0, 1, bytes);
            let contents = stored.get(at..).and_then(|rest| rest.get(..header.stored as usize));
            let contents = contents.filter(|_| is_cell).ok_or_else(words)?;
            let found = match compression {
                Compression::UNCOMPRESSED if contents.len() == bytes => {
                    cell.copy_from_slice(contents);
                    bytes
                }
                Compression::UNCOMPRESSED => contents.len(),
                Compression::ZSTD(_) => unfold(contents, cell)?,
                other => unfold_others(other, contents, cell)?,
            };
            if found == bytes { Ok(()) } else { Err(words()) }
        })
    }

    /// The file, for reads of places that are known.
    pub(crate) fn file(&self) -> &Arc<PositionedFile> {
        &self.file
    }

    /// The codec of the shard's cells of so many bytes.
    ///
    /// # Errors
    /// Cells of another size, or stored in another way than the writer does.
    pub(crate) fn codec(&self, cell_bytes: usize) -> Result<VoxelCodec, ShardError> {
        checked(self.path(), || {
            let voxels = self.voxels.as_ref().filter(|voxels| voxels.cell_bytes == cell_bytes);
            let words = || refused(format!("expected a column `voxels` of plain cells of {cell_bytes} bytes"));
            let column = voxels.ok_or_else(words)?.column;
            let groups = self.metadata.metadata().row_groups().iter();
            let mut codecs = groups.map(|group| match group.column(column).compression() {
                Compression::ZSTD(_) => Ok(VoxelCodec::Zstd1),
                Compression::LZ4_RAW => Ok(VoxelCodec::Lz4),
                Compression::UNCOMPRESSED => Ok(VoxelCodec::None),
                other => {
                    Err(refused(format!("column voxels: expected zstd, raw lz4 or no compression, found {other}")))
                }
            });
            let first = codecs.next().transpose()?.unwrap_or_default();
            match codecs.find(|codec| !matches!(codec, Ok(codec) if *codec == first)) {
                None => Ok(first),
                Some(Err(error)) => Err(error),
                Some(Ok(other)) => {
                    let (expected, found) = (first.as_str(), other.as_str());
                    Err(refused(format!("column voxels: expected codec {expected} in all row groups, found {found}")))
                }
            }
        })
    }

    /// Gives each row's cell, as it is stored, to `each`: the row, where its payload begins in the file, the payload. A page that is
    /// not as the writer makes it is refused: one plain value of `cell_bytes` bytes without levels, behind the page before it.
    ///
    /// # Errors
    /// Such a page; the system refuses to read.
    pub(crate) fn stored_cells(
        &self,
        cell_bytes: usize,
        mut each: impl FnMut(usize, u64, &[u8]),
    ) -> Result<(), ShardError> {
        let codec = self.codec(cell_bytes)?;
        let pages = self.voxels.as_ref().map_or(&[][..], |voxels| &voxels.pages);
        checked(self.path(), || {
            let (mut row, mut end, mut page) = (0, 0, Vec::new());
            for (group, pages) in pages.iter().enumerate() {
                let words = || refused(format!("column voxels: expected a page for each row of row group {group}"));
                for &(start, length) in pages.as_ref().ok_or_else(words)? {
                    let words = |found: String| {
                        refused(format!(
                            "column voxels: expected the page of row {row}, a plain cell of {cell_bytes} bytes, at byte {start}, found {found}"
                        ))
                    };
                    if start < end {
                        return Err(words(format!("a page that begins before byte {end}")));
                    }
                    end = start + length;
                    self.file.read(start..end, &mut page).map_err(|error| ParquetError::External(error.into()))?;
                    let (header, at) = PageHeader::parse(&page).ok_or_else(|| words("no such header".into()))?;
                    let found = (header.kind, header.encoding, header.values, header.unfolded);
                    let is_whole = at as u64 + header.stored == length
                        && (codec != VoxelCodec::None || header.stored == cell_bytes as u64);
                    if found != (Kind::Data, 0, 1, cell_bytes) || !is_whole {
                        let PageHeader { values, unfolded, stored, encoding, .. } = header;
                        return Err(words(format!(
                            "{values} values of {unfolded} bytes in encoding {encoding}, stored in {stored} of {length} bytes"
                        )));
                    }
                    each(row, start + at as u64, &page[at..]);
                    row += 1;
                }
            }
            Ok(())
        })
    }

    fn batches(
        &self,
        group: usize,
        columns: &[&str],
        batch_rows: usize,
        rows: Option<RowSelection>,
        budget: &Arc<Budget>,
    ) -> ParquetResult<ParquetRecordBatchReader> {
        let schema = self.metadata.parquet_schema();
        let mask = match columns {
            [] => ProjectionMask::all(),
            columns => ProjectionMask::columns(schema, columns.iter().copied()),
        };
        let levels = parquet_to_arrow_field_levels(schema, mask, Some(self.schema().fields()))?;
        let group = OneGroup { shard: self, group, budget };
        ParquetRecordBatchReader::try_new_with_row_groups(&levels, &group, batch_rows, rows)
    }
}

impl Voxels {
    fn find(file: &PositionedFile, metadata: &ParquetMetaData) -> Option<Voxels> {
        let schema = metadata.file_metadata().schema_descr();
        let column = (0..schema.num_columns()).find(|&column| schema.column(column).path().parts() == ["voxels"])?;
        let descriptor = schema.column(column);
        let is_plain = (descriptor.max_rep_level(), descriptor.max_def_level()) == (0, 0);
        if !is_plain || descriptor.physical_type() != Type::FIXED_LEN_BYTE_ARRAY {
            return None;
        }
        let pages = metadata.row_groups().iter().map(|group| {
            let pages = footer::page_locations(file, group.column(column))?;
            (pages.len() as u64 == group.num_rows() as u64).then_some(pages)
        });
        let cell_bytes = usize::try_from(descriptor.type_length()).ok()?;
        Some(Voxels { column, cell_bytes, pages: pages.collect() })
    }
}

/// One row group, as the reader of rows asks for its columns.
struct OneGroup<'a> {
    shard: &'a ShardReader,
    group: usize,
    budget: &'a Arc<Budget>,
}

impl OneGroup<'_> {
    fn group(&self) -> &RowGroupMetaData {
        self.metadata().row_group(self.group)
    }
}

impl RowGroups for OneGroup<'_> {
    fn num_rows(&self) -> usize {
        self.shard.rows_of_group(self.group).len()
    }

    fn column_chunks(&self, column: usize) -> ParquetResult<Box<dyn PageIterator>> {
        let column = Column::new(&self.shard.file, self.group().column(column), self.budget);
        Ok(Box::new(OneColumn(Some(column))))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(std::iter::once(self.group()))
    }

    fn metadata(&self) -> &ParquetMetaData {
        self.shard.metadata.metadata()
    }
}

/// The words of an error of a page, which comes by way of the reader of rows.
fn plain(error: ArrowError) -> ParquetError {
    match error {
        ArrowError::ParquetError(words) => refused(words.trim_start_matches("Parquet error: ").to_owned()),
        other => other.into(),
    }
}

/// What the parquet reader gives. Its panics, which some damaged pages cause, become errors.
fn checked<T>(path: &Path, read: impl FnOnce() -> ParquetResult<T>) -> Result<T, ShardError> {
    let result =
        guarded(read).unwrap_or_else(|words| Err(refused(format!("damage that the reader does not expect: {words}"))));
    result.map_err(ShardError::parquet(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PageLayout, ShardWriter};
    use med2e3_schemas::Id;
    use med2e3_schemas::codec::VoxelCodec;
    use med2e3_schemas::volume::{self, VolumeRow, VoxelCode, VoxelFormat};

    fn rows(count: usize, format: &VoxelFormat) -> Vec<VolumeRow> {
        (0..count)
            .map(|i| VolumeRow::of_cell(Id::of_volume(&i.to_string()), vec![i as u8; format.cell_bytes()]))
            .collect()
    }

    fn write(path: &Path, outcome: &RangeOutcome) -> ShardEntry {
        let format = VoxelFormat::unit_range([4, 8, 8], VoxelCode::U8);
        let mut writer =
            ShardWriter::create(path, volume::schema(&format), PageLayout::Volumes(VoxelCodec::Zstd1)).unwrap();
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
        let create =
            || ShardWriter::create(&path, volume::schema(&format), PageLayout::Volumes(VoxelCodec::Zstd1)).unwrap();
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
