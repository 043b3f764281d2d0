//! Every kept input of the fuzz target `shard_footer`, read again; and the shards that the corpus starts from.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeBinaryArray, Int64Array, ListArray, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::Int32Type;
use med2e3_schemas::codec::VoxelCodec;
use med2e3_schemas::outcome::{FOOTER_KEY, RangeOutcome};
use med2e3_shards::{PageLayout, ShardReader, ShardWriter};

#[path = "../../../fuzz/src/shard.rs"]
pub mod shard;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/shard_footer")
}

#[test]
fn every_kept_shard_is_read_or_refused() {
    let entries = fs::read_dir(corpus()).unwrap();
    let files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() > seeds().len(), "the corpus holds the seeds and what was found from them");
    for file in files {
        eprintln!("{}", file.display());
        shard::shard_footer(&fs::read(file).unwrap());
    }
}

/// Name of a seed, how its pages are cut, and its columns.
type Seed = (&'static str, PageLayout, Vec<(&'static str, ArrayRef)>);

fn seeds() -> Vec<Seed> {
    let cells = |rows: u8| -> ArrayRef {
        Arc::new(FixedSizeBinaryArray::try_from_iter((0..rows).map(|row| vec![row; 256])).unwrap())
    };
    let names = |rows: usize| -> ArrayRef {
        Arc::new((0..rows).map(|row| (row % 3 != 1).then(|| format!("series {}", row % 5))).collect::<StringArray>())
    };
    let lists = |rows: usize| -> ArrayRef {
        let lists = (0..rows).map(|row| (row % 4 != 2).then(|| (0..row % 7).map(|n| Some(n as i32 * 3))));
        Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists))
    };
    let numbers =
        |rows: i64| -> ArrayRef { Arc::new(Int64Array::from_iter((0..rows).map(|n| (n % 9 > 0).then_some(n)))) };
    vec![
        ("volumes", PageLayout::Volumes(VoxelCodec::Zstd1), vec![("voxels", cells(3)), ("series", names(3))]),
        ("samples", PageLayout::Samples, vec![("ids", lists(40)), ("answer", names(40))]),
        ("table", PageLayout::Table, vec![("ordinal", numbers(60)), ("detail", names(60))]),
    ]
}

/// The seeds are files of the shard writer; `MED2E3_WRITE_SEEDS=1` writes them anew.
#[test]
fn the_seeds_are_shards() {
    let folder = tempfile::tempdir().unwrap();
    for (name, layout, columns) in seeds() {
        let path = folder.path().join(name);
        let batch =
            RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)));
        let batch = batch.unwrap();
        let mut writer = ShardWriter::create(&path, batch.schema(), layout).unwrap();
        // Two row groups.
        let cut = batch.num_rows() / 2;
        writer.write(&batch.slice(0, cut)).unwrap();
        writer.write(&batch.slice(cut, batch.num_rows() - cut)).unwrap();
        let outcome = serde_json::to_string(&RangeOutcome { rows: 7, ..RangeOutcome::default() }).unwrap();
        writer.commit(name, &[(FOOTER_KEY, outcome)]).unwrap();
        let kept = corpus().join(name);
        if std::env::var_os("MED2E3_WRITE_SEEDS").is_some() {
            fs::create_dir_all(corpus()).unwrap();
            fs::copy(&path, &kept).unwrap();
        }
        let bytes = fs::metadata(&kept).unwrap().len();
        assert!(bytes <= 8192, "{name} has {bytes} bytes");
        let reader = ShardReader::open(&kept).unwrap();
        assert_eq!(reader.outcome().unwrap().rows, 7);
        assert_eq!(concat_batches(&batch.schema(), &reader.read(&[]).unwrap()).unwrap(), batch);
    }
}
