//! A small dataset on disk, each of whose volumes holds its own number, and texts that name it.

use std::path::Path;
use std::sync::Arc;

use med2e3_schemas::Id;
use med2e3_schemas::codec::VoxelCodec;
use med2e3_schemas::index::DatasetIndex;
use med2e3_schemas::sample::{self, IMAGE3D, SampleRow, Split, Task, Topic};
use med2e3_schemas::volume::{self, VolumeRow, VoxelCode, VoxelFormat};
use med2e3_shards::{Dataset, PageLayout, Samples, Selection, ShardWriter};

pub(crate) const VOLUMES: usize = 11;
pub(crate) const MISSING: usize = 4;

pub(crate) fn volume_id(i: usize) -> Id {
    Id::of_volume(&format!("volume {i}"))
}

pub(crate) fn volume(i: usize, format: &VoxelFormat) -> VolumeRow {
    let cell = vec![i as u8; format.cell_bytes()];
    VolumeRow { content_hash: [i as u8; 32], ..VolumeRow::of_cell(volume_id(i), cell) }
}

/// Two samples a volume, the volume's number as a token, answers of different lengths.
pub(crate) fn samples() -> Vec<SampleRow> {
    (0..2 * VOLUMES)
        .map(|i| {
            let answer: Vec<i32> = (0..1 + i as i32 % 5).map(|k| 100 + k).collect();
            let mut ids = vec![1, IMAGE3D, (i / 2) as i32];
            let start = ids.len() as u32;
            ids.extend(&answer);
            SampleRow {
                sample_id: Id::of_volume(&format!("sample {i}")),
                volume_ids: vec![volume_id(i / 2)],
                task: if i % 2 == 0 { Task::Caption } else { Task::OpenVqa },
                topic: (i % 2 == 1).then_some(Topic::Plane),
                split: Split::Train,
                case_id: "1".into(),
                question: "?".into(),
                answer: "!".into(),
                choices: None,
                answer_choice: None,
                target_spans: vec![(start, ids.len() as u32)],
                pretrain_ids: (i % 2 == 0).then(|| [vec![IMAGE3D], answer].concat()),
                ids,
                question_ids_llm: vec![7; i % 3],
                question_ids_bert: (i % 2 == 0).then(|| vec![2, 30 + i as i32, 3]),
                truncated: false,
            }
        })
        .collect()
}

pub(crate) fn write_as(root: &Path, codec: VoxelCodec) {
    for folder in ["volumes", "samples", "subsets"] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    let format = VoxelFormat::unit_range([2, 4, 4], VoxelCode::U8);
    let present: Vec<_> = (0..VOLUMES).filter(|&i| i != MISSING).map(|i| volume(i, &format)).collect();
    let mut entries = Vec::new();
    for (shard, rows) in present.chunks(4).enumerate() {
        let path = format!("volumes/{shard:05}.parquet");
        let mut writer =
            ShardWriter::create(&root.join(&path), volume::schema(&format), PageLayout::Volumes(codec)).unwrap();
        rows.chunks(3).for_each(|group| writer.write(&volume::to_batch(group, &format)).unwrap());
        entries.push(writer.commit(&path, &[]).unwrap());
    }
    let path = "samples/00000.parquet";
    let mut writer = ShardWriter::create(&root.join(path), sample::schema(), PageLayout::Samples).unwrap();
    writer.write(&sample::to_batch(&samples())).unwrap();
    let index = DatasetIndex {
        tokenizer: Some("tokenizer.json".into()),
        end_token: Some(0),
        ..DatasetIndex::of_shards(format, entries, vec![writer.commit(path, &[]).unwrap()])
    };
    med2e3_shards::write_index(root, &index).unwrap();
}

pub(crate) fn open(root: &Path, tasks: &[Task]) -> (Arc<Dataset>, Arc<Samples>) {
    let dataset = Dataset::open(root).unwrap();
    let selection = Selection { split: Split::Train, tasks: tasks.to_vec(), subset: None };
    let samples = dataset.select(&selection).unwrap();
    (Arc::new(dataset), Arc::new(samples))
}

/// Samples over the volumes that are there, of all tasks.
pub(crate) fn many(count: usize) -> (tempfile::TempDir, Arc<Dataset>, Arc<Samples>) {
    many_as(count, VoxelCodec::Zstd1)
}

pub(crate) fn many_as(count: usize, codec: VoxelCodec) -> (tempfile::TempDir, Arc<Dataset>, Arc<Samples>) {
    let folder = tempfile::tempdir().unwrap();
    write_as(folder.path(), codec);
    let (dataset, samples) = open(folder.path(), &[Task::Caption, Task::OpenVqa]);
    let own = dataset.rows(&samples).unwrap();
    let row = |number: usize| SampleRow {
        sample_id: Id::of_volume(&format!("text {number}")),
        task: Task::ALL[number % 3],
        ..own[number * number % own.len()].clone()
    };
    let mut rows: Vec<SampleRow> = (0..count).map(row).collect();
    rows.sort_by_key(|row| row.sample_id);
    let samples = Samples::of_rows(&rows);
    (folder, dataset, Arc::new(samples))
}
