//! A dataset of the size of M3D's (120,092 volumes, 1,000,092 texts, tiny cells), opened by eight processes at once: how long it
//! takes until a first batch of 128 texts is there, and what memory they take. Runs where `MED2E3_THOROUGH` is set; what it
//! measures is on standard error.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use med2e3_schemas::Id;
use med2e3_schemas::codec::VoxelCodec;
use med2e3_schemas::index::DatasetIndex;
use med2e3_schemas::sample::{self, IMAGE3D, SampleRow, Split, Task};
use med2e3_schemas::volume::{self, VolumeRow, VoxelCode, VoxelFormat};
use med2e3_shards::{Dataset, PageLayout, Places, Selection, ShardWriter, Texts};

const VOLUMES: usize = 120_092;
const SAMPLES: usize = 1_000_092;
/// Volumes of a shard, and samples of one.
const OF_SHARD: (usize, usize) = (60, 4096);
const PROCESSES: usize = 8;
const BATCH: usize = 128;
const FORMAT: VoxelFormat = VoxelFormat { shape_dhw: [1, 4, 4], code: VoxelCode::U8, scale: 1.0 / 255.0, offset: 0.0 };

/// Most memory of its own that a process may hold for an open feed.
const MOST_PRIVATE_KIB: u64 = 64 << 10;

fn volume_id(number: usize) -> Id {
    Id::of_parts([b"volume".as_slice(), &(number as u64).to_le_bytes()])
}

/// About as many ids as a text of M3D has.
fn row(number: usize) -> SampleRow {
    let ids: Vec<i32> = [IMAGE3D].into_iter().chain((0..60 + number as i32 % 80).map(|at| at * 31 % 32_000)).collect();
    let end = ids.len() as u32;
    let is_caption = number < VOLUMES;
    SampleRow {
        task: if is_caption { Task::Caption } else { Task::ClosedVqa },
        split: if number.is_multiple_of(50) { Split::Test } else { Split::Train },
        pretrain_ids: is_caption.then(|| ids.clone()),
        question_ids_llm: ids[1..20].to_vec(),
        question_ids_bert: Some(ids[1..22].to_vec()),
        ..SampleRow::of_ids(
            Id::of_parts([b"text".as_slice(), &(number as u64).to_le_bytes()]),
            vec![volume_id(number % VOLUMES)],
            ids,
            vec![(end - 20, end)],
        )
    }
}

fn write(root: &Path) -> DatasetIndex {
    ["volumes", "samples"].iter().for_each(|folder| fs::create_dir_all(root.join(folder)).unwrap());
    let volumes = (0..VOLUMES.div_ceil(OF_SHARD.0)).map(|shard| {
        let path = format!("volumes/{shard:05}.parquet");
        let numbers = shard * OF_SHARD.0..VOLUMES.min((shard + 1) * OF_SHARD.0);
        let cell = |number: usize| VolumeRow::of_cell(volume_id(number), vec![number as u8; FORMAT.cell_bytes()]);
        let rows: Vec<VolumeRow> = numbers.map(cell).collect();
        let layout = PageLayout::Volumes(VoxelCodec::Zstd1);
        let mut writer = ShardWriter::create(&root.join(&path), volume::schema(&FORMAT), layout).unwrap();
        rows.chunks(32).for_each(|group| writer.write(&volume::to_batch(group, &FORMAT)).unwrap());
        writer.commit(&path, &[]).unwrap()
    });
    let samples = (0..SAMPLES.div_ceil(OF_SHARD.1)).map(|shard| {
        let path = format!("samples/{shard:05}.parquet");
        let rows: Vec<SampleRow> = (shard * OF_SHARD.1..SAMPLES.min((shard + 1) * OF_SHARD.1)).map(row).collect();
        let mut writer = ShardWriter::create(&root.join(&path), sample::schema(), PageLayout::Samples).unwrap();
        writer.write(&sample::to_batch(&rows)).unwrap();
        writer.commit(&path, &[]).unwrap()
    });
    let index = DatasetIndex::of_shards(FORMAT, volumes.collect(), samples.collect());
    med2e3_shards::write_index(root, &index).unwrap();
    index
}

/// The dataset that a process of its own is to open, the file for what it measures, and one that tells it to end.
const ASKED: [&str; 3] = ["MED2E3_TEST_OPEN", "MED2E3_TEST_SAY", "MED2E3_TEST_END"];

/// What another process does: nothing unless it is told of a dataset.
#[test]
fn another_process_opens_a_dataset() {
    let Some(root) = std::env::var_os(ASKED[0]) else { return };
    let of = |name: &str| PathBuf::from(std::env::var_os(name).unwrap());
    let before = kib("Private_Dirty");
    let watch = Instant::now();
    let dataset = Dataset::open(Path::new(&root)).unwrap();
    let open = watch.elapsed().as_secs_f64();
    let samples = dataset.select(&Selection { split: Split::Train, tasks: Task::ALL.to_vec(), subset: None }).unwrap();
    let select = watch.elapsed().as_secs_f64();
    let mut cell = vec![0; FORMAT.cell_bytes()];
    let mut ids = 0;
    for position in 0..BATCH {
        let text = samples.text(position * 7001 % samples.len()).unwrap();
        ids += text.ids.len();
        for volume in text.volume_ids.iter() {
            dataset.read_cell(volume, &mut cell).unwrap();
        }
    }
    let first = watch.elapsed().as_secs_f64();
    assert!(ids > BATCH && samples.without_volume == 0);
    // Every shard is read from, whatever number of open files the system allows.
    for number in (0..VOLUMES).step_by(OF_SHARD.0) {
        dataset.read_cell(volume_id(number), &mut cell).unwrap();
    }
    // Everything that is mapped is touched, as by a run: what is shared then is shared by all.
    assert!((0..samples.len()).all(|position| samples.ids_len(position) > 0));
    let ready = of(ASKED[1]).with_extension("ready");
    fs::write(&ready, b"").unwrap();
    while !of(ASKED[2]).exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let (private, pss) = (kib("Private_Dirty") - before, kib("Pss"));
    fs::write(of(ASKED[1]), format!("{open} {select} {first} {private} {pss}")).unwrap();
    drop(samples);
    // Nobody leaves before all have measured.
    std::thread::sleep(Duration::from_millis(500));
}

/// A sum over this process's memory, in KiB.
fn kib(key: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = text.lines().find(|line| line.starts_with(&format!("{key}:"))).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn opened(root: &Path, say: &Path, count: usize) -> Vec<[f64; 5]> {
    let end = say.join("end");
    let files: Vec<PathBuf> = (0..count).map(|number| say.join(number.to_string())).collect();
    let children: Vec<Child> = files
        .iter()
        .map(|file| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", "another_process_opens_a_dataset"]).stdout(std::process::Stdio::null());
            command.env(ASKED[0], root).env(ASKED[1], file).env(ASKED[2], &end).spawn().unwrap()
        })
        .collect();
    while !files.iter().all(|file| file.with_extension("ready").exists()) {
        std::thread::sleep(Duration::from_millis(5));
    }
    fs::write(&end, b"").unwrap();
    children.into_iter().for_each(|mut child| assert!(child.wait().unwrap().success()));
    let numbers = files.iter().map(|file| {
        let text = fs::read_to_string(file).unwrap();
        let numbers: Vec<f64> = text.split(' ').map(|number| number.parse().unwrap()).collect();
        numbers.try_into().unwrap()
    });
    let numbers = numbers.collect();
    fs::remove_dir_all(say).unwrap();
    fs::create_dir(say).unwrap();
    numbers
}

#[test]
fn a_million_texts_are_there_at_once_in_eight_processes() {
    if std::env::var_os("MED2E3_THOROUGH").is_none() {
        return;
    }
    let (folder, say) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let root = folder.path();
    let timed = |what: &str, watch: Instant| eprintln!("{what}: {:.2} s", watch.elapsed().as_secs_f64());
    let watch = Instant::now();
    let index = write(root);
    timed("written", watch);
    let watch = Instant::now();
    Places::provide(root, &index).unwrap();
    timed("places made", watch);
    let (watch, before) = (Instant::now(), kib("Private_Dirty"));
    Texts::provide(root, &index).unwrap();
    timed("texts made", watch);
    eprintln!("memory while they were made, peak: {}", peak());
    eprintln!("private after that: {} KiB more", kib("Private_Dirty").saturating_sub(before));
    let bytes = fs::metadata(root.join(med2e3_shards::texts::FILE)).unwrap().len();
    eprintln!("{} shards, {bytes} bytes of texts", index.volumes.len() + index.samples.len());
    for count in [1, 1, PROCESSES] {
        let found = opened(root, say.path(), count);
        let pss: f64 = found.iter().map(|numbers| numbers[4]).sum();
        for [open, select, first, private, _] in &found {
            eprintln!("open {open:.3} s, selected {select:.3} s, first {BATCH} {first:.3} s, private {private} KiB");
            assert!(*private as u64 <= MOST_PRIVATE_KIB);
        }
        eprintln!("{count} processes: PSS together {} MiB", pss as u64 >> 10);
        // One copy of the file, and what each holds of its own.
        assert!(pss as u64 <= (bytes >> 10) + count as u64 * (MOST_PRIVATE_KIB + (16 << 10)));
    }
}

fn peak() -> String {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    text.lines().find(|line| line.starts_with("VmHWM")).unwrap().to_owned()
}
