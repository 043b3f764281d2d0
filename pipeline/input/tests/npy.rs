//! NumPy arrays: compared with files that NumPy wrote; refused files.

use std::fs;
use std::path::{Path, PathBuf};

use med2e3_input::volume::{self, ReadLimits, Rescale, Volume};
use med2e3_input::{InputError, recipe};
use tempfile::TempDir;

/// A version 1 file with this dictionary.
fn file(dictionary: &str, data: &[u8]) -> Vec<u8> {
    [b"\x93NUMPY\x01\x00", &(dictionary.len() as u16).to_le_bytes()[..], dictionary.as_bytes(), data].concat()
}

fn plain(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    file(&format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n"), data)
}

fn saved(bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npy");
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn read(bytes: &[u8]) -> Result<Volume, InputError> {
    let (_folder, path) = saved(bytes);
    volume::read(&path, &ReadLimits::default())
}

fn refused(bytes: &[u8]) -> &'static str {
    let error = read(bytes).unwrap_err();
    assert!(error.to_string().contains("a.npy"), "{error}");
    error.reason().as_str()
}

#[test]
fn every_type_agrees_with_numpy() {
    // tests/golden/npy.py wrote the files and the expected values.
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/npy");
    let mut cases = 0;
    for line in include_str!("golden/npy.txt").lines().filter(|line| !line.starts_with('#')) {
        let (name, rest) = line.split_once(' ').unwrap();
        let (shape, values) = rest.split_once(':').unwrap();
        let volume = volume::read(&golden.join(name), &ReadLimits::default()).unwrap();
        assert_eq!(volume.shape_dhw.map(|dim| dim.to_string()).join("x"), shape, "{name}");
        let values = values.split(',').map(|value| value.parse().unwrap()).collect::<Vec<f32>>();
        assert_eq!(volume.values_dhw(), values, "{name}");
        assert_eq!((volume.rescale, volume.orientation, volume.hu_known), (Rescale::IDENTITY, None, false));
        cases += 1;
    }
    assert_eq!(cases, 17);
}

#[test]
fn both_array_orders_give_the_same_volume() {
    let value = |d: usize, h: usize, w: usize| (d * 37 + h * 11 + w * 5) as u8 % 97;
    let (mut c, mut fortran) = (Vec::new(), Vec::new());
    (0..6).for_each(|d| (0..7).for_each(|h| (0..8).for_each(|w| c.push(value(d, h, w)))));
    (0..8).for_each(|w| (0..7).for_each(|h| (0..6).for_each(|d| fortran.push(value(d, h, w)))));
    let one = read(&file("{'descr': '|u1', 'fortran_order': False, 'shape': (6, 7, 8)}", &c)).unwrap();
    let other = read(&file("{'descr': '|u1', 'fortran_order': True, 'shape': (6, 7, 8)}", &fortran)).unwrap();
    assert_eq!(one.samples_dhw(), other.samples_dhw());
    assert_eq!(one.samples.get(1), f64::from(value(0, 0, 1)));
    let mut voxels = [Vec::new(), Vec::new()];
    let infos = [&one, &other].map(|volume| recipe::m3d(volume, [4, 9, 5], &mut voxels[0]).unwrap());
    recipe::m3d(&one, [4, 9, 5], &mut voxels[1]).unwrap();
    assert_eq!(infos[0], infos[1]);
    assert_eq!(voxels[0], voxels[1]);
}

#[test]
fn arrays_that_are_not_volumes_of_numbers_are_refused() {
    for (descr, shape) in [
        ("|O", "(2, 3, 4)"),
        ("<c8", "(2, 3, 4)"),
        ("<U1", "(2, 3, 4)"),
        ("<M8[ns]", "(2, 3, 4)"),
        ("", "(2, 3, 4)"),
        ("<f4", "(6, 4)"),
        ("<f4", "()"),
        ("<f4", "(2, 1, 3, 4)"),
        ("<f4", "(0, 3, 4)"),
    ] {
        assert_eq!(refused(&plain(descr, shape, &[0; 192])), "unsupported_format", "{descr} {shape}");
    }
    assert!(read(&plain("|O", "(2, 3, 4)", &[])).unwrap_err().to_string().contains("Python objects"));
    // Text of an unsupported header is not repeated.
    let named = plain("<f4", "(2, 3, 4), 'name': 'A^B'", &[0; 96]);
    let error = read(&named).unwrap_err();
    assert_eq!(error.reason().as_str(), "bad_header");
    assert!(!error.to_string().contains("A^B"), "{error}");
}

#[test]
fn wrong_headers_and_cut_files_are_refused_before_memory_is_allocated() {
    let whole = plain("<i2", "(2, 3, 4)", &[1; 48]);
    assert!(read(&whole).is_ok());
    for len in 8..whole.len() - 48 {
        assert_eq!(refused(&whole[..len]), "bad_header", "{len}");
    }
    for len in whole.len() - 48..whole.len() {
        assert_eq!(refused(&whole[..len]), "lying_header", "{len}");
    }
    assert_eq!(refused(&plain("<f8", "(1000000, 1000000, 100000)", &[0; 96])), "lying_header");
    assert_eq!(refused(&plain("<f8", "(18446744073709551615, 18446744073709551615, 2)", &[])), "bad_header");
    assert_eq!(refused(b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}"), "bad_header");
    assert_eq!(refused(b"\x93NUMPY\x09\x00\x02\x00{}"), "bad_header");
    let (_folder, path) = saved(&whole);
    let error = volume::read(&path, &ReadLimits { max_decoded_bytes: 47 }).unwrap_err();
    assert_eq!(error.reason().as_str(), "too_large");
}
