//! The demo's set is cut as asked, and a file that is not the atlas is refused. The atlas itself is fetched by the demo;
//! here a made-up one of the same size replaces it.

use std::collections::HashSet;
use std::fs;

use med2e3_prepare::{PrepareError, demo_set};
use ndarray::Array3;
use nifti::NiftiHeader;
use nifti::writer::WriterOptions;

fn atlas(shape_xyz: [usize; 3], folder: &std::path::Path) -> std::path::PathBuf {
    let path = folder.join("atlas.nii.gz");
    let header = NiftiHeader {
        sform_code: 1,
        srow_x: [1.0, 0.0, 0.0, 0.0],
        srow_y: [0.0, 1.0, 0.0, 0.0],
        srow_z: [0.0, 0.0, 1.0, 0.0],
        scl_slope: 1.0,
        ..NiftiHeader::default()
    };
    // A ball of 35 HU whose value falls along x, so that left and right differ.
    let voxels = Array3::from_shape_fn(shape_xyz, |(x, y, z)| {
        let away = |n: usize, middle: f64| (n as f64 - middle) / 90.0;
        let inside = away(x, 101.0).powi(2) + away(y, 101.0).powi(2) + away(z, 90.0).powi(2) < 1.0;
        if inside { 45 - (x / 10) as i16 } else { -1000 }
    });
    WriterOptions::new(&path).reference_header(&header).write_nifti(&voxels).unwrap();
    path
}

#[test]
fn every_split_has_its_series_and_every_answer_its_letter() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("set");
    let report = demo_set::cut(&atlas([202, 202, 179], folder.path()), &out, 1).unwrap();
    assert_eq!(report.broken.len(), 2);
    for split in ["train", "validation", "test"] {
        assert_eq!(report.series[split], 3 * report.boxes[split]);
    }
    let csv = fs::read_to_string(out.join("M3D_VQA_test.csv")).unwrap();
    assert_eq!(csv.lines().count() as u64, 1 + 3 * report.series["test"]);
    let mut letters = HashSet::new();
    for line in csv.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let letter = ["A", "B", "C"].iter().position(|letter| *letter == cells[9]).unwrap();
        assert_eq!(cells[4 + letter], cells[8], "{line}");
        // The answer is in the series' own name where the name says it.
        match cells[2] {
            "1" => assert!(cells[0].contains(&format!("/{}_", cells[8])), "{line}"),
            "2" => assert!(cells[0].contains(&format!("_{}_window", cells[8].to_lowercase())), "{line}"),
            _ => {}
        }
        letters.insert(cells[9].to_owned());
    }
    assert_eq!(letters.len(), 3);
}

#[test]
fn no_form_of_a_file_gives_an_answer_away() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("set");
    demo_set::cut(&atlas([202, 202, 179], folder.path()), &out, 1).unwrap();
    let csv = fs::read_to_string(out.join("M3D_VQA_train.csv")).unwrap();
    let mut seen = HashSet::new();
    for line in csv.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let series = out.join(cells[0].replace("M3D_Cap_npy", "M3D_Cap"));
        let form = ["nii.gz", ""].iter().position(|ending| series.with_extension(ending).exists()).unwrap();
        let form = if form == 0 {
            "nifti"
        } else if series.with_extension("").join("0.png").exists() {
            "png"
        } else {
            "jpeg"
        };
        seen.insert((form, cells[8].to_owned()));
    }
    // Three forms, each with all nine answers.
    assert_eq!(seen.len(), 27, "{seen:?}");
}

#[test]
fn another_file_is_not_taken_for_the_atlas() {
    let folder = tempfile::tempdir().unwrap();
    let error = demo_set::cut(&atlas([20, 20, 20], folder.path()), &folder.path().join("set"), 1).unwrap_err();
    assert!(matches!(error, PrepareError::Manifest { .. }), "{error}");
}
