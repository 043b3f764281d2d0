//! A dataset whose places and texts are kept: no shard is opened before it is read, what is wrong with one is said as before, and
//! selections are those that the rows themselves give.

use std::collections::HashSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use med2e3_schemas::Id;
use med2e3_schemas::codec::VoxelCodec;
use med2e3_schemas::index::{DatasetIndex, ShardEntry};
use med2e3_schemas::sample::{self, IMAGE3D, SampleRow, Split, Task};
use med2e3_schemas::subset::Subset;
use med2e3_schemas::volume::{self, VolumeRow, VoxelCode, VoxelFormat};
use med2e3_shards::index::list_files_again;
use med2e3_shards::{Dataset, PageLayout, Places, Samples, Selection, ShardWriter, Texts, subset};

const VOLUMES: usize = 12;
/// Named by samples, and in no shard.
const MISSING: usize = 2;
const SAMPLES: usize = 60;
const FORMAT: VoxelFormat = VoxelFormat { shape_dhw: [1, 4, 4], code: VoxelCode::U8, scale: 1.0 / 255.0, offset: 0.0 };

fn volume_id(number: usize) -> Id {
    Id::of_volume(&format!("volume {number}"))
}

/// Of every task and split, of one, two and no volume.
fn row(number: usize) -> SampleRow {
    let shown = (0..[1, 2, 1, 0][number % 4]).map(|at| volume_id((number + 5 * at) % (VOLUMES + MISSING)));
    let volumes: Vec<Id> = shown.collect();
    let ids: Vec<i32> = volumes.iter().map(|_| IMAGE3D).chain([1, 2, number as i32]).collect();
    let end = ids.len() as u32;
    SampleRow {
        task: Task::ALL[number % 3],
        split: Split::ALL[number / 3 % 3],
        question: format!("What of {number}?"),
        answer: format!("This of {number}."),
        ..SampleRow::of_ids(Id::of_volume(&format!("text {number}")), volumes, ids, vec![(end - 1, end)])
    }
}

fn write(root: &Path, rows: &[SampleRow]) -> DatasetIndex {
    ["volumes", "samples", "subsets"].iter().for_each(|folder| fs::create_dir_all(root.join(folder)).unwrap());
    let cell = |number: usize| VolumeRow::of_cell(volume_id(number), vec![number as u8; FORMAT.cell_bytes()]);
    let volumes: Vec<VolumeRow> = (0..VOLUMES).map(cell).collect();
    let volumes = volumes.chunks(5).enumerate().map(|(shard, rows)| {
        let path = format!("volumes/{shard:05}.parquet");
        let layout = PageLayout::Volumes(VoxelCodec::Zstd1);
        let mut writer = ShardWriter::create(&root.join(&path), volume::schema(&FORMAT), layout).unwrap();
        writer.write(&volume::to_batch(rows, &FORMAT)).unwrap();
        writer.commit(&path, &[]).unwrap()
    });
    let samples = rows.chunks(25).enumerate().map(|(shard, rows)| {
        let path = format!("samples/{shard:05}.parquet");
        let mut writer = ShardWriter::create(&root.join(&path), sample::schema(), PageLayout::Samples).unwrap();
        rows.chunks(10).for_each(|group| writer.write(&sample::to_batch(group)).unwrap());
        writer.commit(&path, &[]).unwrap()
    });
    let index = DatasetIndex::of_shards(FORMAT, volumes.collect(), samples.collect());
    med2e3_shards::write_index(root, &index).unwrap();
    index
}

/// A dataset as prepare leaves it.
fn dataset() -> (tempfile::TempDir, DatasetIndex) {
    let folder = tempfile::tempdir().unwrap();
    let index = write(folder.path(), &(0..SAMPLES).map(row).collect::<Vec<_>>());
    Places::provide(folder.path(), &index).unwrap();
    Texts::provide(folder.path(), &index).unwrap();
    (folder, index)
}

fn every(split: Split) -> Selection {
    Selection { split, tasks: Task::ALL.to_vec(), subset: None }
}

fn said(root: &Path) -> String {
    let error = Dataset::open(root).err();
    let error = error.as_ref().map(|error| error as &dyn std::error::Error);
    std::iter::successors(error, |error| error.source()).map(|error| error.to_string() + ": ").collect()
}

#[test]
fn no_footer_is_read_before_it_is_asked_for() {
    let (folder, index) = dataset();
    let root = folder.path();
    // Of the same size, and no footer in it.
    for ShardEntry { path, bytes, .. } in index.volumes.iter().chain(&index.samples) {
        let file = File::options().write(true).open(root.join(path)).unwrap();
        file.write_all_at(b"no footer", bytes - 9).unwrap();
    }
    let dataset = Dataset::open(root).unwrap();
    let samples = dataset.select(&every(Split::Train)).unwrap();
    let mut cell = vec![0; FORMAT.cell_bytes()];
    for position in 0..samples.len() {
        for volume in samples.text(position).unwrap().volume_ids.iter() {
            dataset.read_cell(volume, &mut cell).unwrap();
            assert!(volume_id(cell[0].into()) == volume && cell.iter().all(|code| *code == cell[0]));
        }
    }
    // Who asks for columns hears of it, with the shard.
    for error in [
        dataset.read_voxels(volume_id(0), &mut cell).unwrap_err(),
        dataset.volume_shards().next().unwrap().err().unwrap(),
        dataset.rows(&samples).unwrap_err(),
    ] {
        assert!(error.to_string().contains("00000.parquet"), "{error}");
    }
    // Without places every footer is read at once.
    fs::remove_file(root.join("feed/places.bin")).unwrap();
    assert!(said(root).contains("volumes/00000.parquet"));
}

#[test]
fn what_is_wrong_with_a_shard_is_said_as_where_its_footer_is_read() {
    let (folder, index) = dataset();
    let root = folder.path();
    let outside = tempfile::tempdir().unwrap();
    let kept = outside.path().join("feed");
    for path in ["volumes/00001.parquet", "samples/00001.parquet"] {
        let (shard, away) = (root.join(path), outside.path().join("away"));
        let whole = fs::read(&shard).unwrap();
        let bytes = whole.len();
        let damage: [(&str, &dyn Fn()); 6] = [
            ("no such file", &|| ()),
            ("leads out of it", &|| std::os::unix::fs::symlink(&away, &shard).unwrap()),
            ("a folder", &|| fs::create_dir(&shard).unwrap()),
            ("parquet", &|| fs::write(&shard, &whole[..bytes - 7]).unwrap()),
            ("parquet", &|| fs::write(&shard, b"").unwrap()),
            ("another name", &|| fs::hard_link(root.join(path.replace('1', "0")), &shard).unwrap()),
        ];
        for (words, make) in damage {
            fs::rename(&shard, &away).unwrap();
            make();
            let new = said(root);
            fs::rename(root.join("feed"), &kept).unwrap();
            let old = said(root);
            fs::rename(&kept, root.join("feed")).unwrap();
            assert!(new == old && new.contains(words) && !new.is_empty(), "{path}: {new} and {old}");
            let _ = fs::remove_file(&shard).or_else(|_| fs::remove_dir(&shard));
            fs::rename(&away, &shard).unwrap();
        }
    }
    assert_eq!(said(root), "");
    // Places of other shards tell nothing: what is kept for the index that was is not what is there.
    let mut other = index.clone();
    other.volumes.truncate(2);
    med2e3_shards::write_index(root, &other).unwrap();
    let set = Dataset::open(root).unwrap();
    assert!(set.has(volume_id(9)) && !set.has(volume_id(10)));
    assert_eq!(set.places().unwrap().all().len(), 10);
}

#[test]
fn a_shard_that_changes_behind_the_opening_is_words() {
    let (folder, index) = dataset();
    let root = folder.path();
    let set = Dataset::open(root).unwrap();
    let mut cell = vec![0; FORMAT.cell_bytes()];
    // Gone before it was opened, cut, and one with other rows.
    fs::remove_file(root.join("volumes/00000.parquet")).unwrap();
    let error = set.read_cell(volume_id(0), &mut cell).unwrap_err();
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("no such file"), "{error}");
    File::options().write(true).open(root.join("volumes/00001.parquet")).unwrap().set_len(100).unwrap();
    let error = set.read_cell(volume_id(5), &mut cell).unwrap_err().to_string();
    assert!(error.contains("found 100 bytes"), "{error}");
    fs::copy(root.join("samples/00002.parquet"), root.join("samples/00000.parquet")).unwrap();
    let samples = set.select(&every(Split::Test)).unwrap();
    let error = set.rows(&samples).unwrap_err().to_string();
    let expected = format!("expected 25 rows in {} bytes, found 10 rows", index.samples[0].bytes);
    assert!(error.contains(&expected), "{error}");
}

/// Sorted rows of a selection and how many lack a volume, by its words.
fn naive(selection: &Selection, subset: Option<&HashSet<Id>>) -> (Vec<SampleRow>, u64) {
    let wanted = |row: &SampleRow| {
        row.split == selection.split
            && selection.tasks.contains(&row.task)
            && subset.is_none_or(|ids| ids.contains(&row.sample_id))
    };
    let is_there = |row: &SampleRow| row.volume_ids.iter().all(|id| (0..VOLUMES).any(|n| volume_id(n) == *id));
    let (mut rows, without): (Vec<SampleRow>, Vec<SampleRow>) =
        (0..SAMPLES).map(row).filter(wanted).partition(is_there);
    rows.sort_by_key(|row| row.sample_id);
    (rows, without.len() as u64)
}

fn assert_selected(dataset: &Dataset, selection: &Selection, subset: Option<&HashSet<Id>>) {
    let (rows, without) = naive(selection, subset);
    let selected = dataset.select(selection).unwrap();
    assert_eq!((selected.len(), selected.without_volume), (rows.len(), without));
    let hash = rows.iter().fold(blake3::Hasher::new(), |mut hasher, row| {
        hasher.update(&row.sample_id.0);
        hasher
    });
    assert_eq!(selected.hash, *hash.finalize().as_bytes());
    assert_eq!(dataset.rows(&selected).unwrap(), rows);
    let all = dataset.select_rows(selection).unwrap();
    assert_eq!((all.rows, all.without_volume, all.hash), (rows.clone(), without, selected.hash));
    let answers: Vec<String> = rows.iter().map(|row| row.answer.clone()).collect();
    assert_eq!(dataset.answers(&selected).unwrap(), answers);
    // The same, and some of them, in another order and twice.
    let in_memory = Samples::of_rows(&rows);
    assert_eq!(in_memory.hash, selected.hash);
    let picked = selected.picked([rows.len() - 1, 0, 0]);
    assert_eq!(dataset.rows(&picked).unwrap(), [&rows[rows.len() - 1], &rows[0], &rows[0]].map(Clone::clone));
    for (position, row) in rows.iter().enumerate() {
        for samples in [&selected, &in_memory] {
            let text = samples.text(position).unwrap();
            assert_eq!((text.ids, text.volume_ids.iter().collect()), (row.ids.as_slice(), row.volume_ids.clone()));
            assert_eq!((samples.id(position), samples.task(position)), (row.sample_id, row.task));
            let (volumes, ids) = (samples.volume_count(position), samples.ids_len(position));
            assert_eq!((volumes, ids), (row.volume_ids.len(), row.ids.len()));
        }
    }
    // Volumes are numbered as they are sorted.
    let mut by_number: Vec<usize> = (0..rows.len()).collect();
    by_number.sort_by_key(|position| selected.first_volume(*position));
    assert!(by_number.is_sorted_by_key(|position| rows[*position].volume_ids.first()));
}

#[test]
fn selections_are_those_that_the_rows_give() {
    let (folder, _) = dataset();
    let root = folder.path();
    let name = "few".to_owned();
    let ids: HashSet<Id> = (0..SAMPLES).filter(|n| n % 7 < 3).map(|n| row(n).sample_id).collect();
    let drawn = Subset { name: name.clone(), seed: 1, counts: Vec::new(), queries: Vec::new() };
    subset::write(root, &drawn, &ids.iter().copied().collect::<Vec<_>>(), None).unwrap();
    list_files_again(root).unwrap();
    for is_kept in [true, false] {
        let dataset = Dataset::open(root).unwrap();
        for &split in Split::ALL {
            for tasks in [Task::ALL.to_vec(), vec![Task::Caption], vec![Task::ClosedVqa, Task::OpenVqa]] {
                assert_selected(&dataset, &Selection { split, tasks: tasks.clone(), subset: None }, None);
                let few = Selection { split, tasks, subset: Some(name.clone()) };
                assert_selected(&dataset, &few, Some(&ids));
            }
        }
        let none = Selection { split: Split::Train, tasks: Vec::new(), subset: None };
        assert!(dataset.select(&none).err().unwrap().to_string().contains("no sample of split train"));
        if is_kept {
            // Then by footers, and by texts that are made now.
            fs::remove_dir_all(root.join("feed")).unwrap();
            list_files_again(root).unwrap();
        }
    }
    // A subset with a sample that is not there.
    let ids = [row(0).sample_id, Id::of_volume("nobody")];
    subset::write(root, &drawn, &ids, None).unwrap();
    list_files_again(root).unwrap();
    let few = Selection { subset: Some(name), ..every(Split::Train) };
    let error = Dataset::open(root).unwrap().select(&few).err().unwrap().to_string();
    assert!(error.contains("expected 2 samples of this dataset, found 1"), "{error}");
}

#[test]
fn an_unsound_sample_is_refused_where_it_is_selected_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut rows: Vec<SampleRow> = (0..SAMPLES).map(row).collect();
    // Two of the test split, of which the words are for the first in the shards.
    let of_test: Vec<usize> = (0..SAMPLES).filter(|n| rows[*n].split == Split::Test).collect();
    for (at, number) in of_test.iter().skip(4).take(2).enumerate() {
        rows[*number].ids.push(-7 - at as i32);
    }
    let index = write(folder.path(), &rows);
    Texts::provide(folder.path(), &index).unwrap();
    let dataset = Dataset::open(folder.path()).unwrap();
    assert!(dataset.select(&every(Split::Train)).is_ok());
    let error = dataset.select(&every(Split::Test)).err().unwrap().to_string();
    let first = &rows[of_test[4]];
    let expected = format!("{:05}.parquet: sample {}: a negative id", of_test[4] / 25, first.sample_id);
    assert!(error.contains(&expected), "{error}");
}
