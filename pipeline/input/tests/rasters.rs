//! NRRD, MetaImage and MGH files, against SimpleITK and nibabel, and what they refuse.

mod made;
mod packed;

use std::fs;
use std::path::Path;

use made::saved;
use med2e3_input::InputError;
use med2e3_input::volume::{self, Buffers, ReadLimits, Volume};

fn read(name: &str, bytes: &[u8]) -> Result<Volume, InputError> {
    let (_folder, path) = saved(name, bytes);
    volume::read(&path, &ReadLimits::default())
}

/// Reason and message of a refusal.
fn refused(name: &str, bytes: &[u8]) -> (&'static str, String) {
    let error = read(name, bytes).unwrap_err();
    (error.reason().as_str(), error.to_string())
}

#[test]
fn all_files_agree_with_simpleitk_and_nibabel() {
    // tests/golden/rasters.py wrote the files and the expected values.
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/rasters");
    let buffers = Buffers::default();
    let mut cases = 0;
    for line in include_str!("golden/rasters.txt").lines().filter(|line| !line.starts_with('#')) {
        let [name, codes, spacing, shown] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let volume = volume::read_with(&golden.join(name), &ReadLimits::default(), &buffers).unwrap();
        let numbers = |text: &str| text.split(',').map(|number| number.parse().unwrap()).collect::<Vec<f64>>();
        let (shape, values) = shown.split_once(':').unwrap();
        assert_eq!(volume.orientation.as_deref(), Some(codes), "{line}");
        assert_eq!(volume.shape_dhw.map(|dim| dim.to_string()).join("x"), shape, "{line}");
        let expected: Vec<f32> = numbers(values).into_iter().map(|value| value as f32).collect();
        assert_eq!(volume.values_dhw(), expected, "{line}");
        assert_eq!(volume.hu_known, expected.iter().any(|value| *value <= -500.0), "{line}");
        if let Some(found) = volume.spacing_mm_dhw {
            let (mut found, mut stated) = (found.to_vec(), numbers(spacing));
            assert!((f64::from(found[0]) - stated[2]).abs() < 1e-5, "{line}");
            found.sort_by(f32::total_cmp);
            stated.sort_by(f64::total_cmp);
            assert!(found.iter().zip(&stated).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-5), "{line}");
        } else {
            // ITK makes 1 of a spacing that the file does not state.
            assert_eq!(spacing, "1,1,1", "{line}");
        }
        cases += 1;
    }
    assert_eq!(cases, 75);
}

const NRRD: &str = "NRRD0004\ntype: short\ndimension: 3\nsizes: 2 3 4\nencoding: raw\nendian: little\n";
const META: &str = "ObjectType = Image\nNDims = 3\nBinaryData = True\nDimSize = 2 3 4\nElementType = MET_SHORT\n";

fn with_numbers(header: &str) -> Vec<u8> {
    [header.as_bytes(), &[1; 48]].concat()
}

#[test]
fn axes_of_one_voxel_are_dropped() {
    let header = NRRD.replace("dimension: 3", "dimension: 5").replace("2 3 4", "1 2 3 4 1");
    let directions = "space: LPS\nspace directions: none (1,0,0) (0,1,0) (0,0,2) none\n\n";
    let volume = read("a.nrrd", &with_numbers(&format!("{header}{directions}"))).unwrap();
    assert_eq!((volume.shape_dhw, volume.spacing_mm_dhw), ([4, 3, 2], Some([2.0, 1.0, 1.0])));
    let header = META.replace("NDims = 3", "NDims = 4").replace("2 3 4", "2 3 4 1");
    let file = with_numbers(&format!("{header}ElementDataFile = LOCAL\n"));
    assert_eq!(read("a.mha", &file).unwrap().shape_dhw, [4, 3, 2]);
}

#[test]
fn units_other_than_millimeters_are_converted() {
    let header =
        format!("{NRRD}space: LPS\nspace units: \"cm\" \"cm\" \"cm\"\nspace directions: (1,0,0) (0,1,0) (0,0,2)\n\n");
    assert_eq!(read("a.nrrd", &with_numbers(&header)).unwrap().spacing_mm_dhw, Some([20.0, 10.0, 10.0]));
}

#[test]
fn what_is_not_supported_is_named() {
    let nrrd = |from: &str, to: &str| refused("a.nrrd", &with_numbers(&format!("{}\n", NRRD.replace(from, to))));
    for (from, to, reason, said) in [
        ("raw", "ascii", "unsupported_format", "ascii"),
        ("raw", "hex", "unsupported_format", "hex"),
        ("raw", "bzip2", "unsupported_format", "bzip2"),
        ("raw", "zrl", "bad_header", "raw or gzip"),
        ("raw", "gzip", "bad_header", "encoding"),
        ("short", "block", "unsupported_format", "blocks"),
        ("short", "half", "bad_header", "half"),
        ("dimension: 3", "dimension: 4", "bad_header", "3 sizes of 4 axes"),
        ("dimension: 3\nsizes: 2 3 4", "dimension: 4\nsizes: 2 3 2 2", "unsupported_format", "2 x 3 x 2 x 2"),
        ("dimension: 3\nsizes: 2 3 4", "dimension: 2\nsizes: 6 4", "unsupported_format", "6 x 4 on 2 axes"),
        ("2 3 4", "2 0 4", "bad_header", "found 0"),
        ("2 3 4", "2 -3 4", "bad_header", "2 -3 4"),
        ("endian: little\n", "", "bad_header", "little or big"),
        ("2 3 4", "2000000 3000000 4000000", "bad_header", "2^64"),
        ("2 3 4", "2000000 3000000 4", "lying_header", "asks for"),
        ("endian", "space directions: none (1,0,0) (0,1,0)\nendian", "unsupported_format", "2 x 3 x 4"),
        ("endian", "space directions: (1,0,0) (0,1) (0,1,0)\nendian", "bad_header", "space directions"),
        ("endian", "byte skip: -7\nendian", "bad_header", "byte skip"),
        ("endian", "line skip: 99\nendian", "bad_header", "line skip"),
    ] {
        let (found, message) = nrrd(from, to);
        assert!(found == reason && message.contains(said), "{to}: {found} {message}");
    }
    let meta = |from: &str, to: &str| {
        refused("a.mha", &with_numbers(&format!("{}ElementDataFile = LOCAL\n", META.replace(from, to))))
    };
    for (from, to, reason, said) in [
        ("BinaryData = True", "BinaryData = False", "unsupported_format", "text"),
        ("NDims = 3", "ElementNumberOfChannels = 3\nNDims = 3", "unsupported_format", "3 channels"),
        ("NDims = 3", "NDims = 2", "bad_header", "3 lengths of 2 axes"),
        ("NDims = 3\nBinaryData = True\nDimSize = 2 3 4", "NDims = 2\nDimSize = 6 4", "unsupported_format", "6 x 4"),
        ("2 3 4", "2 3 0", "bad_header", "DimSize"),
        ("2 3 4", "2000000 3000000 4000000", "bad_header", "2^64"),
        ("2 3 4", "2000000 3000000 4", "lying_header", "asks for"),
        ("MET_SHORT", "MET_STRING", "bad_header", "MET_STRING"),
        ("NDims = 3", "NDims = 3\nTransformMatrix = 1 0 0 1", "bad_header", "4 numbers for 3 axes"),
        ("NDims = 3", "NDims = 3\nHeaderSize = -3", "bad_header", "HeaderSize"),
        ("NDims = 3", "NDims = 3\nCompressedData = True", "corrupt_gzip", "a.mha"),
    ] {
        let (found, message) = meta(from, to);
        assert!(found == reason && message.contains(said), "{to}: {found} {message}");
    }
    assert_eq!(refused("a.mha", META.as_bytes()).0, "bad_header");
    assert_eq!(refused("a.nrrd", NRRD.as_bytes()).0, "lying_header");
    assert!(refused("b.mha", b"ObjectType = Image\nNDims = 3\n").1.contains("ElementDataFile"));
    assert_eq!(refused("c.nrrd", b"NRRD0004\ntype: short\n").0, "bad_header");
}

#[test]
fn no_path_out_of_the_folder_is_followed() {
    for name in ["../numbers.raw", "/etc/hostname", "sub/numbers.raw", "..", "sub/../../numbers.raw", ""] {
        let (folder, _) = saved("numbers.raw", &[1; 48]);
        fs::create_dir_all(folder.path().join("in/sub")).unwrap();
        fs::write(folder.path().join("in/sub/numbers.raw"), [1; 48]).unwrap();
        let path = folder.path().join("in/a.nhdr");
        fs::write(&path, format!("{NRRD}data file: {name}\n")).unwrap();
        let error = volume::read(&path, &ReadLimits::default()).unwrap_err();
        assert_eq!(error.reason().as_str(), "bad_header", "{name}: {error}");
        let meta = path.with_file_name("a.mhd");
        fs::write(&meta, format!("{META}ElementDataFile = {name}\n")).unwrap();
        let error = volume::read(&meta, &ReadLimits::default()).unwrap_err();
        assert_eq!(error.reason().as_str(), "bad_header", "{name}: {error}");
        assert!(name.is_empty() || !error.to_string().contains(name), "{error}");
    }
    let missing = refused("a.nhdr", format!("{NRRD}data file: numbers.raw\n").as_bytes());
    assert!(missing.0 == "not_found" && missing.1.contains("numbers.raw"), "{}", missing.1);
    for list in ["LIST\na.raw\n", "slice%03d.raw 1 4 1"] {
        assert_eq!(refused("a.nhdr", format!("{NRRD}data file: {list}\n").as_bytes()).0, "unsupported_format");
        assert_eq!(refused("a.mhd", format!("{META}ElementDataFile = {list}\n").as_bytes()).0, "unsupported_format");
    }
}

#[test]
fn a_slope_that_is_not_applied_is_noted() {
    let header = META.replace("NDims = 3", "NDims = 3\nElementToIntensityFunctionSlope = 2");
    let volume = read("a.mha", &with_numbers(&format!("{header}ElementDataFile = LOCAL\n"))).unwrap();
    assert!(volume.notes[0].contains("slope 2"), "{:?}", volume.notes);
}

#[test]
fn the_limit_holds_for_compressed_numbers() {
    let zeros = vec![0_u8; 8 << 20];
    let header = "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 256 256 128\nencoding: gzip\n\n";
    let (_folder, path) = saved("a.nrrd", &[header.as_bytes(), &made::gzip(&zeros)].concat());
    let read = |max_decoded_bytes| volume::read(&path, &ReadLimits { max_decoded_bytes });
    assert_eq!(read((8 << 20) - 1).unwrap_err().reason().as_str(), "too_large");
    assert_eq!(read(8 << 20).unwrap().samples.len(), 8 << 20);
    // Numbers that are more than the header states, and fewer.
    for (sizes, reason) in [("256 256 2", "lying_header"), ("256 256 129", "lying_header")] {
        let header = header.replace("256 256 128", sizes);
        assert_eq!(refused("a.nrrd", &[header.as_bytes(), &made::gzip(&zeros)].concat()).0, reason);
    }
    let meta = "ObjectType = Image\nNDims = 3\nCompressedData = True\nDimSize = 256 256 128\nElementType = MET_UCHAR\n";
    let meta = format!("{meta}ElementDataFile = LOCAL\n");
    let packed = packed::zlib(&zeros);
    assert_eq!(self::read("a.mha", &[meta.as_bytes(), &packed].concat()).unwrap().samples.len(), 8 << 20);
    let tail = [meta.as_bytes(), &packed, b"more bytes"].concat();
    assert_eq!(self::read("a.mha", &tail).unwrap().samples.len(), 8 << 20);
    assert_eq!(refused("a.mha", &[meta.as_bytes(), &packed[..packed.len() - 5]].concat()).0, "corrupt_gzip");
    let more = meta.replace("256 256 128", "256 256 129");
    assert_eq!(refused("a.mha", &[more.as_bytes(), &packed].concat()).0, "lying_header");
}
