//! What else lies in the folder of a series: localizers, captures, reports, directories, links, hidden files.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use dicom_core::VR;
use med2e3_input::volume::{
    DicomReader, Entry, FileKind, Folder, PassedOver, ReadLimits, Series, VolumeReader, entry_at,
};

use super::dicom_file::{SliceFile, text, word};
use super::{firsts, read, refusal, series, slice};

const CAPTURE: &str = "1.2.840.10008.5.1.4.1.1.7";

/// A series of `count` slices whose names sort behind `A` and before `z`.
fn write_series(folder: &Path, count: i16) {
    for n in 0..count {
        let mut slice = slice(f64::from(n) * 2.0, n);
        slice.put(text((0x0008, 0x0008), VR::CS, "ORIGINAL\\PRIMARY\\AXIAL"));
        slice.put(text((0x0020, 0x0013), VR::IS, &n.to_string())).write(&folder.join(format!("IM{n}")));
    }
}

/// A scout of another shape and orientation than the slices.
fn localizer(image_type: &str) -> SliceFile {
    let mut scout = SliceFile::new([3, 2], 0.0, &[9, 9, 9, 9, 9, 8]);
    scout.put(text((0x0008, 0x0008), VR::CS, image_type)).put(text((0x0020, 0x0037), VR::DS, "1\\0\\0\\0\\0\\-1"));
    scout
}

/// A page of numbers as a grey picture, without a position.
fn dose_sheet(class: &str, image_type: &str) -> SliceFile {
    let mut sheet = SliceFile::new([4, 5], 0.0, &[7; 20]);
    sheet.put(text((0x0008, 0x0016), VR::UI, class)).put(text((0x0008, 0x0008), VR::CS, image_type));
    sheet.remove((0x0020, 0x0032)).remove((0x0020, 0x0037)).remove((0x0028, 0x0030));
    sheet
}

/// An object without pixels: a report, a presentation state, a structure set, a selection of key objects.
fn without_pixels(class: &str) -> SliceFile {
    let mut object = slice(0.0, 0);
    object.put(text((0x0008, 0x0016), VR::UI, class)).remove((0x7fe0, 0x0010));
    for element in [0x0002, 0x0004, 0x0010, 0x0011, 0x0100, 0x0101, 0x0102, 0x0103] {
        object.remove((0x0028, element));
    }
    object
}

/// The directory of a disc.
fn directory() -> Vec<u8> {
    let element = |tag: [u8; 4], vr: &[u8], value: &[u8]| [&tag, vr, &[value.len() as u8, 0], value].concat();
    let meta = [
        element([2, 0, 2, 0], b"UI", b"1.2.840.10008.1.3.10"),
        element([2, 0, 0x10, 0], b"UI", b"1.2.840.10008.1.2.1\0"),
    ];
    let length = element([2, 0, 0, 0], b"UL", &(meta.concat().len() as u32).to_le_bytes());
    [vec![0; 128], b"DICM".to_vec(), length, meta.concat(), element([4, 0, 0x30, 0x11], b"CS", b"DISC")].concat()
}

#[test]
fn a_localizer_in_a_series_is_left_out_and_told() {
    for image_type in [
        "ORIGINAL\\PRIMARY\\LOCALIZER",
        "ORIGINAL\\PRIMARY\\LOCALIZER\\CT_SOM5 TOP",
        "DERIVED\\SECONDARY\\OTHER\\LOCALIZER",
        "ORIGINAL\\PRIMARY\\SCOUT",
    ] {
        for (name, number) in [("A", 0), ("z", 3)] {
            let folder = series();
            write_series(folder.path(), 3);
            let mut scout = localizer(image_type);
            scout.put(text((0x0020, 0x000e), VR::UI, "9.87")).write(&folder.path().join(name));
            let volume = read(folder.path()).unwrap();
            assert_eq!(firsts(&volume), [0.0, 1.0, 2.0], "{image_type}");
            let dropped = &volume.slices_dropped[..];
            assert_eq!((dropped.len(), dropped[0].slice), (1, number));
            assert_eq!(dropped[0].reason, "no slice of the volume: a localizer");
            assert!(volume.notes.is_empty());
        }
    }
}

#[test]
fn localizers_alone_are_refused_unless_they_are_asked_for() {
    let folder = series();
    for n in 0..2 {
        let mut scout = localizer("ORIGINAL\\PRIMARY\\LOCALIZER");
        scout.position([0.0, f64::from(n), 0.0]).write(&folder.path().join(n.to_string()));
    }
    for path in [folder.path().to_owned(), folder.path().join("1")] {
        let (word, message) = refusal(&path);
        assert!(word == "localizer" && message.contains("only a localizer"), "{message}");
    }
    let asked = DicomReader::with_localizers();
    let volume = asked.read(folder.path(), &ReadLimits::default()).unwrap();
    assert_eq!(
        (volume.shape_dhw, &volume.notes[..]),
        ([2, 3, 2], &["a localizer, which was asked for".to_owned()][..])
    );
    // Slices beside them are the volume all the same.
    write_series(folder.path(), 4);
    let volume = asked.read(folder.path(), &ReadLimits::default()).unwrap();
    assert_eq!((volume.shape_dhw, volume.slices_dropped.len()), ([4, 2, 3], 2));
}

#[test]
fn a_localizer_or_a_capture_stands_for_no_unreadable_slices() {
    let folder = series();
    for n in 0..3 {
        let mut slice = slice(f64::from(n), n);
        slice.format(16, 12, false).fragments(".4.110", vec![vec![0; 8]]).write(&folder.path().join(n.to_string()));
    }
    localizer("ORIGINAL\\PRIMARY\\LOCALIZER").write(&folder.path().join("A"));
    dose_sheet(CAPTURE, "DERIVED\\SECONDARY\\SCREEN SAVE").write(&folder.path().join("B"));
    let (word, message) = refusal(folder.path());
    assert!(word == "unsupported_format" && message.contains("JPEG XL"), "{message}");
}

#[test]
fn captures_in_a_series_are_left_out_and_told() {
    let screen = "DERIVED\\SECONDARY\\SCREEN SAVE";
    let classes = [
        (CAPTURE, screen),
        ("1.2.840.10008.5.1.4.1.1.7.2", screen),
        ("1.2.840.10008.5.1.4.1.1.481.2", "DERIVED\\PRIMARY"),
    ];
    for (class, image_type) in classes {
        let folder = series();
        write_series(folder.path(), 3);
        dose_sheet(class, image_type).write(&folder.path().join("A"));
        let volume = read(folder.path()).unwrap();
        assert_eq!((firsts(&volume), volume.spacing_mm_dhw), (vec![0.0, 1.0, 2.0], Some([2.0, 0.75, 0.5])));
        let told = "no slice of the volume: a secondary capture or another object about the series";
        assert_eq!(volume.slices_dropped[0].reason, told);
    }
    // A protocol page that is stored as a CT image, and one in color.
    let folder = series();
    write_series(folder.path(), 3);
    let page = dose_sheet("1.2.840.10008.5.1.4.1.1.2", "DERIVED\\SECONDARY\\OTHER\\CT_SOM5 PROT");
    page.write(&folder.path().join("A"));
    let mut color = dose_sheet(CAPTURE, screen);
    color.put(word((0x0028, 0x0002), 3)).put(text((0x0028, 0x0004), VR::CS, "RGB")).format(8, 8, false);
    color.bytes(vec![5; 60]).write(&folder.path().join("B"));
    let volume = read(folder.path()).unwrap();
    assert_eq!((firsts(&volume), volume.notes.len()), (vec![0.0, 1.0, 2.0], 0));
    assert_eq!(volume.slices_dropped[0].reason, "no slice of the volume: a secondary image without a position");
    assert!(volume.slices_dropped[1].reason.contains("found 3 samples a pixel"));
    // A series of captures is read as before.
    let folder = series();
    for n in 0..3 {
        let mut slice = slice(f64::from(n), n);
        slice.put(text((0x0008, 0x0016), VR::UI, CAPTURE)).write(&folder.path().join(n.to_string()));
    }
    assert_eq!(read(folder.path()).unwrap().shape_dhw, [3, 2, 3]);
}

#[test]
fn objects_without_pixels_are_passed_over_and_counted() {
    let classes = ["88.67", "88.59", "88.11", "11.1", "481.3", "481.5", "104.1", "66.1", "9.1.1"];
    let folder = series();
    write_series(folder.path(), 3);
    for class in classes {
        let object = without_pixels(&format!("1.2.840.10008.5.1.4.1.1.{class}"));
        let path = folder.path().join(format!("A{class}"));
        object.write(&path);
        assert_eq!(entry_at(&path).unwrap(), Entry::PassedOver(PassedOver::DicomWithoutImage), "{class}");
    }
    fs::write(folder.path().join("DICOMDIR"), directory()).unwrap();
    let volume = read(folder.path()).unwrap();
    assert_eq!((firsts(&volume), volume.slices_dropped.len()), (vec![0.0, 1.0, 2.0], 0));
    assert_eq!(volume.notes, ["10 DICOM objects without a picture passed over"]);
}

#[test]
fn a_directory_is_no_volume() {
    let folder = series();
    let path = folder.path().join("DICOMDIR");
    fs::write(&path, directory()).unwrap();
    let listed = || Folder::list(folder.path(), |_| None).unwrap();
    assert_eq!(entry_at(&path).unwrap(), Entry::PassedOver(PassedOver::DicomDirectory));
    assert_eq!(listed().series, None);
    assert!(refusal(&path).1.contains("without a picture"));
    write_series(folder.path(), 1);
    assert_eq!(listed().series, Some(Series::Dicom));
    assert_eq!(entry_at(&folder.path().join("IM0")).unwrap(), Entry::Volume(FileKind::Dicom));
}

#[test]
fn one_slice_is_told() {
    let folder = series();
    write_series(folder.path(), 1);
    for path in [folder.path().to_owned(), folder.path().join("IM0")] {
        assert_eq!(read(&path).unwrap().notes, ["one slice only"]);
    }
}

#[test]
fn links_are_read_as_files_and_hidden_files_never_count() {
    let (folder, elsewhere) = (series(), series());
    write_series(elsewhere.path(), 4);
    for n in 0..4 {
        symlink(elsewhere.path().join(format!("IM{n}")), folder.path().join(format!("IM{n}.dcm"))).unwrap();
    }
    symlink(elsewhere.path(), folder.path().join("more")).unwrap();
    let apple_double = [&[0, 5, 0x16, 7, 0, 2, 0, 0][..], b"Mac OS X        ", &[0; 300]].concat();
    for name in ["._IM0.dcm", ".DS_Store", ".IM1.dcm.swp"] {
        fs::write(folder.path().join(name), &apple_double).unwrap();
    }
    // A copy that was not finished.
    let whole = fs::read(elsewhere.path().join("IM1")).unwrap();
    fs::write(folder.path().join(".IM1.dcm.Xa2bC9"), &whole[..whole.len() / 2]).unwrap();
    fs::write(folder.path().join("README.txt"), "notes").unwrap();
    let volume = read(folder.path()).unwrap();
    assert_eq!((firsts(&volume), volume.slices_dropped.len()), (vec![0.0, 1.0, 2.0, 3.0], 0));
    assert!(volume.notes.is_empty());
}

#[test]
fn a_file_named_as_dicom_that_is_none_is_told() {
    let folder = series();
    write_series(folder.path(), 3);
    fs::write(folder.path().join("IM1.dcm"), "").unwrap();
    fs::write(folder.path().join("IM9.IMA"), "version https://git-lfs.github.com/spec/v1\n").unwrap();
    let volume = read(folder.path()).unwrap();
    let told = "unreadable: expected a DICOM file, found another format";
    assert_eq!(volume.slices_dropped.iter().map(|dropped| dropped.slice).collect::<Vec<_>>(), [2, 4]);
    assert!(volume.slices_dropped.iter().all(|dropped| dropped.reason == told));
}

#[test]
fn frames_of_reference_matter_only_where_positions_do_not_fit() {
    let folder = series();
    let write = |heights: &[f64], changed: &dyn Fn(usize, &mut SliceFile)| {
        fs::read_dir(folder.path()).unwrap().for_each(|entry| fs::remove_file(entry.unwrap().path()).unwrap());
        for (n, height) in heights.iter().enumerate() {
            let mut slice = slice(*height, n as i16);
            slice.put(text((0x0020, 0x0052), VR::UI, &format!("9.87.{}", n / 2)));
            changed(n, &mut slice);
            slice.write(&folder.path().join(n.to_string()));
        }
    };
    write(&[0.0, 2.5, 5.0, 7.5, 10.0, 12.5], &|_, _| {});
    let volume = read(folder.path()).unwrap();
    assert_eq!((volume.shape_dhw[0], volume.spacing_mm_dhw), (6, Some([2.5, 0.75, 0.5])));
    assert_eq!(volume.notes, ["3 frames of reference: slices are in one volume since their positions fit"]);
    // A gap; a nearer slice; a shift in the plane; no positions.
    write(&[0.0, 2.5, 5.0, 10.0, 12.5], &|_, _| {});
    assert!(refusal(folder.path()).1.contains("3 frames of reference, and positions at uneven distances"));
    write(&[0.0, 2.5, 5.0, 6.0, 8.5, 11.0], &|_, _| {});
    assert_eq!(refusal(folder.path()).0, "mixed_series");
    write(&[0.0, 2.5, 5.0, 7.5], &|n, slice| {
        slice.position([if n == 2 { -8.0 } else { -10.0 }, -20.0, n as f64 * 2.5]);
    });
    assert_eq!(refusal(folder.path()).0, "mixed_series");
    write(&[0.0, 2.5, 5.0, 7.5], &|n, slice| {
        slice.remove((0x0020, 0x0032)).put(text((0x0020, 0x0013), VR::IS, &n.to_string()));
    });
    assert!(refusal(folder.path()).1.contains("slices without positions"));
}
