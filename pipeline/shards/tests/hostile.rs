//! Datasets that lie or change while they are read: an error that names the file, never a panic, a signal or gigabytes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, DictionaryArray, FixedSizeBinaryArray, Int32Array, ListArray, RecordBatch, StringArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Int32Type};
use med2e3_schemas::Id;
use med2e3_schemas::codec::VoxelCodec;
use med2e3_schemas::index::DatasetIndex;
use med2e3_schemas::sample::{self, IMAGE3D, SampleRow, Split, Task};
use med2e3_schemas::volume::{self, VolumeRow, VoxelCode, VoxelFormat};
use med2e3_shards::{Dataset, PageLayout, Selection, ShardReader, ShardWriter, Shards, write_index};
use parquet::arrow::arrow_writer::{ArrowWriter, ArrowWriterOptions};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use proptest::prelude::RngCore;
use proptest::test_runner::{RngAlgorithm, TestRng};

#[path = "../../../fuzz/src/dataset.rs"]
pub mod dataset;
#[path = "../../../fuzz/src/shard.rs"]
pub mod shard;

const FORMAT: VoxelFormat = VoxelFormat { shape_dhw: [2, 4, 8], code: VoxelCode::U8, scale: 1.0 / 255.0, offset: 0.0 };

fn id(number: usize) -> Id {
    Id::of_volume(&number.to_string())
}

fn volume(number: usize) -> VolumeRow {
    let cell = (0..FORMAT.cell_bytes()).map(|at| (at * 7 + number) as u8).collect();
    VolumeRow {
        source_path: Some(format!("case {number}")),
        content_hash: [number as u8; 32],
        series: Some("series".into()),
        spacing_mm: Some([1.0; 3]),
        notes: vec!["a note".into()],
        ..VolumeRow::of_cell(id(number), cell)
    }
}

fn sample(number: usize) -> SampleRow {
    SampleRow {
        sample_id: id(100 + number),
        volume_ids: vec![id(number)],
        task: Task::Caption,
        topic: None,
        split: Split::Train,
        case_id: "1".into(),
        question: "What is shown?".into(),
        answer: format!("Series {number}."),
        choices: Some(vec!["a".into(), "b".into()]),
        answer_choice: None,
        ids: vec![1, IMAGE3D, 5, number as i32],
        target_spans: vec![(2, 4)],
        pretrain_ids: Some(vec![IMAGE3D, 5]),
        question_ids_llm: vec![7],
        question_ids_bert: None,
        truncated: false,
    }
}

/// A dataset of so many volumes with a sample each.
fn write(root: &Path, rows: usize) -> DatasetIndex {
    ["volumes", "samples"].iter().for_each(|folder| fs::create_dir_all(root.join(folder)).unwrap());
    let (volumes, samples) = ("volumes/00000.parquet", "samples/00000.parquet");
    let mut writer =
        ShardWriter::create(&root.join(volumes), volume::schema(&FORMAT), PageLayout::Volumes(VoxelCodec::Zstd1))
            .unwrap();
    let all: Vec<VolumeRow> = (0..rows).map(volume).collect();
    all.chunks(3).for_each(|group| writer.write(&volume::to_batch(group, &FORMAT)).unwrap());
    let volumes = writer.commit(volumes, &[]).unwrap();
    let mut writer = ShardWriter::create(&root.join(samples), sample::schema(), PageLayout::Samples).unwrap();
    writer.write(&sample::to_batch(&(0..rows).map(sample).collect::<Vec<_>>())).unwrap();
    let samples = writer.commit(samples, &[]).unwrap();
    let index = DatasetIndex { end_token: Some(0), ..DatasetIndex::of_shards(FORMAT, vec![volumes], vec![samples]) };
    write_index(root, &index).unwrap();
    index
}

fn said(root: &Path) -> String {
    Dataset::open(root).err().map_or(String::new(), |error| error.to_string())
}

#[test]
fn what_the_index_names_belongs_to_the_folder_once() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("dataset");
    let index = write(&root, 4);
    assert_eq!(said(&root), "");
    let with = |change: &dyn Fn(&mut DatasetIndex)| {
        let mut changed = index.clone();
        change(&mut changed);
        write_index(&root, &changed).unwrap();
        said(&root)
    };
    let shard = root.join("volumes/00000.parquet");
    fs::copy(&shard, folder.path().join("outside.parquet")).unwrap();
    let outside = fs::canonicalize(folder.path()).unwrap().join("outside.parquet");
    assert!(with(&|index| index.volumes[0].path = "../outside.parquet".into()).contains("within the folder"));
    assert!(with(&|index| index.volumes[0].path = outside.display().to_string()).contains("within the folder"));
    assert!(with(&|index| index.tokenizer = Some("../outside.parquet".into())).contains("within the folder"));
    std::os::unix::fs::symlink(&outside, root.join("volumes/link")).unwrap();
    assert!(with(&|index| index.volumes[0].path = "volumes/link".into()).contains("leads out"));
    // Another name of the same shard, by either kind of link.
    std::os::unix::fs::symlink("00000.parquet", root.join("volumes/same")).unwrap();
    fs::hard_link(&shard, root.join("volumes/hard")).unwrap();
    for name in ["volumes/same", "volumes/hard"] {
        let twice = with(&|index| {
            let other = index.volumes[0].clone();
            index.volumes.push(other);
            index.volumes[1].path = name.into();
        });
        assert!(twice.contains("each shard once"), "{name}: {twice}");
    }
    // A stray shard counts for nothing.
    fs::copy(&shard, root.join("volumes/00000 copy.parquet")).unwrap();
    write_index(&root, &index).unwrap();
    assert_eq!(Shards::open(&root).unwrap().volumes.len(), 1);
}

#[test]
fn a_shard_that_is_cut_or_gone_while_it_is_read_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 7);
    let dataset = Dataset::open(folder.path()).unwrap();
    let mut cell = vec![0; FORMAT.cell_bytes()];
    dataset.read_voxels(id(6), &mut cell).unwrap();
    assert_eq!(cell, volume(6).voxels);
    let shard = folder.path().join("volumes/00000.parquet");
    fs::File::options().write(true).open(&shard).unwrap().set_len(100).unwrap();
    let error = dataset.read_voxels(id(6), &mut cell).unwrap_err();
    let chain = format!("{error}: {}", std::error::Error::source(&error).map_or(String::new(), ToString::to_string));
    assert!(chain.contains("00000.parquet") && chain.contains("found 100 bytes"), "{chain}");
    let all = Selection { split: Split::Train, tasks: Task::ALL.to_vec(), subset: None };
    assert_eq!(dataset.select(&all).unwrap().len(), 7);
    ["samples", "feed"].iter().for_each(|name| fs::remove_dir_all(folder.path().join(name)).unwrap());
    // What is open or mapped stays readable where its name is gone.
    assert_eq!(dataset.select_rows(&all).unwrap().rows.len(), 7);
    assert!(said(folder.path()).contains("00000.parquet"));
}

#[test]
fn no_flipped_bit_is_more_than_an_error() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 5);
    let files = ["dataset.json", "volumes/00000.parquet", "samples/00000.parquet"];
    let files = files.map(|name| fs::read(folder.path().join(name)).unwrap());
    let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    for _ in 0..1500 {
        let mut changed = files.clone();
        let file = random.next_u32() as usize % 3;
        let bit = random.next_u32() as usize % (8 * changed[file].len());
        // Footers decide most: half of the flips are near the end.
        let bit = if random.next_u32().is_multiple_of(2) {
            bit
        } else {
            8 * changed[file].len() - 1 - bit % 20_000.min(8 * changed[file].len())
        };
        changed[file][bit / 8] ^= 1 << (bit % 8);
        dataset::dataset(&dataset::joined([&changed[0], &changed[1], &changed[2]]));
    }
}

/// A parquet file of these columns with a row group each `group` rows, without the Arrow schema that the writer would add.
fn bomb(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap()))
        .set_dictionary_page_size_limit(1 << 30)
        .set_max_row_group_row_count(Some(usize::MAX))
        .build();
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let file = fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new_with_options(file, batch.schema(), options).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn dictionary(keys: usize, values: ArrayRef) -> ArrayRef {
    Arc::new(DictionaryArray::<Int32Type>::try_new(Int32Array::from(vec![0; keys]), values).unwrap())
}

#[test]
fn a_few_kilobytes_never_unfold_to_gigabytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    // One text of a megabyte, 4,096 times.
    bomb(&path("texts"), vec![("answer", dictionary(4096, Arc::new(StringArray::from(vec!["x".repeat(1 << 20)]))))]);
    // One key, 16 million times.
    let key = FixedSizeBinaryArray::try_from_iter([[7u8; 16]].into_iter()).unwrap();
    bomb(&path("keys"), vec![("sample_id", dictionary(16 << 20, Arc::new(key)))]);
    // 32 million ids in one row.
    let ids = Arc::new(Int32Array::from(vec![5; 40 << 20]));
    let item = Arc::new(Field::new("item", DataType::Int32, true));
    let list = ListArray::new(item, OffsetBuffer::from_lengths([40 << 20]), ids, None);
    bomb(&path("ids"), vec![("ids", Arc::new(list))]);
    // 64 million nulls.
    let nulls = Int32Array::new(vec![0; 40 << 20].into(), Some(NullBuffer::new_null(40 << 20)));
    bomb(&path("nulls"), vec![("ordinal", Arc::new(nulls))]);
    // A dictionary page of 300 MB.
    let long: Vec<String> = (0..3).map(|n| n.to_string().repeat(100 << 20)).collect();
    let long = Arc::new(StringArray::from(long.iter().map(String::as_str).collect::<Vec<_>>()));
    let keys = Int32Array::from(vec![0, 1, 2]);
    let texts = DictionaryArray::<Int32Type>::try_new(keys, long).unwrap();
    bomb(&path("dictionary"), vec![("answer", Arc::new(texts))]);
    for name in ["texts", "keys", "ids", "nulls", "dictionary"] {
        let bytes = fs::metadata(path(name)).unwrap().len();
        assert!(bytes < 200_000, "{name}: {bytes} bytes");
        let before = peak_mib();
        let read = ShardReader::open(&path(name)).and_then(|reader| reader.read(&[]));
        let error = read.err().unwrap_or_else(|| panic!("{name} is read"));
        let source = std::error::Error::source(&error).map_or(String::new(), ToString::to_string);
        assert!(source.contains("unfold") || source.contains("at most"), "{name}: {source}");
        // What this test made itself is the peak so far.
        assert!(peak_mib() - before < 400, "{name}: {} MiB", peak_mib() - before);
    }
}

/// Peak of this process's memory.
fn peak_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() / 1024
}

#[test]
fn a_footer_is_refused_before_anything_follows_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shard.parquet");
    let whole = |footer: &[u8]| [b"PAR1", footer, &(footer.len() as u32).to_le_bytes(), b"PAR1"].concat();
    // Version 1, a list of schema elements: a group in a group, 100,000 times.
    let deep = [&[0x15, 2, 0x19, 0xfc, 0xa0, 0x8d, 6], [0x48, 1, b'a', 0x15, 2, 0].repeat(100_000).as_slice()].concat();
    // One element with 2^31 - 1 children.
    let wide = [0x15, 2, 0x19, 0x1c, 0x48, 1, b'a', 0x15, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0, 0];
    for bytes in [whole(&deep), whole(&wide), whole(&[]), whole(&[0x19; 50]), b"PAR1PAR1".to_vec(), vec![0; 100]] {
        fs::write(&path, &bytes).unwrap();
        assert!(ShardReader::open(&path).is_err());
    }
    // A length beyond the file.
    let mut bytes = whole(&wide);
    let at = bytes.len() - 8;
    bytes[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    fs::write(&path, &bytes).unwrap();
    let error = ShardReader::open(&path).err().unwrap();
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("found 4294967295"));
}

#[test]
fn a_sample_that_no_program_writes_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let changes: [fn(&mut SampleRow); 6] = [
        |row| row.ids[0] = -5,
        |row| row.target_spans = vec![(2, 9)],
        |row| row.target_spans = vec![(2, 4), (3, 4)],
        |row| row.target_spans.clear(),
        |row| row.volume_ids.clear(),
        |row| row.question_ids_llm = vec![-1],
    ];
    for change in changes {
        let mut index = write(folder.path(), 2);
        let mut rows = vec![sample(0), sample(1)];
        change(&mut rows[1]);
        let path = index.samples[0].path.clone();
        let mut writer =
            ShardWriter::create(&folder.path().join(&path), sample::schema(), PageLayout::Samples).unwrap();
        writer.write(&sample::to_batch(&rows)).unwrap();
        index.samples = vec![writer.commit(&path, &[]).unwrap()];
        write_index(folder.path(), &index).unwrap();
        let all = Selection { split: Split::Train, tasks: Task::ALL.to_vec(), subset: None };
        let error = Dataset::open(folder.path()).unwrap().select(&all).err().unwrap().to_string();
        assert!(error.contains("00000.parquet: sample "), "{error}");
    }
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/dataset")
}

/// The seed is a dataset of the writer; `MED2E3_WRITE_SEEDS=1` writes it anew.
#[test]
fn every_kept_dataset_is_read_or_refused() {
    if std::env::var_os("MED2E3_WRITE_SEEDS").is_some() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), 1);
        let files = ["dataset.json", "volumes/00000.parquet", "samples/00000.parquet"];
        let files = files.map(|name| fs::read(folder.path().join(name)).unwrap());
        fs::create_dir_all(corpus()).unwrap();
        fs::write(corpus().join("one"), dataset::joined([&files[0], &files[1], &files[2]])).unwrap();
    }
    let entries: Vec<PathBuf> = fs::read_dir(corpus()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!entries.is_empty());
    for file in entries {
        eprintln!("{}", file.display());
        dataset::dataset(&fs::read(file).unwrap());
    }
}
