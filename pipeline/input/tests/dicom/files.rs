//! Whole files of unusual forms, compared with pydicom and SimpleITK, and the notes about them.

use std::collections::BTreeMap;
use std::fs;

use med2e3_input::volume::{self, ReadLimits, Volume};

use super::series;

/// The files of each case of tests/golden/dicom_files.py, by name, and the values.
#[derive(Default)]
struct Case {
    files: Vec<(&'static str, Vec<u8>)>,
    shape_dhw: [usize; 3],
    values: Vec<f32>,
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn golden() -> BTreeMap<&'static str, Case> {
    let mut cases: BTreeMap<&str, Case> = BTreeMap::new();
    for line in include_str!("../golden/dicom_files.txt").lines() {
        match *line.split(' ').collect::<Vec<_>>() {
            ["file", case, name, bytes] => cases.entry(case).or_default().files.push((name, hex(bytes))),
            ["values", case, depth, height, width, values] => {
                let case = cases.entry(case).or_default();
                case.shape_dhw = [depth, height, width].map(|n| n.parse().unwrap());
                case.values = hex(values).as_chunks().0.iter().map(|four| f32::from_le_bytes(*four)).collect();
            }
            _ => assert!(line.starts_with('#'), "{line}"),
        }
    }
    assert!(cases.len() > 70, "golden/dicom_files.txt is not read");
    cases
}

fn read(case: &Case) -> Volume {
    let folder = series();
    for (name, bytes) in &case.files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    volume::read(folder.path(), &ReadLimits::default()).unwrap()
}

/// The case's volume, with the values of the golden file and every slice.
fn checked(name: &str, case: &Case) -> Volume {
    let volume = read(case);
    assert_eq!(volume.shape_dhw, case.shape_dhw, "{name}");
    assert_eq!(volume.values_dhw(), case.values, "{name}");
    assert!(volume.slices_dropped.is_empty(), "{name}: {:?}", volume.slices_dropped);
    volume
}

#[test]
fn every_file_has_the_values_that_pydicom_gives() {
    for (name, case) in &golden() {
        checked(name, case);
    }
}

#[test]
fn a_value_of_unknown_vr_changes_nothing() {
    let cases = golden();
    let unknown = cases.iter().filter(|(name, _)| name.starts_with("un_"));
    assert!(unknown.clone().count() > 15);
    for (name, case) in unknown {
        let volume = checked(name, case);
        assert_eq!((volume.spacing_mm_dhw, volume.hu_known), (Some([2.0, 0.5, 0.75]), true), "{name}");
        assert!(volume.notes.is_empty(), "{name}: {:?}", volume.notes);
    }
}

#[test]
fn another_form_than_stated_is_told() {
    for (name, case) in golden().iter().filter(|(name, _)| name.starts_with("form_")) {
        let volume = checked(name, case);
        assert_eq!(volume.spacing_mm_dhw, Some([2.0, 0.5, 0.75]), "{name}");
        let slices = if name.ends_with("_once") { 1 } else { 3 };
        let expected = if name.ends_with("_syntax") {
            format!("{slices} slices state no transfer syntax: read as their elements show")
        } else {
            format!(
                "elements of {slices} slices are in another form than their transfer syntax states: read as they are"
            )
        };
        let expected = if *name == "form_implicit_items" { Vec::new() } else { vec![expected] };
        assert_eq!(volume.notes, expected, "{name}");
    }
}

#[test]
fn a_field_that_is_not_needed_costs_nothing() {
    let told = BTreeMap::from([
        ("field_thickness_text", Some("SliceThickness of 3")),
        ("field_thickness_comma", Some("SliceThickness of 3")),
        ("field_thickness_twice", Some("SliceThickness of 3")),
        ("field_thickness_empty", Some("SliceThickness of 1")),
        ("field_number_text", Some("InstanceNumber of 3")),
        ("field_number_twice", Some("InstanceNumber of 3")),
        ("field_number_empty", None),
        ("field_spacing_text", Some("PixelSpacing of 3")),
        ("field_spacing_comma", Some("PixelSpacing of 3")),
        ("field_spacing_once", Some("PixelSpacing of 2")),
        ("field_padding_text", None),
        ("field_window_text", None),
        ("field_smallest_text", None),
        ("field_patient_position_text", None),
        ("field_frames_text", None),
        ("field_rescale_type_text", None),
    ]);
    let cases = golden();
    let fields: Vec<_> = cases.iter().filter(|(name, _)| name.starts_with("field_")).collect();
    assert_eq!(fields.len(), told.len());
    for (name, case) in fields {
        let volume = checked(name, case);
        let expected = told[name].map(|of| format!("{of} slices is malformed and counts as absent"));
        assert_eq!(volume.notes, Vec::from_iter(expected), "{name}");
        let has_spacing = !matches!(*name, "field_spacing_text" | "field_spacing_comma");
        assert_eq!(volume.spacing_mm_dhw, has_spacing.then_some([2.0, 0.5, 0.75]), "{name}");
    }
}

#[test]
fn bytes_behind_the_rows_are_left_out_and_told() {
    for (name, case) in golden().iter().filter(|(name, _)| name.starts_with("long_by_")) {
        let volume = checked(name, case);
        let bytes = match *name {
            "long_by_two_bytes" => 2,
            "long_by_row" => 8,
            _ => 16,
        };
        let expected = format!("pixel data of 3 slices longer than their rows: up to {bytes} bytes left out");
        assert_eq!(volume.notes, [expected], "{name}");
    }
}

#[test]
fn frames_of_an_enhanced_object_are_slices() {
    let cases = golden();
    let enhanced = cases.iter().filter(|(name, _)| name.starts_with("enhanced_"));
    assert!(enhanced.clone().count() > 15);
    for (name, case) in enhanced {
        let volume = checked(name, case);
        let spacing = if *name == "enhanced_one_frame" { [2.0, 0.5, 0.75] } else { [2.5, 0.5, 0.75] };
        assert_eq!((volume.spacing_mm_dhw, volume.hu_known), (Some(spacing), true), "{name}");
        let codes = if *name == "enhanced_coronal" { "LIP" } else { "LPS" };
        assert_eq!(volume.orientation.as_deref(), Some(codes), "{name}");
        assert_eq!(volume.notes.is_empty(), *name != "enhanced_one_frame", "{name}: {:?}", volume.notes);
    }
    // A file that is cut in its frames, and a header of more frames than there are groups or pixels.
    let (_, whole) = &cases["enhanced_explicit"].files[0];
    let folder = series();
    let path = folder.path().join("a.dcm");
    let reason = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        volume::read(&path, &ReadLimits::default()).unwrap_err().reason().as_str()
    };
    assert_eq!(reason(&whole[..whole.len() - 1]), "lying_header");
    for frames in [b"3 ", b"5 ", b"9e", b"-1", b"x "] {
        let at = whole.windows(8).position(|head| head == b"\x28\0\x08\0IS\x02\0").unwrap();
        let changed = [&whole[..at + 8], frames, &whole[at + 10..]].concat();
        assert_eq!(reason(&changed), "bad_header", "{}", frames.escape_ascii());
    }
    // A multi-frame object among others is one volume too many.
    for (name, bytes) in [&cases["enhanced_explicit"].files[0], &cases["un_fields"].files[1]] {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    fs::remove_file(&path).unwrap();
    let error = volume::read(folder.path(), &ReadLimits::default()).unwrap_err();
    assert_eq!(error.reason().as_str(), "mixed_series");
    assert!(error.to_string().contains("1 multi-frame objects among 2 files"), "{error}");
}

#[test]
fn damaged_files_never_panic_nor_hang() {
    // A fixed sequence of offsets and bytes, by a linear congruence.
    let mut state = 5u64;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % below
    };
    let folder = series();
    let path = folder.path().join("a.dcm");
    let limits = ReadLimits { max_decoded_bytes: 1 << 20 };
    for case in golden().values() {
        for _ in 0..30 {
            let mut damaged = case.files[0].1.clone();
            for _ in 0..=next(4) {
                let at = 128 + next(damaged.len() - 128);
                damaged[at] = [0, 1, 0x7f, 0xff, next(256) as u8][next(5)];
            }
            if next(4) == 0 {
                damaged.truncate(next(damaged.len()));
            }
            fs::write(&path, &damaged).unwrap();
            match volume::read(&path, &limits) {
                Ok(volume) => assert_eq!(volume.samples.len(), volume.shape_dhw.iter().product::<usize>()),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
    }
}
