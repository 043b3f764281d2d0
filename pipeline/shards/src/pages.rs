//! The pages of a column, each checked before it is unfolded: a shard of a few kilobytes may claim gigabytes.
//!
//! Shards are read by this reader of pages rather than that of the parquet crate, which unfolds whatever a page's header states.
//! So are tables of other writers, whose compressions are read too. Everything else is refused: other encodings, pages of the
//! second version, pages and columns beyond the limits below.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use med2e3_schemas::volume::MAX_CELL_BYTES;
use med2e3_store::PositionedFile;
use parquet::basic::{Compression, Encoding, Type};
use parquet::column::page::{Page, PageIterator, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::schema::types::ColumnDescPtr;

use crate::page_header::{Kind, PageHeader};
use crate::runs::{PlainTexts, bytes_of_runs};

/// Bytes of a page, unfolded: the largest cell.
const MAX_PAGE_BYTES: usize = MAX_CELL_BYTES;

/// What a call may unfold: this much, and for each byte of the file [`UNFOLDED_PER_BYTE`] more. Texts of one template unfold
/// to a hundred times their bytes at most, as do ids.
const UNFOLDED_BYTES: u64 = 1 << 28;
const UNFOLDED_PER_BYTE: u64 = 256;

/// Bytes that are read of a column at a time: whole where it is small, else as many as hold a page's header.
const WHOLE_COLUMN_BYTES: u64 = 1 << 20;
const HEADER_BYTES: u64 = 1 << 14;

/// Bytes of memory that one call may still unfold.
#[derive(Debug)]
pub(crate) struct Budget(AtomicU64);

impl Budget {
    /// The budget of one call on a file of so many bytes.
    pub(crate) fn of(file_bytes: u64) -> Arc<Budget> {
        Arc::new(Budget(AtomicU64::new(UNFOLDED_BYTES.saturating_add(file_bytes.saturating_mul(UNFOLDED_PER_BYTE)))))
    }

    pub(crate) fn take(&self, bytes: u64) -> Result<()> {
        let left = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes));
        left.map(|_| ())
            .map_err(|left| refused(format!("expected rows that unfold to {left} more bytes, found {bytes}")))
    }
}

/// An error of the format.
pub(crate) fn refused(words: String) -> ParquetError {
    ParquetError::General(words)
}

/// One column of one row group.
pub(crate) struct Column {
    file: Arc<PositionedFile>,
    descriptor: ColumnDescPtr,
    compression: Compression,
    // Where the rest of the pages is.
    next: u64,
    end: u64,
    // Values that the footer states and the pages had not yet.
    left: u64,
    window: (u64, Bytes),
    peeked: Option<(PageHeader, u64)>,
    dictionary: Option<PlainTexts>,
    budget: Arc<Budget>,
}

impl Column {
    /// The column of a footer that was checked.
    pub(crate) fn new(file: &Arc<PositionedFile>, column: &ColumnChunkMetaData, budget: &Arc<Budget>) -> Column {
        let (start, length) = column.byte_range();
        Column {
            file: file.clone(),
            descriptor: column.column_descr_ptr(),
            compression: column.compression(),
            next: start,
            end: start + length,
            left: column.num_values().max(0) as u64,
            window: (0, Bytes::new()),
            peeked: None,
            dictionary: None,
            budget: budget.clone(),
        }
    }

    /// Bytes of the file, which are in the column; `ahead` more of it are kept for the next call.
    fn bytes(&mut self, start: u64, length: u64, ahead: u64) -> Result<Bytes> {
        let (from, window) = &self.window;
        let inside = start.checked_sub(*from).filter(|at| at + length <= window.len() as u64);
        if let Some(at) = inside.filter(|_| !window.is_empty()) {
            return Ok(window.slice(at as usize..(at + length) as usize));
        }
        let mut buffer = Vec::new();
        let end = self.end.min(start.saturating_add(length.max(ahead)));
        self.file
            .read(start..end.max(start + length), &mut buffer)
            .map_err(|error| ParquetError::External(error.into()))?;
        self.window = (start, Bytes::from(buffer));
        Ok(self.window.1.slice(..length as usize))
    }

    /// The header of the next page and where its contents begin.
    fn header(&mut self) -> Result<Option<(PageHeader, u64)>> {
        if let Some(peeked) = self.peeked {
            return Ok(Some(peeked));
        }
        while self.next < self.end {
            let left = self.end - self.next;
            let ahead = if left <= WHOLE_COLUMN_BYTES { left } else { HEADER_BYTES };
            let start = self.bytes(self.next, left.min(HEADER_BYTES), ahead)?;
            let (header, length) = PageHeader::parse(&start).ok_or_else(|| {
                refused(format!("column {}: no header of a page of version 1 at byte {}", self.name(), self.next))
            })?;
            let contents = self.next + length as u64;
            if header.stored > self.end - contents {
                let words = format!("a page of {} bytes where {} are left", header.stored, self.end - contents);
                return Err(refused(format!("column {}: {words}", self.name())));
            }
            if header.kind == Kind::Index {
                self.next = contents + header.stored;
                continue;
            }
            self.peeked = Some((header, contents));
            return Ok(self.peeked);
        }
        Ok(None)
    }

    fn name(&self) -> String {
        self.descriptor.path().string()
    }

    fn unfold(&mut self, header: PageHeader, contents: u64) -> Result<Bytes> {
        if header.unfolded > MAX_PAGE_BYTES {
            let words = format!("expected pages of at most {MAX_PAGE_BYTES} bytes, found {}", header.unfolded);
            return Err(refused(format!("column {}: {words}", self.name())));
        }
        let stored = self.bytes(contents, header.stored, 0)?;
        if self.compression == Compression::UNCOMPRESSED {
            return if stored.len() == header.unfolded {
                Ok(stored)
            } else {
                Err(self.other_size(header, stored.len()))
            };
        }
        let mut unfolded = vec![0; header.unfolded];
        // A page of nulls alone has no bytes of values, and need not have any at all.
        if header.unfolded > 0 {
            let found = match self.compression {
                Compression::ZSTD(_) => unfold(&stored, &mut unfolded)?,
                other => unfold_others(other, &stored, &mut unfolded)?,
            };
            if found != header.unfolded {
                return Err(self.other_size(header, found));
            }
        }
        Ok(unfolded.into())
    }

    fn other_size(&self, header: PageHeader, found: usize) -> ParquetError {
        refused(format!("column {}: expected a page of {} bytes, found {found}", self.name(), header.unfolded))
    }

    /// Takes what the page's values will be in memory from the budget.
    fn account(&self, header: PageHeader, encoding: Encoding, unfolded: &[u8]) -> Result<()> {
        let width = match self.descriptor.physical_type() {
            Type::FIXED_LEN_BYTE_ARRAY => self.descriptor.type_length().max(0) as u64,
            Type::INT96 => 12,
            Type::INT64 | Type::DOUBLE => 8,
            _ => 4,
        };
        // The levels of a value have 4 bytes.
        let mut bytes = u64::from(header.values).saturating_mul(width + 4);
        if self.descriptor.physical_type() == Type::BYTE_ARRAY {
            bytes = bytes.saturating_add(match (&self.dictionary, encoding) {
                (Some(texts), Encoding::RLE_DICTIONARY) => {
                    let levels = [self.descriptor.max_rep_level(), self.descriptor.max_def_level()];
                    let levels = levels.into_iter().filter(|level| *level > 0).count();
                    let found = bytes_of_runs(unfolded, levels, header.values, texts);
                    found.ok_or_else(|| refused(format!("column {}: a page of other contents", self.name())))?
                }
                _ => unfolded.len() as u64,
            });
        }
        self.budget.take(bytes)
    }

    fn encoding(&self, number: i32) -> Result<Encoding> {
        match number {
            0 => Ok(Encoding::PLAIN),
            // The older name of the same.
            2 | 8 => Ok(Encoding::RLE_DICTIONARY),
            3 => Ok(Encoding::RLE),
            _ => Err(refused(format!(
                "column {}: expected plain values or a dictionary, found encoding {number}",
                self.name()
            ))),
        }
    }
}

/// Unfolds a page into a buffer of the size that it should have; gives how many bytes it had.
pub(crate) fn unfold(stored: &[u8], unfolded: &mut [u8]) -> Result<usize> {
    thread_local! {
        static ZSTD: std::cell::RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { std::cell::RefCell::new(None) };
    }
    let external = |error: std::io::Error| ParquetError::External(error.into());
    ZSTD.with_borrow_mut(|zstd| {
        let zstd = match zstd {
            Some(zstd) => zstd,
            None => zstd.insert(zstd::bulk::Decompressor::new().map_err(external)?),
        };
        // What does not fit into the buffer is an error.
        zstd.decompress_to_buffer(stored, unfolded).map_err(external)
    })
}

/// Whether pages of this compression are unfolded: what shards have, and what other writers of tables have by default.
pub(crate) fn is_known(compression: Compression) -> bool {
    use Compression::{GZIP, LZ4_RAW, SNAPPY, UNCOMPRESSED, ZSTD};
    matches!(compression, ZSTD(_) | UNCOMPRESSED | SNAPPY | GZIP(_) | LZ4_RAW)
}

/// As [`unfold`], of the compressions that tables of other writers have. What does not fit into the buffer is an error.
pub(crate) fn unfold_others(compression: Compression, stored: &[u8], unfolded: &mut [u8]) -> Result<usize> {
    let words = |error: String| refused(format!("a page of {compression} that does not unfold: {error}"));
    match compression {
        Compression::SNAPPY => {
            snap::raw::Decoder::new().decompress(stored, unfolded).map_err(|error| words(error.to_string()))
        }
        Compression::LZ4_RAW => {
            lz4_flex::block::decompress_into(stored, unfolded).map_err(|error| words(error.to_string()))
        }
        Compression::GZIP(_) => {
            let unfold = libdeflater::Decompressor::new().gzip_decompress(stored, unfolded);
            unfold.map_err(|error| words(error.to_string()))
        }
        other => Err(refused(format!("the compression {other}, which is not read"))),
    }
}

impl PageReader for Column {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let Some((header, contents)) = self.header()? else { return Ok(None) };
        let encoding = self.encoding(header.encoding)?;
        let buf = self.unfold(header, contents)?;
        (self.peeked, self.next) = (None, contents + header.stored);
        if header.kind == Kind::Dictionary {
            if self.descriptor.physical_type() == Type::BYTE_ARRAY {
                let texts = PlainTexts::of(&buf, header.values);
                self.dictionary = Some(
                    texts.ok_or_else(|| refused(format!("column {}: a dictionary of other contents", self.name())))?,
                );
            }
            self.budget.take(u64::from(header.values).saturating_mul(16).saturating_add(buf.len() as u64))?;
            let encoding = Encoding::PLAIN;
            return Ok(Some(Page::DictionaryPage { buf, num_values: header.values, encoding, is_sorted: false }));
        }
        let left = self.left.checked_sub(header.values.into());
        self.left =
            left.ok_or_else(|| refused(format!("column {}: more values than the footer states", self.name())))?;
        self.account(header, encoding, &buf)?;
        Ok(Some(Page::DataPage {
            buf,
            num_values: header.values,
            encoding,
            def_level_encoding: self.encoding(header.definition_levels)?,
            rep_level_encoding: self.encoding(header.repetition_levels)?,
            statistics: None,
        }))
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        Ok(self.header()?.map(|(header, _)| PageMetadata {
            num_rows: None,
            num_levels: Some(header.values as usize),
            is_dict: header.kind == Kind::Dictionary,
        }))
    }

    fn skip_next_page(&mut self) -> Result<()> {
        if let Some((header, contents)) = self.header()? {
            (self.peeked, self.next) = (None, contents + header.stored);
            self.left = self.left.saturating_sub(header.values.into());
        }
        Ok(())
    }
}

impl Iterator for Column {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Result<Page>> {
        self.get_next_page().transpose()
    }
}

/// The one column of one row group, as the reader of rows asks for it.
pub(crate) struct OneColumn(pub(crate) Option<Column>);

impl Iterator for OneColumn {
    type Item = Result<Box<dyn PageReader>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.take().map(|column| Ok(Box::new(column) as Box<dyn PageReader>))
    }
}

impl PageIterator for OneColumn {}
