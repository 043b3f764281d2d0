//! A dataset of arbitrary bytes: an error, or a dataset whose every volume and sample can be asked for.

use std::fs;

use med2e3_schemas::sample::{Split, Task};
use med2e3_shards::{Dataset, Selection};

/// The files of a dataset in one input, each after its length.
const FILES: [&str; 3] = ["dataset.json", "volumes/00000.parquet", "samples/00000.parquet"];

/// Makes a folder of these bytes and asks for all that a training asks for.
pub fn dataset(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let mut rest = bytes;
    for name in FILES {
        let Some((length, after)) = rest.split_first_chunk::<4>() else { return };
        let (file, after) = after.split_at(after.len().min(u32::from_le_bytes(*length) as usize));
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("a folder can be made");
        fs::write(path, file).expect("a file can be written");
        rest = after;
    }
    let dataset = match Dataset::open(folder.path()) {
        Ok(dataset) => dataset,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let mut cell = vec![0; dataset.voxels().cell_bytes()];
    for split in Split::ALL {
        let selection = Selection { split: *split, tasks: Task::ALL.to_vec(), subset: None };
        let Ok(samples) = dataset.select_rows(&selection) else { continue };
        for row in samples.rows {
            assert_eq!(row.targets().len(), row.ids.len());
            for volume in row.volume_ids {
                let _ = dataset.read_voxels(volume, &mut cell);
            }
        }
    }
}

/// One input of the files of a dataset.
pub fn joined(files: [&[u8]; 3]) -> Vec<u8> {
    let length = |file: &[u8]| u32::try_from(file.len()).expect("a seed is small").to_le_bytes();
    files.iter().flat_map(|file| [length(file).as_slice(), file].concat()).collect()
}
