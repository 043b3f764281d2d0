//! Parquet of other writers: the compressions that they have by default are read, with the bounds of shards.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Int32Type, Int64Type};
use arrow::util::display::array_value_to_string;
use med2e3_shards::ShardReader;
use parquet::arrow::arrow_writer::ArrowWriter;
use parquet::basic::{BrotliLevel, Compression, GzipLevel};
use parquet::file::properties::{WriterProperties, WriterVersion};

fn rows() -> RecordBatch {
    let texts: StringArray = (0..5000).map(|n| (n % 7 != 0).then(|| format!("text {} Läsion", n % 50))).collect();
    let keys: DictionaryArray<Int32Type> = (0..5000).map(|n| ["axial", "coronal"][n % 2]).collect();
    let columns: [(&str, ArrayRef); 3] =
        [("text", Arc::new(texts)), ("key", Arc::new(keys)), ("n", Arc::new(Int64Array::from_iter_values(0..5000)))];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn write(path: &Path, compression: Compression, version: WriterVersion) {
    let properties = WriterProperties::builder().set_compression(compression).set_writer_version(version).build();
    let batch = rows();
    let mut writer = ArrowWriter::try_new(fs::File::create(path).unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn read(path: &Path) -> Result<Vec<RecordBatch>, String> {
    let words = |error: med2e3_shards::ShardError| format!("{error}: {:?}", std::error::Error::source(&error));
    ShardReader::open(path).and_then(|reader| reader.read(&[])).map_err(words)
}

/// What is read besides zstd.
fn compressions() -> [Compression; 4] {
    [Compression::UNCOMPRESSED, Compression::SNAPPY, Compression::GZIP(GzipLevel::default()), Compression::LZ4_RAW]
}

#[test]
fn tables_of_other_writers_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    for compression in compressions() {
        write(&path, compression, WriterVersion::PARQUET_1_0);
        let batches = read(&path).unwrap();
        let expected = rows();
        let mut row = 0;
        for batch in &batches {
            for at in 0..batch.num_rows() {
                for column in 0..2 {
                    let text =
                        |array: &ArrayRef, at| array.is_valid(at).then(|| array_value_to_string(array, at).unwrap());
                    assert_eq!(text(batch.column(column), at), text(expected.column(column), row));
                }
                assert_eq!(batch.column(2).as_primitive::<Int64Type>().value(at), row as i64);
                row += 1;
            }
        }
        assert_eq!(row, 5000, "{compression}");
    }
}

#[test]
fn other_compressions_and_versions_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    write(&path, Compression::BROTLI(BrotliLevel::default()), WriterVersion::PARQUET_1_0);
    assert!(read(&path).unwrap_err().contains("gzip, raw lz4 or no compression, found BROTLI"));
    write(&path, Compression::SNAPPY, WriterVersion::PARQUET_2_0);
    assert!(read(&path).unwrap_err().contains("page of version 1"));
}

#[test]
fn no_byte_of_a_table_makes_more_of_it_than_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    for compression in compressions() {
        write(&path, compression, WriterVersion::PARQUET_1_0);
        let whole = fs::read(&path).unwrap();
        for at in (0..whole.len()).step_by(whole.len() / 150) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            fs::write(&path, bytes).unwrap();
            // Words or rows, never a panic; and no more rows than there are.
            let rows = read(&path).map_or(0, |batches| batches.iter().map(RecordBatch::num_rows).sum());
            assert!(rows <= 5000, "{compression}, byte {at}");
        }
    }
}
