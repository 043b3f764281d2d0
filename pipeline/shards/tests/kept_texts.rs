//! The file of texts beside the rows that the reader of parquet gives; who makes it, where it is kept, and what becomes of one
//! that is damaged or another dataset's.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use med2e3_schemas::Id;
use med2e3_schemas::index::{DatasetIndex, ShardEntry};
use med2e3_schemas::sample::{self, IMAGE3D, SampleRow, Split, Task};
use med2e3_schemas::volume::{VoxelCode, VoxelFormat};
use med2e3_shards::{PageLayout, ShardReader, ShardWriter, Texts, read_index, texts};

const SAMPLES: usize = 61;

fn row(number: usize, salt: usize) -> SampleRow {
    let volumes: Vec<Id> = (0..1 + number % 2).map(|at| Id::of_volume(&((number + at) / 3).to_string())).collect();
    let ids: Vec<i32> =
        volumes.iter().map(|_| IMAGE3D).chain((0..5 + number as i32 % 4).map(|at| at + salt as i32)).collect();
    let (start, end) = (volumes.len() as u32 + 2, ids.len() as u32);
    let is_caption = number.is_multiple_of(4);
    SampleRow {
        task: if is_caption { Task::Caption } else { Task::ClosedVqa },
        split: Split::ALL[number % 3],
        question: format!("What of {number}?"),
        answer: format!("This of {number}."),
        case_id: number.to_string(),
        pretrain_ids: is_caption.then(|| ids.clone()),
        question_ids_llm: vec![4; number % 5],
        question_ids_bert: (salt > 0).then(|| vec![101, 102]),
        ..SampleRow::of_ids(Id::of_volume(&format!("text {number}")), volumes, ids, vec![(start, end)])
    }
}

/// A dataset of three sample shards of several row groups, whose volumes nobody asks for.
fn write(root: &Path, salt: usize) -> DatasetIndex {
    fs::create_dir_all(root.join("samples")).unwrap();
    let rows: Vec<SampleRow> = (0..SAMPLES).map(|number| row(number, salt)).collect();
    let shards = rows.chunks(25).enumerate().map(|(shard, rows)| {
        let path = format!("samples/{shard:05}.parquet");
        let mut writer = ShardWriter::create(&root.join(&path), sample::schema(), PageLayout::Samples).unwrap();
        rows.chunks(10).for_each(|group| writer.write(&sample::to_batch(group)).unwrap());
        writer.commit(&path, &[]).unwrap()
    });
    let index = index(shards.collect());
    med2e3_shards::write_index(root, &index).unwrap();
    index
}

fn index(samples: Vec<ShardEntry>) -> DatasetIndex {
    DatasetIndex::of_shards(VoxelFormat::unit_range([4, 8, 8], VoxelCode::U8), Vec::new(), samples)
}

fn assert_same(texts: &Texts, root: &Path, index: &DatasetIndex) {
    let mut expected = Vec::new();
    for (shard, entry) in index.samples.iter().enumerate() {
        let batches = ShardReader::open(&root.join(&entry.path)).unwrap().read(&[]).unwrap();
        let rows = batches.iter().flat_map(|batch| sample::from_batch(batch).unwrap());
        expected.extend(rows.enumerate().map(|(number, row)| (row, shard as u32, number as u32)));
    }
    expected.sort_by_key(|(row, ..)| row.sample_id);
    assert_eq!((texts.len(), expected.len()), (SAMPLES, SAMPLES));
    for (at, (row, shard, number)) in expected.iter().enumerate() {
        let text = texts.at(at).unwrap();
        let spans: Vec<(u32, u32)> = text.target_spans.iter().map(|span| (span[0], span[1])).collect();
        let again = SampleRow {
            task: text.task,
            split: text.split,
            pretrain_ids: text.pretrain_ids.map(<[i32]>::to_vec),
            question_ids_llm: text.question_ids_llm.to_vec(),
            question_ids_bert: text.question_ids_bert.map(<[i32]>::to_vec),
            ..SampleRow::of_ids(text.sample_id, text.volume_ids.iter().collect(), text.ids.to_vec(), spans)
        };
        let without_strings =
            SampleRow { question: String::new(), answer: String::new(), case_id: String::new(), ..row.clone() };
        assert_eq!((again, text.shard, text.row), (without_strings, *shard, *number));
    }
}

fn dataset(salt: usize) -> (tempfile::TempDir, DatasetIndex) {
    let folder = tempfile::tempdir().unwrap();
    let index = write(folder.path(), salt);
    (folder, index)
}

#[test]
fn texts_are_the_rows_of_the_shards() {
    let (folder, index) = dataset(7);
    let root = folder.path();
    assert!(Texts::read(root).unwrap().is_none());
    let made = Texts::open(root, &index).unwrap();
    assert_same(&made, root, &index);
    made.check(root, &index).unwrap();
    // It was kept, and is the same bytes whoever makes it.
    let path = root.join(texts::FILE);
    let own = fs::read(&path).unwrap();
    assert_same(&Texts::read(root).unwrap().unwrap(), root, &index);
    fs::remove_file(&path).unwrap();
    Texts::provide(root, &index).unwrap();
    assert!(fs::read(&path).unwrap() == own);
    // No string of a sample is in it.
    assert!(!own.windows(7).any(|bytes| bytes == b"This of" || bytes == b"What of"));
    // What is mapped stays as it was when the file's name is gone.
    let kept = Texts::open(root, &index).unwrap();
    fs::remove_dir_all(root.join("feed")).unwrap();
    assert!((0..SAMPLES).all(|at| kept.at(at).is_ok()));
    // A dataset without samples has no such file.
    let none = tempfile::tempdir().unwrap();
    Texts::provide(none.path(), &crate::index(Vec::new())).unwrap();
    assert!(Texts::open(none.path(), &crate::index(Vec::new())).unwrap().is_empty());
    assert_eq!(fs::read_dir(none.path()).unwrap().count(), 0);
}

#[test]
fn texts_of_other_shards_are_made_again_and_damaged_ones_refused() {
    let ((folder, index), (other, _)) = (dataset(7), dataset(0));
    let root = folder.path();
    Texts::provide(root, &index).unwrap();
    let path = root.join(texts::FILE);
    let own = fs::read(&path).unwrap();
    Texts::provide(other.path(), &read_index(other.path()).unwrap()).unwrap();
    fs::remove_file(&path).unwrap();
    fs::copy(other.path().join(texts::FILE), &path).unwrap();
    let of_other = Texts::read(root).unwrap().unwrap();
    assert!(of_other.check(root, &index).unwrap_err().to_string().contains("the text of sample"));
    assert_same(&Texts::open(root, &index).unwrap(), root, &index);
    assert!(fs::read(&path).unwrap() == own);
    // In the tables it is refused when it is opened, in a record when that is read; a writer of the dataset makes it again.
    for at in [20, 300, 2000, own.len() - 2] {
        let mut bytes = own.clone();
        bytes[at] ^= 8;
        fs::remove_file(&path).unwrap();
        fs::write(&path, &bytes).unwrap();
        let error =
            Texts::open(root, &index).and_then(|texts| (0..SAMPLES).try_for_each(|row| texts.at(row).map(drop)));
        let words = error.unwrap_err().to_string();
        assert!(words.contains(texts::FILE) && words.contains("made again"), "{words}");
        assert!(Texts::read(root).and_then(|found| found.unwrap().check(root, &index)).is_err());
        Texts::provide(root, &index).unwrap();
        assert!(fs::read(&path).unwrap() == own, "{at}");
    }
    // What it is made of is compared with the index first.
    fs::remove_file(&path).unwrap();
    let shard = root.join("samples/00001.parquet");
    let mut bytes = fs::read(&shard).unwrap();
    bytes[100] ^= 1;
    fs::write(&shard, &bytes).unwrap();
    let words = Texts::open(root, &index).unwrap_err().to_string();
    assert!(words.contains("00001.parquet") && words.contains("xxh3"), "{words}");
    assert!(!path.exists());
}

#[test]
fn a_sample_that_is_there_twice_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("samples")).unwrap();
    let path = "samples/00000.parquet";
    let mut writer = ShardWriter::create(&folder.path().join(path), sample::schema(), PageLayout::Samples).unwrap();
    [0, 1, 0].iter().for_each(|number| writer.write(&sample::to_batch(&[row(*number, 0)])).unwrap());
    let index = index(vec![writer.commit(path, &[]).unwrap()]);
    let words = Texts::open(folder.path(), &index).unwrap_err().to_string();
    assert!(words.contains("twice") && words.contains(&row(0, 0).sample_id.to_string()), "{words}");
}

/// The dataset that a process of its own is to open.
const DATASET: &str = "MED2E3_TEST_TEXTS_OF";

/// What another process does: nothing unless it is told of a dataset.
#[test]
fn another_process_opens_the_texts() {
    if let Some(root) = std::env::var_os(DATASET).map(PathBuf::from) {
        let index = read_index(&root).unwrap();
        assert_same(&Texts::open(&root, &index).unwrap(), &root, &index);
    }
}

fn another_process(root: &Path, cache: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "another_process_opens_the_texts"]);
    command.env(DATASET, root).env("XDG_CACHE_HOME", cache).spawn().unwrap()
}

#[test]
fn processes_that_miss_them_at_once_find_one_file() {
    let ((folder, _), cache) = (dataset(7), tempfile::tempdir().unwrap());
    let all: Vec<Child> = (0..4).map(|_| another_process(folder.path(), cache.path())).collect();
    all.into_iter().for_each(|mut child| assert!(child.wait().unwrap().success()));
    let names: Vec<_> =
        fs::read_dir(folder.path().join("feed")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["texts.bin"]);
    assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 0);
}

#[test]
fn where_the_dataset_cannot_be_written_the_cache_is() {
    let ((folder, index), cache, outside) = (dataset(7), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let root = folder.path();
    // No folder is written by way of a link, by whomever, an administrator too.
    std::os::unix::fs::symlink(outside.path(), root.join("feed")).unwrap();
    let run = |cache: &Path| assert!(another_process(root, cache).wait().unwrap().success());
    run(cache.path());
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    let of_dataset: Vec<PathBuf> =
        fs::read_dir(cache.path().join("med2e3")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let mode = fs::metadata(&of_dataset[0]).unwrap().permissions().mode();
    assert_eq!(mode & 0o77, 0, "{mode:o}");
    let file = of_dataset[0].join(texts::FILE);
    let first = fs::metadata(&file).unwrap().modified().unwrap();
    run(cache.path());
    assert_eq!((of_dataset.len(), fs::metadata(&file).unwrap().modified().unwrap()), (1, first));
    // A damaged one says where it is.
    File::options().write(true).open(&file).unwrap().set_len(300).unwrap();
    assert!(Texts::read(&of_dataset[0]).unwrap_err().to_string().contains("made again"));
    // Where there is no room for a cache either they are in memory.
    let no_folder = cache.path().join("file");
    fs::write(&no_folder, b"").unwrap();
    run(&no_folder);
    assert!(Texts::provide(root, &index).is_err());
}
