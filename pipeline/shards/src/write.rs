//! Writing a shard: one call a row group, then the commit that makes the file appear.

use std::fs::File;
use std::ops::Range;
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use med2e3_schemas::codec::VoxelCodec;
use med2e3_schemas::index::ShardEntry;
use med2e3_store::{FileError, PositionedFile, WholeFile};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::{KeyValue, ParquetMetaData, RowGroupMetaData};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use xxhash_rust::xxh3::Xxh3;

use crate::ShardError;

/// What a shard holds, which decides how its pages are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageLayout {
    /// Rows with a voxel cell: one row a page, so that one volume is one read; no dictionary or statistics on it. The codec is
    /// the cells'; every other column is compressed by zstd.
    Volumes(VoxelCodec),
    /// Rows of text and ids.
    Samples,
    /// Small tables: manifest, quarantine, subsets.
    Table,
}

impl PageLayout {
    /// Rows of one row group: as many cells as stay within 64 MiB, or a fixed number of text rows.
    pub fn rows_per_group(self, cell_bytes: usize) -> usize {
        match self {
            PageLayout::Volumes(_) => ((64 << 20) / cell_bytes.max(1)).max(1),
            PageLayout::Samples | PageLayout::Table => 4096,
        }
    }

    fn properties(self) -> WriterProperties {
        let base = WriterProperties::builder()
            .set_compression(compression(VoxelCodec::Zstd1))
            .set_created_by(concat!("med2e3 ", env!("CARGO_PKG_VERSION")).to_owned());
        match self {
            PageLayout::Samples | PageLayout::Table => base.build(),
            PageLayout::Volumes(codec) => {
                let voxels = ColumnPath::from("voxels");
                base.set_column_compression(voxels.clone(), compression(codec))
                    .set_data_page_row_count_limit(1)
                    .set_write_batch_size(1)
                    .set_column_dictionary_enabled(voxels.clone(), false)
                    .set_column_statistics_enabled(voxels, EnabledStatistics::None)
                    .build()
            }
        }
    }
}

/// The codec as parquet names it.
fn compression(codec: VoxelCodec) -> Compression {
    match codec {
        VoxelCodec::Zstd1 => Compression::ZSTD(ZstdLevel::try_new(1).expect("1 is a zstd level")),
        VoxelCodec::Lz4 => Compression::LZ4_RAW,
        VoxelCodec::None => Compression::UNCOMPRESSED,
    }
}

/// A shard that is being written under a temporary name. Dropped without [`ShardWriter::commit`], it leaves nothing.
pub struct ShardWriter {
    writer: ArrowWriter<File>,
    file: WholeFile,
    rows: u64,
}

impl ShardWriter {
    /// Starts a shard that will appear at `path`.
    ///
    /// # Errors
    /// A file that can't be created, a schema that parquet can't hold.
    pub fn create(path: &Path, schema: SchemaRef, layout: PageLayout) -> Result<ShardWriter, ShardError> {
        let file = WholeFile::create(path)?;
        let handle = file.file().try_clone().map_err(FileError::of(path, "open"))?;
        let writer =
            ArrowWriter::try_new(handle, schema, Some(layout.properties())).map_err(ShardError::parquet(path))?;
        Ok(ShardWriter { writer, file, rows: 0 })
    }

    /// Writes one batch as one row group.
    ///
    /// # Errors
    /// The system refuses the write.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), ShardError> {
        self.rows += batch.num_rows() as u64;
        let result = self.writer.write(batch).and_then(|()| self.writer.flush());
        result.map_err(ShardError::parquet(self.file.path()))
    }

    /// Puts key and value texts into the footer and ends the file, which still has its temporary name.
    ///
    /// `relative` is the path that the index will state.
    ///
    /// # Errors
    /// The system refuses to write.
    pub fn finish(mut self, relative: &str, footer: &[(&str, String)]) -> Result<FinishedShard, ShardError> {
        for (key, value) in footer {
            self.writer.append_key_value_metadata(KeyValue::new((*key).to_owned(), value.clone()));
        }
        let metadata = self.writer.close().map_err(ShardError::parquet(self.file.path()))?;
        let entry = entry(&PositionedFile::open(self.file.temporary())?, relative, self.rows, &metadata)?;
        Ok(FinishedShard { file: self.file, entry })
    }

    /// [`ShardWriter::finish`] and [`FinishedShard::publish`] in one.
    ///
    /// # Errors
    /// The system refuses to write, sync or rename.
    pub fn commit(self, relative: &str, footer: &[(&str, String)]) -> Result<ShardEntry, ShardError> {
        self.finish(relative, footer)?.publish()
    }
}

/// A shard that is whole but still has its temporary name.
pub struct FinishedShard {
    file: WholeFile,
    entry: ShardEntry,
}

impl FinishedShard {
    /// What the index should say of it.
    pub fn entry(&self) -> &ShardEntry {
        &self.entry
    }

    /// Makes the file appear under its name, durably.
    ///
    /// # Errors
    /// The system refuses to sync or rename.
    pub fn publish(self) -> Result<ShardEntry, ShardError> {
        self.file.publish()?;
        Ok(self.entry)
    }
}

/// What the index says of a shard.
pub(crate) fn entry(
    file: &PositionedFile,
    relative: &str,
    rows: u64,
    metadata: &ParquetMetaData,
) -> Result<ShardEntry, ShardError> {
    let mut buffer = Vec::new();
    let mut hash = |hasher: &mut Xxh3, range: Range<u64>| {
        hash_range(file, range, hasher, &mut buffer).map_err(|error| match error {
            FileError::Range { path, range, bytes } => ShardError::Cut { path, expected: range.end, found: bytes },
            other => other.into(),
        })
    };
    let groups: Vec<_> = metadata.row_groups().iter().map(bytes_of_group).collect();
    let mut row_groups_xxh3 = Vec::with_capacity(groups.len());
    for range in &groups {
        let mut hasher = Xxh3::new();
        hash(&mut hasher, range.clone())?;
        row_groups_xxh3.push(format!("{:016x}", hasher.digest()));
    }
    // The bytes before, between and after the groups.
    let mut rest = Xxh3::new();
    let mut end = 0;
    for range in groups.iter().filter(|range| !range.is_empty()) {
        hash(&mut rest, end..range.start.max(end))?;
        end = range.end;
    }
    hash(&mut rest, end..file.bytes().max(end))?;
    let rest_xxh3 = format!("{:016x}", rest.digest());
    Ok(ShardEntry { path: relative.to_owned(), rows, bytes: file.bytes(), row_groups_xxh3, rest_xxh3 })
}

/// Bytes that are hashed at a time.
const HASHED_BYTES: u64 = 1 << 20;

/// Adds a range of a file to a hash.
pub(crate) fn hash_range(
    file: &PositionedFile,
    range: Range<u64>,
    hasher: &mut Xxh3,
    buffer: &mut Vec<u8>,
) -> Result<(), FileError> {
    let mut start = range.start;
    while start < range.end {
        let end = range.end.min(start + HASHED_BYTES);
        file.read(start..end, buffer)?;
        hasher.update(buffer);
        start = end;
    }
    Ok(())
}

/// The bytes of its file that a row group's pages take.
pub(crate) fn bytes_of_group(group: &RowGroupMetaData) -> Range<u64> {
    let ranges = group.columns().iter().map(|column| column.byte_range());
    let (start, end) = ranges
        .fold((u64::MAX, 0), |(start, end), (from, length)| (start.min(from), end.max(from.saturating_add(length))));
    start.min(end)..end
}
