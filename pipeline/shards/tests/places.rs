//! The feed's read of a volume by its place, beside the reader of parquet; and every way in which a shard or the places may be
//! damaged, each with words that name shard, row and volume.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use med2e3_schemas::Id;
use med2e3_schemas::codec::VoxelCodec;
use med2e3_schemas::index::DatasetIndex;
use med2e3_schemas::volume::{self, VolumeRow, VoxelCode, VoxelFormat};
use med2e3_shards::{Dataset, PageLayout, Places, ShardError, ShardWriter, places, read_index};
use med2e3_store::PositionedFile;

const VOLUMES: usize = 11;
const SHAPE: [usize; 3] = [4, 8, 8];

fn id(i: usize) -> Id {
    Id::of_volume(&i.to_string())
}

/// Codes that compress, and no two volumes alike.
fn voxels(i: usize, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| ((at / 7 + 31 * i) % 11) as u8).collect()
}

fn row(i: usize, format: &VoxelFormat) -> VolumeRow {
    VolumeRow::of_cell(id(i), voxels(i, format.cell_bytes()))
}

/// A dataset of three shards, with row groups of several rows.
fn write(root: &Path, codec: VoxelCodec, code: VoxelCode) {
    fs::create_dir_all(root.join("volumes")).unwrap();
    let format = VoxelFormat::unit_range(SHAPE, code);
    let rows: Vec<VolumeRow> = (0..VOLUMES).map(|i| row(i, &format)).collect();
    let shards = rows.chunks(4).enumerate().map(|(shard, rows)| {
        let path = format!("volumes/{shard:05}.parquet");
        let schema = volume::schema(&format);
        let mut writer = ShardWriter::create(&root.join(&path), schema, PageLayout::Volumes(codec)).unwrap();
        rows.chunks(3).for_each(|group| writer.write(&volume::to_batch(group, &format)).unwrap());
        writer.commit(&path, &[]).unwrap()
    });
    let index = DatasetIndex::of_shards(format, shards.collect(), Vec::new());
    med2e3_shards::write_index(root, &index).unwrap();
}

fn dataset(codec: VoxelCodec) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), codec, VoxelCode::U8);
    folder
}

#[test]
fn every_volume_is_what_the_reader_of_parquet_finds() {
    for code in [VoxelCode::U8, VoxelCode::I16, VoxelCode::F32] {
        let mut sizes = Vec::new();
        for codec in VoxelCodec::ALL {
            let folder = tempfile::tempdir().unwrap();
            write(folder.path(), codec, code);
            let dataset = Dataset::open(folder.path()).unwrap();
            assert!(!folder.path().join(places::FILE).exists());
            let bytes = dataset.voxels().cell_bytes();
            for i in 0..VOLUMES {
                let (mut fed, mut naive) = (vec![1; bytes], vec![2; bytes]);
                dataset.read_cell(id(i), &mut fed).unwrap();
                dataset.read_voxels(id(i), &mut naive).unwrap();
                let (shard, row) = dataset.location(id(i)).unwrap();
                let batch = shard.read_row(row, &["voxels"]).unwrap();
                let cell = arrow::array::AsArray::as_fixed_size_binary(batch.column(0)).value(0).to_vec();
                assert!(fed == voxels(i, bytes) && naive == fed && cell == fed, "{codec:?} {code:?} {i}");
            }
            let places = dataset.places().unwrap();
            assert_eq!((places.all().len(), places.codec(2)), (VOLUMES, codec));
            sizes.push(places.all().iter().map(|place| place.length).sum::<u32>());
            // It was made at the first read, and is what a second opening finds.
            assert_eq!(Places::read(folder.path()).unwrap().as_ref(), Some(places));
            assert!(dataset.read_cell(id(99), &mut vec![0; bytes]).is_err());
        }
        assert!(sizes[0] < sizes[2] && sizes[1] < sizes[2], "{sizes:?}");
    }
}

#[test]
fn a_bit_flipped_in_any_byte_of_a_payload_is_an_error_that_names_it() {
    for codec in VoxelCodec::ALL {
        let folder = dataset(codec);
        let path = folder.path().join("volumes/00001.parquet");
        let dataset = Dataset::open(folder.path()).unwrap();
        let places = dataset.places().unwrap().all().to_vec();
        let whole = fs::read(&path).unwrap();
        let mut cell = vec![0; dataset.voxels().cell_bytes()];
        let mut flipped = 0;
        for place in places.iter().filter(|place| place.shard == 1) {
            for at in place.offset..place.offset + u64::from(place.length) {
                let write = |byte: u8| {
                    use std::os::unix::fs::FileExt;
                    File::options().write(true).open(&path).unwrap().write_all_at(&[byte], at).unwrap();
                };
                write(whole[at as usize] ^ 1 << (at % 8));
                let error = dataset.read_cell(place.volume, &mut cell).unwrap_err();
                write(whole[at as usize]);
                assert!(matches!(&error, ShardError::Cell { row, volume, .. }
                    if *row == place.row as usize && *volume == place.volume));
                let words = error.to_string();
                let (row, volume) = (format!("row {}", place.row), place.volume.to_string());
                assert!(
                    words.contains("volumes/00001.parquet") && words.contains(&row) && words.contains(&volume),
                    "{words}"
                );
                flipped += 1;
            }
            dataset.read_cell(place.volume, &mut cell).unwrap();
        }
        assert!(flipped > 100, "{flipped}");
    }
}

#[test]
fn a_shard_that_changes_while_it_is_fed_is_words() {
    for codec in VoxelCodec::ALL {
        let folder = dataset(codec);
        let root = folder.path();
        let set = Dataset::open(root).unwrap();
        let mut cell = vec![0; set.voxels().cell_bytes()];
        let place = *set.places().unwrap().at(0, 2).unwrap();
        // Removed and made unreadable: who holds it open reads on.
        let path = root.join("volumes/00000.parquet");
        let whole = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        set.read_cell(place.volume, &mut cell).unwrap();
        assert!(Dataset::open(root).is_err());
        // Replaced by a file of another time, which the places do not speak of.
        fs::write(&path, &whole).unwrap();
        let set = Dataset::open(root).unwrap();
        set.read_cell(place.volume, &mut cell).unwrap();
        // Cut, in the middle of a payload and before all of them.
        for length in [place.offset + 1, 10] {
            File::options().write(true).open(&path).unwrap().set_len(length).unwrap();
            let error = set.read_cell(place.volume, &mut cell).unwrap_err().to_string();
            assert!(error.contains("row 2") && error.contains(&format!("found {length} bytes")), "{error}");
        }
        // Overwritten in place by as many other bytes.
        fs::write(&path, vec![7; whole.len()]).unwrap();
        let error = set.read_cell(place.volume, &mut cell).unwrap_err().to_string();
        assert!(error.contains("expected") && error.contains("xxh3"), "{error}");
    }
    // Where so many files are open that shards are opened for each read: removed, and replaced by one of the same bytes.
    let folder = dataset(VoxelCodec::Zstd1);
    let root = folder.path();
    let shard = root.join("volumes/00000.parquet");
    let held: Vec<PositionedFile> = (0..300).map(|_| PositionedFile::open(&shard).unwrap()).collect();
    let set = Dataset::open(root).unwrap();
    let place = *set.places().unwrap().at(0, 2).unwrap();
    let mut cell = vec![0; set.voxels().cell_bytes()];
    set.read_cell(place.volume, &mut cell).unwrap();
    let mut said = || {
        let error = set.read_cell(place.volume, &mut cell).unwrap_err();
        assert!(matches!(&error, ShardError::Unread { row: 2, volume, .. } if *volume == place.volume));
        std::error::Error::source(&error).unwrap().to_string()
    };
    let away = root.join("away");
    fs::rename(&shard, &away).unwrap();
    let gone = said();
    assert!(gone.contains("00000.parquet") && gone.contains("no such file"), "{gone}");
    fs::copy(&away, &shard).unwrap();
    let replaced = said();
    assert!(replaced.contains("00000.parquet") && replaced.contains("replaced"), "{replaced}");
    drop(held);
}

fn read(root: &Path) -> Result<(), ShardError> {
    let dataset = Dataset::open(root).unwrap();
    let mut cell = vec![0; dataset.voxels().cell_bytes()];
    (0..VOLUMES).try_for_each(|i| {
        dataset.read_cell(id(i), &mut cell)?;
        assert_eq!(cell, voxels(i, cell.len()));
        Ok(())
    })
}

/// The dataset that a process of its own is to read.
const DATASET: &str = "MED2E3_TEST_VOLUMES_OF";

/// What another process does: nothing unless it is told of a dataset.
#[test]
fn another_process_reads_the_volumes() {
    if let Some(root) = std::env::var_os(DATASET) {
        read(Path::new(&root)).unwrap();
    }
}

#[test]
fn places_of_other_shards_are_made_again_and_damaged_ones_refused() {
    let (folder, other) = (dataset(VoxelCodec::Lz4), dataset(VoxelCodec::Zstd1));
    [folder.path(), other.path()].into_iter().for_each(|root| read(root).unwrap());
    let path = folder.path().join(places::FILE);
    let own = fs::read(&path).unwrap();
    fs::copy(other.path().join(places::FILE), &path).unwrap();
    read(folder.path()).unwrap();
    // The same bytes, whoever makes them.
    assert!(fs::read(&path).unwrap() == own);

    // A bit in any byte is refused.
    let index = read_index(folder.path()).unwrap();
    for at in 0..own.len() {
        let mut bytes = own.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&path, &bytes).unwrap();
        let error = Places::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains(places::FILE), "{error}");
    }
    for cut in [0, 8, own.len() / 2, own.len() - 1] {
        fs::write(&path, &own[..cut]).unwrap();
        let error = read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("places.bin") && error.contains("made again"), "{error}");
    }
    // Nothing is written by way of a link, and the dataset is read all the same.
    let outside = tempfile::tempdir().unwrap();
    fs::remove_dir_all(folder.path().join("feed")).unwrap();
    std::os::unix::fs::symlink(outside.path(), folder.path().join("feed")).unwrap();
    let cache = tempfile::tempdir().unwrap();
    let mut other = Command::new(std::env::current_exe().unwrap());
    other.args(["--exact", "another_process_reads_the_volumes"]).env("XDG_CACHE_HOME", cache.path());
    assert!(other.env(DATASET, folder.path()).status().unwrap().success());
    let kept: Vec<_> = fs::read_dir(cache.path().join("med2e3")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(kept.len() == 1 && fs::read(kept[0].join(places::FILE)).unwrap() == own);
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    assert!(Places::provide(folder.path(), &index).is_err());
    fs::remove_file(folder.path().join("feed")).unwrap();
    // A writer of the dataset makes a damaged one again.
    Places::provide(folder.path(), &index).unwrap();
    assert!(fs::read(&path).unwrap() == own);
}

#[test]
fn places_are_only_made_of_shards_as_they_were_written() {
    let folder = dataset(VoxelCodec::Zstd1);
    let place = *Dataset::open(folder.path()).unwrap().places().unwrap().at(1, 3).unwrap();
    fs::remove_file(folder.path().join(places::FILE)).unwrap();
    let path = folder.path().join("volumes/00001.parquet");
    let mut bytes = fs::read(&path).unwrap();
    bytes[place.offset as usize] ^= 4;
    fs::write(&path, bytes).unwrap();
    let index = read_index(folder.path()).unwrap();
    let error = Places::make(folder.path(), &index, None).unwrap_err().to_string();
    assert!(error.contains("00001.parquet") && error.contains("xxh3"), "{error}");
}
