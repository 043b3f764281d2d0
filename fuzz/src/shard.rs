//! A shard's reader on arbitrary bytes: an error, or a shard whose every row can be asked for.

use std::fs;

use med2e3_shards::ShardReader;

/// Opens a file of these bytes and reads all that a reader gives.
pub fn shard_footer(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("00000.parquet");
    fs::write(&path, bytes).expect("a file can be written");
    let reader = match ShardReader::open(&path) {
        Ok(reader) => reader,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    assert_eq!(reader.bytes(), bytes.len() as u64);
    let _ = reader.outcome();
    if let Ok(entry) = reader.entry("volumes/00000.parquet") {
        for group in 0..entry.row_groups_xxh3.len() {
            assert!(reader.rows_of_group(group).end <= reader.rows());
            assert!(reader.bytes_of_group(group).end <= reader.bytes());
        }
    }
    if let Ok(batches) = reader.read(&[]) {
        assert!(batches.iter().all(|batch| batch.num_rows() <= 4096));
    }
    for row in [0, reader.rows() / 2, reader.rows().saturating_sub(1), reader.rows(), usize::MAX] {
        if let Ok(batch) = reader.read_row(row, &[]) {
            assert_eq!(batch.num_rows(), 1);
        }
        let _ = reader.read_voxels(row, &mut [0; 256]);
    }
}
