//! Draws take the samples that an independent implementation takes (`golden/draw.py`): plain, by whole groups, evenly over
//! strata, and never a sample of which a volume was set aside.

use std::collections::BTreeMap;
use std::path::Path;

use med2e3_prepare::config::SampleConfig;
use med2e3_prepare::subset::draw::draw;
use med2e3_schemas::Id;
use med2e3_schemas::codec::VoxelCodec;
use med2e3_schemas::config::parse;
use med2e3_schemas::index::DatasetIndex;
use med2e3_schemas::sample::{self, IMAGE3D, SampleRow, Split, Task, Topic};
use med2e3_schemas::volume::{self, VolumeRow, VoxelCode, VoxelFormat};
use med2e3_shards::{PageLayout, ShardReader, ShardWriter, read_index, subset};

const GOLDEN: &str = include_str!("golden/draw.txt");
const VOLUMES: usize = 14;
const MISSING: [usize; 2] = [4, 11];

fn volume_id(n: usize) -> Id {
    Id::of_volume(&format!("volume {n}"))
}

fn volume_row(n: usize, format: &VoxelFormat) -> VolumeRow {
    let cell = vec![n as u8; format.cell_bytes()];
    VolumeRow { content_hash: [n as u8; 32], ..VolumeRow::of_cell(volume_id(n), cell) }
}

fn sample_row(n: usize) -> SampleRow {
    let first = n * 5 % VOLUMES;
    let second = (n % 10 == 9).then_some((first + 3) % VOLUMES);
    let task = [Task::Caption, Task::OpenVqa, Task::ClosedVqa][n % 3];
    SampleRow {
        sample_id: Id::of_volume(&format!("sample {n}")),
        volume_ids: [first].into_iter().chain(second).map(volume_id).collect(),
        task,
        topic: (task != Task::Caption).then(|| Topic::of_number(1 + (n / 3 % 5) as u8).unwrap()),
        split: if n % 8 == 7 { Split::Test } else { Split::Train },
        case_id: format!("case {}", first / 2),
        question: "?".into(),
        answer: "!".into(),
        choices: None,
        answer_choice: None,
        ids: vec![IMAGE3D, 1],
        target_spans: vec![(1, 2)],
        pretrain_ids: None,
        question_ids_llm: vec![],
        question_ids_bert: None,
        truncated: false,
    }
}

fn write(root: &Path) {
    for folder in ["volumes", "samples", "subsets"] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    let format = VoxelFormat::unit_range([1, 2, 2], VoxelCode::U8);
    let present: Vec<VolumeRow> =
        (0..VOLUMES).filter(|n| !MISSING.contains(n)).map(|n| volume_row(n, &format)).collect();
    let (volumes, samples) = ("volumes/00000.parquet", "samples/00000.parquet");
    let mut writer =
        ShardWriter::create(&root.join(volumes), volume::schema(&format), PageLayout::Volumes(VoxelCodec::Zstd1))
            .unwrap();
    writer.write(&volume::to_batch(&present, &format)).unwrap();
    let volumes = vec![writer.commit(volumes, &[]).unwrap()];
    let mut writer = ShardWriter::create(&root.join(samples), sample::schema(), PageLayout::Samples).unwrap();
    writer.write(&sample::to_batch(&(0..240).map(sample_row).collect::<Vec<_>>())).unwrap();
    let index = DatasetIndex::of_shards(format, volumes, vec![writer.commit(samples, &[]).unwrap()]);
    med2e3_shards::write_index(root, &index).unwrap();
}

/// A configuration as a line of the golden file states it.
fn config(words: &[&str]) -> SampleConfig {
    let counts: Vec<String> = words[2]
        .split(',')
        .map(|one| one.split_once('=').unwrap())
        .map(|(task, count)| format!("{{ task = \"{task}\", count = {count} }}"))
        .collect();
    let mut text = format!(
        "name = \"{}\"\nsplit = \"{}\"\nseed = {}\ncounts = [{}]\n",
        words[0],
        words[1],
        words[3],
        counts.join(", ")
    );
    for (key, column) in [("group_by", words[4]), ("stratify", words[5])].into_iter().filter(|(_, c)| *c != "-") {
        text += &format!("{key} = \"{column}\"\n");
    }
    parse(words[0], &text, &[]).unwrap()
}

#[tokio::test]
async fn draws_are_the_golden_ones() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    for line in GOLDEN.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let drawn = draw(&config(&words), folder.path()).await.unwrap();
        let numbers: Vec<String> = drawn.subset.counts.iter().map(|(_, count)| count.to_string()).collect();
        assert_eq!(
            (drawn.without_volume.to_string().as_str(), numbers.join(",").as_str()),
            (words[6], words[7]),
            "{line}"
        );
        let file = ShardReader::open(&subset::path(folder.path(), words[0])).unwrap();
        let batches = file.read(&[]).unwrap();
        let ids = batches.iter().flat_map(|batch| med2e3_schemas::subset::ids_from_batch(batch).unwrap());
        assert_eq!(ids.map(|id| id.to_string()).collect::<Vec<_>>(), words[8..], "{}", words[0]);
    }
    assert!(GOLDEN.lines().count() >= 8);
}

#[tokio::test]
async fn case_is_a_word_for_case_id_and_groups_stay_whole() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let rows: Vec<SampleRow> = (0..240).map(sample_row).collect();
    for seed in 0..4 {
        let one = format!("open_vqa={}", 30 + seed * 3);
        for (column, name) in [("case", "a"), ("case_id", "b"), ("topic", "c")] {
            let (name, seed) = (format!("{name}{seed}"), seed.to_string());
            let drawn = draw(&config(&[&name, "train", &one, &seed, column, "-"]), folder.path()).await.unwrap();
            let ids = subset::read(folder.path(), &read_index(folder.path()).unwrap(), &name, Split::Train).unwrap();
            assert_eq!(drawn.subset.counts[0].1, ids.len() as u64);
            let group = |row: &SampleRow| match column {
                "topic" => format!("{:?}", row.topic),
                _ => row.case_id.clone(),
            };
            let could = |row: &&SampleRow| {
                let missing = MISSING.map(volume_id);
                row.task == Task::OpenVqa
                    && row.split == Split::Train
                    && row.volume_ids.iter().all(|id| !missing.contains(id))
            };
            let mut inside: BTreeMap<String, Vec<bool>> = BTreeMap::new();
            rows.iter()
                .filter(could)
                .for_each(|row| inside.entry(group(row)).or_default().push(ids.contains(&row.sample_id)));
            assert!(inside.values().all(|flags| flags.iter().all(|flag| *flag == flags[0])), "{column} {seed}");
            let counted: usize = inside.values().flatten().filter(|flag| **flag).count();
            assert_eq!(counted, ids.len(), "a sample that could not be drawn was drawn");
        }
        let read = |name: &str| {
            subset::read(folder.path(), &read_index(folder.path()).unwrap(), &format!("{name}{seed}"), Split::Train)
                .unwrap()
        };
        assert_eq!(read("a"), read("b"));
    }
}
