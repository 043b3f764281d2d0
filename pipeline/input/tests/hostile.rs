//! Hostile bytes: no reader panics or hangs for any file contents.

mod made;
mod packed;
mod sample;

use std::fs;

use made::{gzip, saved};
use med2e3_input::volume::{self, MetaImageReader, MghReader, NiftiReader, NpyReader, NrrdReader};
use med2e3_input::volume::{ReadLimits, SliceStackReader, VolumeReader};
use proptest::prelude::*;
use sample::sample_file;

/// Runs every reader on a file under every kind of name; volumes must be consistent.
fn read_by_all(bytes: &[u8]) {
    let limits = ReadLimits { max_decoded_bytes: 1 << 20 };
    let (folder, path) = saved("a.img", bytes);
    let names = ["a.hdr", "a.nii", "a.nii.gz", "a.npy", "a.nhdr", "a.mhd", "a.mgz", "a", "0.png", "1.jpeg"];
    names.iter().for_each(|name| fs::write(folder.path().join(name), bytes).unwrap());
    let paths = names.iter().map(|name| folder.path().join(name)).chain([path, folder.path().to_owned()]);
    for path in paths {
        let (nifti, npy) = (NiftiReader::default(), NpyReader::default());
        let (nrrd, metaimage, mgh) = (NrrdReader::default(), MetaImageReader::default(), MghReader::default());
        let readers: [&dyn VolumeReader; 6] = [&nifti, &npy, &nrrd, &metaimage, &mgh, &SliceStackReader];
        let read = readers.map(|reader| reader.read(&path, &limits)).into_iter().chain([volume::read(&path, &limits)]);
        for result in read {
            match result {
                Ok(volume) => {
                    assert_eq!(volume.values_dhw().len(), volume.shape_dhw.iter().product::<usize>());
                    let _ = med2e3_input::recipe::m3d(&volume, [2, 3, 4], &mut Vec::new());
                }
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
    }
}

/// A NIfTI-2 file of 2 x 3 x 4 zeros.
fn version_2() -> Vec<u8> {
    let mut file = vec![0; 640];
    file[..12].copy_from_slice(b"\x1c\x02\0\0n+2\0\r\n\x1a\n");
    file[12..14].copy_from_slice(&4_i16.to_le_bytes());
    for (n, dim) in [3_i64, 2, 3, 4].into_iter().enumerate() {
        file[16 + 8 * n..][..8].copy_from_slice(&dim.to_le_bytes());
    }
    file[168..176].copy_from_slice(&544_i64.to_le_bytes());
    file
}

fn array() -> Vec<u8> {
    let mut file = b"\x93NUMPY\x01\x00\x3b\x00{'descr': '<f2', 'fortran_order': True, 'shape': (2, 3, 4)}".to_vec();
    file.resize(file.len() + 48, 1);
    file
}

fn nrrd() -> Vec<u8> {
    let header = "NRRD0004\ntype: short\ndimension: 4\nsizes: 1 2 3 4\nspace: RAS\nspace directions: none (1,0,0) (0,1,0) (0,0,2)\n";
    let rest = "encoding: raw\nendian: big\nbyte skip: -1\nline skip: 0\n\n";
    [header.as_bytes(), rest.as_bytes(), &[1; 48]].concat()
}

fn metaimage() -> Vec<u8> {
    let header = "ObjectType = Image\nNDims = 3\nCompressedData = True\nTransformMatrix = 1 0 0 0 1 0 0 0 1\n";
    let rest = "ElementSpacing = 1 1 2\nDimSize = 2 3 4\nElementType = MET_SHORT\nElementDataFile = LOCAL\n";
    [header.as_bytes(), rest.as_bytes(), &packed::zlib(&[1; 48])].concat()
}

fn mgh() -> Vec<u8> {
    let mut file = vec![1; 284 + 48];
    for (n, number) in [1, 2, 3, 4, 1, 4].into_iter().enumerate() {
        file[4 * n..][..4].copy_from_slice(&i32::to_be_bytes(number));
    }
    file
}

/// Small files of every format.
fn files() -> [(&'static str, Vec<u8>); 6] {
    [
        ("a.nii", sample_file()),
        ("a.nii", version_2()),
        ("a.npy", array()),
        ("a.nrrd", nrrd()),
        ("a.mha", metaimage()),
        ("a.mgh", mgh()),
    ]
}

#[test]
fn the_unchanged_files_are_read() {
    for (name, file) in files() {
        let (_folder, path) = saved(name, &file);
        assert_eq!(volume::read(&path, &ReadLimits::default()).unwrap().samples.len(), 24);
    }
}

#[test]
fn zeros_after_an_empty_member_are_searched_in_linear_time() {
    // Each window of the zeros could be the empty member's trailer.
    let mut file = gzip(&[]);
    file.resize(4 << 20, 0);
    file.push(1);
    read_by_all(&file);
}

fn magic() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(Vec::new()),
        Just(vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]),
        Just(b"\x93NUMPY\x01\x00".to_vec()),
        Just(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec()),
        Just(vec![0xff, 0xd8, 0xff, 0xe0]),
        Just(348_u32.to_le_bytes().to_vec()),
        Just(540_u32.to_be_bytes().to_vec()),
        Just(b"NRRD0004\ntype: uchar\ndimension: 3\nsizes: ".to_vec()),
        Just(b"ObjectType = Image\nNDims = 3\nDimSize = ".to_vec()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn random_bytes_panic_no_reader(start in magic(), rest in prop::collection::vec(any::<u8>(), 0..700)) {
        read_by_all(&[start, rest].concat());
    }

    #[test]
    fn random_changes_panic_no_reader(
        file in prop::sample::select(files().map(|(_, file)| file).to_vec()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
        is_cut in prop::bool::weighted(0.2),
        packed in any::<bool>(),
    ) {
        let mut file = file;
        changes.into_iter().for_each(|(offset, byte)| {
            let offset = offset.index(file.len());
            file[offset] = byte;
        });
        let mut file = if packed { gzip(&file) } else { file };
        if is_cut {
            file.truncate(cut.index(file.len()));
        }
        read_by_all(&file);
    }
}
