//! DICOM series: which slices belong together, their order, and the notes about them.

mod dicom_file;
mod encodings;
mod files;
mod folders;
mod headers;
mod identifiers;

use std::fs;
use std::path::Path;

use dicom_core::VR;
use med2e3_input::InputError;
use med2e3_input::orientation::Plane;
use med2e3_input::volume::{self, DeepPictures, ReadLimits, Rescale, Volume};
use tempfile::TempDir;

use dicom_file::{SliceFile, text, word};

fn series() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Reads the volume; what its headers alone say must agree.
fn read(path: &Path) -> Result<Volume, InputError> {
    let read = volume::read(path, &ReadLimits::default());
    match (&read, volume::look(path, &ReadLimits::default(), DeepPictures::Clip)) {
        (Ok(volume), Ok(looked)) if volume.slices_dropped.is_empty() => {
            assert_eq!((looked.shape_dhw, looked.spacing_mm_dhw), (volume.shape_dhw, volume.spacing_mm_dhw));
            assert_eq!(looked.hu_known, Some(volume.hu_known));
        }
        (Ok(_), looked) => drop(looked.unwrap()),
        (Err(error), Err(looked)) => assert_eq!(looked.reason(), error.reason()),
        // Only decoding tells.
        (Err(_), Ok(_)) => {}
    }
    read
}

/// The reason of the error, and its message.
fn refusal(path: &Path) -> (&'static str, String) {
    let error = read(path).unwrap_err();
    (error.reason().as_str(), error.to_string())
}

/// A slice of 2x3 samples that start with `first`.
fn slice(height_mm: f64, first: i16) -> SliceFile {
    SliceFile::new([2, 3], height_mm, &[first, 1, 2, 3, 4, 5])
}

/// The first sample of each slice.
fn firsts(volume: &Volume) -> Vec<f64> {
    let [depth, height, width] = volume.shape_dhw;
    (0..depth).map(|d| volume.samples.get(d * height * width)).collect()
}

fn stored(volume: &Volume) -> Vec<f64> {
    (0..volume.samples.len()).map(|at| volume.samples.get(at)).collect()
}

#[test]
fn slices_are_ordered_by_position_whatever_their_names() {
    let folder = series();
    // Against the order of names and of instance numbers.
    for (name, height, number) in [("1.dcm", 7.5, 1), ("CT.1.3.12", 2.5, 3), ("7106", 5.0, 2), ("0", 0.0, 4)] {
        let mut slice = slice(height, height as i16);
        slice.put(text((0x0020, 0x0013), VR::IS, &number.to_string()));
        slice.write(&folder.path().join(name));
    }
    fs::write(folder.path().join("LICENSE"), "text, not DICOM").unwrap();
    fs::create_dir(folder.path().join("more")).unwrap();
    let volume = read(folder.path()).unwrap();
    assert_eq!(volume.shape_dhw, [4, 2, 3]);
    assert_eq!(firsts(&volume), [0.0, 2.0, 5.0, 7.0]);
    assert_eq!(volume.spacing_mm_dhw, Some([2.5, 0.75, 0.5]));
    assert_eq!((volume.orientation.as_deref(), volume.plane), (Some("LPS"), Some(Plane::Axial)));
    assert_eq!(volume.rescale, Rescale { slope: 1.0, intercept: -1024.0 });
    assert_eq!((volume.hu_known, volume.samples.type_name()), (true, "i16"));
    assert!(volume.slices_dropped.is_empty() && volume.notes.is_empty());
    assert_eq!((volume.slices_mm.as_deref(), volume.source_slice(1)), (Some(&[0.0, 2.5, 5.0, 7.5][..]), 3));
}

#[test]
fn one_file_is_a_volume_of_one_slice() {
    let folder = series();
    let path = folder.path().join("slice");
    slice(0.0, 9).write(&path);
    let volume = read(&path).unwrap();
    assert_eq!((volume.shape_dhw, stored(&volume)), ([1, 2, 3], vec![9.0, 1.0, 2.0, 3.0, 4.0, 5.0]));
    // Along D the slice's thickness.
    assert_eq!(volume.spacing_mm_dhw, Some([3.0, 0.75, 0.5]));
}

#[test]
fn every_plane_is_shown_in_radiological_display() {
    // Image orientation, direction of the slices, and the axis codes that nibabel's aff2axcodes gives:
    let cases = [
        ("1\\0\\0\\0\\1\\0", [0.0, 0.0, 1.0], "LPS", Plane::Axial),
        ("-1\\0\\0\\0\\-1\\0", [0.0, 0.0, 1.0], "RAS", Plane::Axial),
        ("-1\\0\\0\\0\\1\\0", [0.0, 0.0, 1.0], "RPI", Plane::Axial),
        ("1\\0\\0\\0\\0\\-1", [0.0, 1.0, 0.0], "LIP", Plane::Coronal),
        ("0\\1\\0\\0\\0\\-1", [1.0, 0.0, 0.0], "PIR", Plane::Sagittal),
    ];
    for (axes, along, codes, plane) in cases {
        let folder = series();
        for n in 0..3 {
            let mut slice = slice(0.0, n);
            slice.put(text((0x0020, 0x0037), VR::DS, axes));
            slice.position(along.map(|part| part * 4.0 * f64::from(n)));
            slice.write(&folder.path().join(n.to_string()));
        }
        let volume = read(folder.path()).unwrap();
        assert_eq!((volume.orientation.as_deref(), volume.plane), (Some(codes), Some(plane)), "{axes}");
        assert_eq!(volume.spacing_mm_dhw, Some([4.0, 0.75, 0.5]), "{axes}");
        // DICOM counts towards left and back, these numbers towards right and front.
        let towards = if plane == Plane::Axial { 1.0 } else { -1.0 };
        assert_eq!(volume.slices_mm, Some(vec![0.0, 4.0 * towards, 8.0 * towards]), "{axes}");
        // D runs towards the head, the back or the left.
        let samples = volume.samples_dhw();
        let ordered = (0..3).map(f64::from).collect::<Vec<_>>();
        let corner = |d: usize| samples.get(d * 6 + if codes == "RAS" { 5 } else { usize::from(codes == "RPI") * 2 });
        assert_eq!((0..3).map(corner).collect::<Vec<_>>(), ordered, "{axes}");
    }
}

#[test]
fn a_gap_is_reported() {
    let folder = series();
    for (n, height) in [0.0, 5.0, 10.0, 212.5, 217.5].into_iter().enumerate() {
        slice(height, n as i16).write(&folder.path().join(n.to_string()));
    }
    let volume = read(folder.path()).unwrap();
    assert_eq!(volume.notes, ["gap of 202.5 mm after slice 2 where slices are 5 mm apart"]);
    assert_eq!(volume.spacing_mm_dhw, Some([5.0, 0.75, 0.5]));
}

#[test]
fn a_tilted_gantry_is_reported() {
    let folder = series();
    for n in 0..4 {
        let mut slice = slice(0.0, n);
        // The table moves along the body; the normal of the slices leans by 12.3 degrees.
        let (sine, cosine) = 12.3f64.to_radians().sin_cos();
        slice.put(text((0x0020, 0x0037), VR::DS, &format!("1\\0\\0\\0\\{cosine:.9}\\{sine:.9}")));
        slice.position([0.0, 0.0, 5.0 * f64::from(n)]);
        slice.write(&folder.path().join(n.to_string()));
    }
    let volume = read(folder.path()).unwrap();
    assert!(
        volume.notes[0].starts_with("gantry tilted by 12.3 degrees: slices shifted by 3.2 mm"),
        "{:?}",
        volume.notes
    );
    assert_eq!(volume.notes.len(), 1);
    let [along, ..] = volume.spacing_mm_dhw.unwrap();
    assert!((f64::from(along) - 5.0 * 12.3f64.to_radians().cos()).abs() < 1e-5);
    assert_eq!(volume.orientation.as_deref(), Some("LPS"));
    // Half of a row below the first pixel, along an axis that leans.
    let middle = 12.3f64.to_radians().sin() * 0.75 / 2.0;
    for (n, mm) in volume.slices_mm.unwrap().into_iter().enumerate() {
        assert!((mm - (5.0 * n as f64 + middle)).abs() < 1e-6, "{mm}");
    }
}

#[test]
fn slices_without_positions_are_ordered_by_instance_number() {
    let folder = series();
    for (name, number) in [("a", 10), ("b", 9), ("c", 11)] {
        let mut slice = slice(0.0, number);
        slice.remove((0x0020, 0x0032)).put(text((0x0020, 0x0013), VR::IS, &number.to_string()));
        slice.write(&folder.path().join(name));
    }
    let volume = read(folder.path()).unwrap();
    assert_eq!(firsts(&volume), [9.0, 10.0, 11.0]);
    assert_eq!((&volume.spacing_mm_dhw, &volume.orientation, volume.plane), (&None, &None, None));
    assert_eq!((volume.slices_mm.as_deref(), volume.source_slice(0)), (None, 9));
    assert!(volume.notes[0].contains("instance numbers"));
    let mut without = slice(0.0, 0);
    without.remove((0x0020, 0x0032)).write(&folder.path().join("d"));
    assert_eq!(refusal(folder.path()).0, "bad_header");
}

#[test]
fn mixed_folders_are_refused_without_identifiers() {
    type Change = fn(&mut SliceFile);
    let changes: [(&str, Change); 5] = [
        ("2 series", |slice| {
            slice.put(text((0x0020, 0x000e), VR::UI, "9.87.654"));
        }),
        ("2 frames of reference", |slice| {
            slice.put(text((0x0020, 0x0052), VR::UI, "9.87.654")).position([-10.0, -20.0, 7.0]);
        }),
        ("2 slice shapes", |slice| {
            slice.put(word((0x0028, 0x0010), 3)).put(word((0x0028, 0x0011), 2));
        }),
        ("1 slices of another orientation", |slice| {
            slice.put(text((0x0020, 0x0037), VR::DS, "0\\1\\0\\0\\0\\-1"));
        }),
        ("another pixel spacing", |slice| {
            slice.put(text((0x0028, 0x0030), VR::DS, "0.75\\0.6"));
        }),
    ];
    for (expected, change) in changes {
        let folder = series();
        (0..3).for_each(|n| slice(f64::from(n), n).write(&folder.path().join(n.to_string())));
        let mut other = slice(3.0, 3);
        change(&mut other);
        other.write(&folder.path().join("3"));
        let (word, message) = refusal(folder.path());
        assert_eq!(word, "mixed_series", "{expected}");
        assert!(message.contains(expected) && !message.contains("9.87"), "{message}");
    }
}

#[test]
fn a_copy_is_dropped_and_another_slice_at_its_position_refused() {
    let folder = series();
    (0..3).for_each(|n| slice(f64::from(n), n).write(&folder.path().join(n.to_string())));
    slice(1.0, 1).write(&folder.path().join("1 (copy)"));
    let volume = read(folder.path()).unwrap();
    assert_eq!(firsts(&volume), [0.0, 1.0, 2.0]);
    assert_eq!(volume.slices_dropped.len(), 1);
    assert_eq!(
        (volume.slices_dropped[0].slice, volume.slices_dropped[0].reason.as_str()),
        (2, "same position and samples as slice 1")
    );
    assert_eq!(volume.spacing_mm_dhw, Some([1.0, 0.75, 0.5]));

    slice(2.0, 7).write(&folder.path().join("4"));
    let (word, message) = refusal(folder.path());
    assert_eq!(word, "mixed_series");
    assert!(message.contains("two different slices at one position"));
}

#[test]
fn rescales_that_differ_become_values() {
    let folder = series();
    for (n, intercept, slope) in [(0, "-1024", "1"), (1, "-1000", "2"), (2, "0", "1")] {
        let mut slice = slice(f64::from(n), 100);
        slice.put(text((0x0028, 0x1052), VR::DS, intercept)).put(text((0x0028, 0x1053), VR::DS, slope));
        slice.write(&folder.path().join(n.to_string()));
    }
    let volume = read(folder.path()).unwrap();
    assert_eq!((firsts(&volume), volume.samples.type_name()), (vec![-924.0, -800.0, 100.0], "i32"));
    assert_eq!((volume.rescale, volume.hu_known), (Rescale::IDENTITY, true));

    let mut half = slice(3.0, 101);
    half.put(text((0x0028, 0x1053), VR::DS, "0.5")).write(&folder.path().join("3"));
    let volume = read(folder.path()).unwrap();
    assert_eq!((firsts(&volume), volume.samples.type_name()), (vec![-924.0, -800.0, 100.0, -973.5], "f32"));
}

#[test]
fn units_are_known_for_ct_only() {
    let known = |change: fn(&mut SliceFile)| {
        let folder = series();
        let path = folder.path().join("slice");
        let mut slice = slice(0.0, 0);
        change(&mut slice);
        slice.write(&path);
        read(&path).unwrap().hu_known
    };
    assert!(known(|_| {}));
    assert!(known(|slice| _ = slice.put(text((0x0028, 0x1054), VR::LO, "HU"))));
    assert!(!known(|slice| _ = slice.put(text((0x0028, 0x1054), VR::LO, "OD"))));
    assert!(!known(|slice| _ = slice.put(text((0x0008, 0x0060), VR::CS, "MR"))));
    assert!(!known(|slice| _ = slice.remove((0x0008, 0x0060))));
    assert!(!known(|slice| _ = slice.remove((0x0028, 0x1053))));
}

#[test]
fn padding_is_reported() {
    let folder = series();
    let path = folder.path().join("slice");
    slice(0.0, -2000).put(word((0x0028, 0x0120), -2000i16 as u16)).write(&path);
    assert_eq!(read(&path).unwrap().notes, ["one slice only", "pixels without data have the value -3024"]);
}

#[test]
fn unreadable_slices_are_dropped_and_recorded() {
    let folder = series();
    (0..5).for_each(|n| slice(f64::from(n), n).write(&folder.path().join(n.to_string())));
    let whole = fs::read(folder.path().join("1")).unwrap();
    fs::write(folder.path().join("1"), &whole[..whole.len() - 2]).unwrap();
    fs::write(folder.path().join("3"), &whole[..400]).unwrap();
    std::os::unix::fs::symlink(folder.path().join("nowhere"), folder.path().join("5")).unwrap();
    let volume = read(folder.path()).unwrap();
    assert_eq!(firsts(&volume), [0.0, 2.0, 4.0]);
    assert_eq!(volume.slices_dropped.iter().map(|dropped| dropped.slice).collect::<Vec<_>>(), [1, 3, 5]);
    assert_eq!(volume.slices_dropped[0].reason, "unreadable: header asks for 12 bytes, found 10");
    assert_eq!(volume.slices_dropped[2].reason, "unreadable: not readable: entity not found");
    assert_eq!(volume.spacing_mm_dhw, Some([2.0, 0.75, 0.5]));

    for name in ["0", "2", "4"] {
        fs::write(folder.path().join(name), &whole[..whole.len() - 2]).unwrap();
    }
    assert_eq!(refusal(folder.path()).0, "no_readable_slice");
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    let folder = series();
    let path = folder.path().join("slice");
    slice(0.0, 0).write(&path);
    let whole = fs::read(&path).unwrap();
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let error = read(&path).unwrap_err();
        if length == whole.len() - 1 {
            assert_eq!((error.reason().as_str(), error.byte_offset()), ("lying_header", Some(length as u64)));
        }
    }
}

#[test]
fn wrong_headers_are_refused_before_memory_is_allocated() {
    let folder = series();
    let path = folder.path().join("slice");
    let refused = |change: &dyn Fn(&mut SliceFile)| {
        let mut slice = slice(0.0, 0);
        change(&mut slice);
        slice.write(&path);
        refusal(&path)
    };
    assert_eq!(refused(&|slice| _ = slice.put(word((0x0028, 0x0010), 60000))).0, "lying_header");
    assert_eq!(refused(&|slice| _ = slice.put(word((0x0028, 0x0010), 1))).0, "lying_header");
    assert_eq!(refused(&|slice| _ = slice.put(word((0x0028, 0x0011), 0))).0, "bad_header");
    assert_eq!(refused(&|slice| _ = slice.remove((0x7fe0, 0x0010))).0, "bad_header");
    assert_eq!(refused(&|slice| _ = slice.put(word((0x0028, 0x0101), 17))).0, "bad_header");
    assert_eq!(refused(&|slice| _ = slice.put(text((0x0028, 0x1053), VR::DS, "0"))).0, "bad_header");
    assert_eq!(refused(&|slice| _ = slice.put(text((0x0020, 0x0032), VR::DS, "1\\2"))).0, "bad_header");
    assert_eq!(refused(&|slice| _ = slice.put(text((0x0020, 0x0037), VR::DS, "1\\0\\0\\1\\0\\0"))).0, "bad_header");
    assert_eq!(refused(&|slice| _ = slice.put(word((0x0028, 0x0002), 3))).0, "unsupported_format");
    assert_eq!(
        refused(&|slice| _ = slice.put(text((0x0028, 0x0004), VR::CS, "PALETTE COLOR"))).0,
        "unsupported_format"
    );
    assert_eq!(refused(&|slice| _ = slice.put(text((0x0028, 0x0008), VR::IS, "40"))).0, "unsupported_format");
    assert_eq!(refused(&|slice| _ = slice.fragments(".4.102", vec![vec![0; 8]])).0, "unsupported_format");
    let (word, message) = refused(&|slice| _ = slice.remove((0x0028, 0x0010)).remove((0x0028, 0x0100)));
    assert!(word == "unsupported_format" && message.contains("without a picture"));

    // An element of four gigabytes in a file of a few hundred bytes.
    slice(0.0, 0).put(text((0x0010, 0x4000), VR::LT, "comments")).write(&path);
    let whole = fs::read(&path).unwrap();
    let pixels = whole.windows(4).position(|tag| tag == [0xe0, 0x7f, 0x10, 0]).unwrap();
    let mut too_long = whole.clone();
    too_long[pixels + 8..pixels + 12].copy_from_slice(&[0xfe, 0xff, 0xff, 0xff]);
    fs::write(&path, &too_long).unwrap();
    // All samples are in the file; only a header that promises more samples than the file holds is refused.
    assert!(read(&path).is_ok());
    let limits = ReadLimits { max_decoded_bytes: 11 };
    assert_eq!(volume::read(&path, &limits).unwrap_err().reason().as_str(), "too_large");
}

#[test]
fn damaged_files_never_panic() {
    let folder = series();
    let path = folder.path().join("slice");
    slice(0.0, 0).write(&path);
    let whole = fs::read(&path).unwrap();
    for at in 128..whole.len() {
        for byte in [0, 1, 0x7f, 0xff] {
            let mut damaged = whole.clone();
            damaged[at] = byte;
            fs::write(&path, &damaged).unwrap();
            // Any volume or any error.
            let _ = read(&path);
        }
    }
}

#[test]
fn a_folder_with_a_dicom_image_is_a_series_whatever_pictures_lie_beside() {
    let folder = series();
    let picture = image::GrayImage::from_pixel(3, 2, image::Luma([7]));
    for name in ["0.png", "1.png"] {
        picture.save(folder.path().join(name)).unwrap();
    }
    // Without it they are a slice stack.
    assert_eq!(read(folder.path()).unwrap().samples.type_name(), "u8");
    slice(0.0, 0).write(&folder.path().join("slice.dcm"));
    assert_ne!(read(folder.path()).unwrap().samples.type_name(), "u8");
    let empty = series();
    assert_eq!(refusal(empty.path()).0, "empty_folder");
}

#[test]
fn no_identity_leaves_the_reader() {
    let folder = series();
    for n in 0..3 {
        let mut slice = slice(f64::from(n), n);
        for (tag, vr) in [
            ((0x0008, 0x0018), VR::UI),
            ((0x0008, 0x0020), VR::DA),
            ((0x0008, 0x0080), VR::LO),
            ((0x0008, 0x0090), VR::PN),
            ((0x0008, 0x103e), VR::LO),
            ((0x0010, 0x0010), VR::PN),
            ((0x0010, 0x0020), VR::LO),
            ((0x0010, 0x4000), VR::LT),
            ((0x0020, 0x000d), VR::UI),
            ((0x0020, 0x000e), VR::UI),
            ((0x0020, 0x0010), VR::SH),
            ((0x0020, 0x0052), VR::UI),
            ((0x0020, 0x4000), VR::LT),
        ] {
            slice.put(text(tag, vr, "PLANTED"));
        }
        let path = folder.path().join(n.to_string());
        slice.write(&path);
        if n == 2 {
            let whole = fs::read(&path).unwrap();
            fs::write(&path, &whole[..whole.len() - 4]).unwrap();
        }
    }
    let volume = read(folder.path()).unwrap();
    assert_eq!((volume.shape_dhw[0], volume.slices_dropped.len()), (2, 1));
    assert!(!format!("{volume:?}").contains("PLANTED"));
    // Where a file has text instead of a number or a coded term, the message does not quote it.
    for (tag, vr) in [((0x0020, 0x0032), VR::DS), ((0x0028, 0x1053), VR::DS), ((0x0028, 0x0004), VR::CS)] {
        let path = folder.path().join("0");
        slice(0.0, 0).put(text(tag, vr, "PLANTED")).write(&path);
        let error = read(&path).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("PLANTED"), "{error}");
    }
}
