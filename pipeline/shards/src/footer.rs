//! A shard's footer: what it states is checked before the parquet crate or any allocation follows it.

use med2e3_schemas::guarded::guarded;
use med2e3_store::PositionedFile;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};

use crate::pages::{Budget, is_known, refused};
use crate::thrift::{Compact, kind};

/// The first and the last bytes of a parquet file.
const MAGIC: &[u8] = b"PAR1";

/// Bytes of a footer at most: that of 128 volumes has 50 KB, the reasons of a whole range of rejects 2 MB.
const MAX_FOOTER_BYTES: u64 = 1 << 26;

/// Nodes of a schema, and nodes above one, at most: a shard has 30, in lists of structs.
const MAX_NODES: u64 = 1 << 10;
const MAX_LEVELS: usize = 16;

/// Reads the footer.
pub(crate) fn read(file: &PositionedFile) -> Result<ParquetMetaData> {
    let mut buffer = Vec::new();
    let mut bytes = |range: std::ops::Range<u64>| -> Result<Vec<u8>> {
        file.read(range, &mut buffer).map_err(|error| ParquetError::External(error.into()))?;
        Ok(std::mem::take(&mut buffer))
    };
    let size = file.bytes();
    if size < 12 {
        return Err(refused(format!("expected a parquet file, found {size} bytes")));
    }
    let (start, end) = (bytes(0..4)?, bytes(size - 8..size)?);
    if start != MAGIC || &end[4..] != MAGIC {
        return Err(refused("expected a parquet file, which begins and ends with PAR1".into()));
    }
    let length = u64::from(u32::from_le_bytes([end[0], end[1], end[2], end[3]]));
    let most = MAX_FOOTER_BYTES.min(size - 12);
    if length > most {
        return Err(refused(format!("expected a footer of at most {most} bytes, found {length}")));
    }
    let footer = bytes(size - 8 - length..size - 8)?;
    check_schema(&footer).ok_or_else(|| refused("a footer without a schema that a shard could have".into()))?;
    let decoded = guarded(|| ParquetMetaDataReader::decode_metadata(&footer));
    let metadata = decoded.map_err(|words| refused(format!("damage that the reader does not expect: {words}")))??;
    let columns = metadata.file_metadata().schema_descr().num_columns();
    let (mut rows, mut stored) = (0u64, 0u64);
    for (number, group) in metadata.row_groups().iter().enumerate() {
        let problem = |words: String| refused(format!("row group {number}: {words}"));
        if group.columns().len() != columns {
            return Err(problem(format!("expected {columns} columns, found {}", group.columns().len())));
        }
        let found = u64::try_from(group.num_rows()).ok().and_then(|found| rows.checked_add(found));
        rows = found.ok_or_else(|| problem(format!("{} rows", group.num_rows())))?;
        for column in group.columns() {
            let words = |words: String| problem(format!("column {}: {words}", column.column_path().string()));
            let length = check_column(group, column, size - 8 - length).map_err(words)?;
            stored = stored.saturating_add(length);
        }
    }
    // Columns that share bytes would let a few of them stand for many.
    if stored > size {
        return Err(refused(format!("columns of {stored} bytes in a file of {size}")));
    }
    // Each row has a value in each column.
    Budget::of(size).take(rows.saturating_mul(8 * columns as u64))?;
    Ok(metadata)
}

/// Gives the bytes of a column in the file, whose contents end at `end`.
fn check_column(group: &RowGroupMetaData, column: &ColumnChunkMetaData, end: u64) -> std::result::Result<u64, String> {
    if !is_known(column.compression()) {
        return Err(format!("expected zstd, snappy, gzip, raw lz4 or no compression, found {}", column.compression()));
    }
    if column.num_values() < group.num_rows() {
        return Err(format!("{} values in {} rows", column.num_values(), group.num_rows()));
    }
    let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
    let range = u64::try_from(start).ok().zip(u64::try_from(column.compressed_size()).ok());
    let range =
        range.filter(|(start, length)| *start >= 4 && start.checked_add(*length).is_some_and(|stop| stop <= end));
    let (_, length) = range
        .ok_or_else(|| format!("expected bytes from 4 to {end}, found {} from {start}", column.compressed_size()))?;
    Ok(length)
}

/// Whether the footer's schema is a tree of a size that a shard could have: the parquet crate builds it by recursion.
fn check_schema(footer: &[u8]) -> Option<()> {
    let mut is_sound = false;
    Compact::new(footer).fields(|compact, number, kind| {
        if (number, kind) != (2, kind::LIST) {
            return Some(false);
        }
        let (count, item) = compact.list()?;
        if item != kind::STRUCT || !(1..=MAX_NODES).contains(&count) {
            return None;
        }
        // Children that each open node still waits for.
        let mut open: Vec<u64> = vec![1];
        for _ in 0..count {
            let mut children = 0;
            compact.fields(|compact, number, kind| {
                if (number, kind) != (5, kind::I32) {
                    return Some(false);
                }
                children = u64::try_from(compact.i32()?).ok()?;
                Some(true)
            })?;
            *open.last_mut()? -= 1;
            if children > 0 {
                open.push(children);
            }
            if open.len() > MAX_LEVELS {
                return None;
            }
            while open.last() == Some(&0) {
                open.pop();
            }
        }
        is_sound = open.is_empty();
        Some(true)
    })?;
    is_sound.then_some(())
}

/// Where the pages of a column are, by its offset index; `None` where there is none that leads into the column.
pub(crate) fn page_locations(file: &PositionedFile, column: &ColumnChunkMetaData) -> Option<Vec<(u64, u64)>> {
    let start = u64::try_from(column.offset_index_offset()?).ok()?;
    let length = u64::try_from(column.offset_index_length()?).ok()?;
    let mut bytes = Vec::new();
    file.read(start..start.checked_add(length)?, &mut bytes).ok()?;
    let (from, length) = column.byte_range();
    let mut pages = Vec::new();
    Compact::new(&bytes).fields(|compact, number, kind| {
        if (number, kind) != (1, kind::LIST) {
            return Some(false);
        }
        let (count, item) = compact.list()?;
        for _ in 0..count {
            let (mut offset, mut size) = (None, None);
            if item != kind::STRUCT {
                return None;
            }
            compact.fields(|compact, number, kind| {
                match (number, kind) {
                    (1, kind::I64) => offset = Some(u64::try_from(compact.number()?).ok()?),
                    (2, kind::I32) => size = Some(u64::try_from(compact.number()?).ok()?),
                    _ => return Some(false),
                }
                Some(true)
            })?;
            let page = offset
                .zip(size)
                .filter(|(at, size)| *at >= from && at.checked_add(*size).is_some_and(|end| end <= from + length));
            pages.push(page?);
        }
        Some(true)
    })?;
    Some(pages)
}
