//! Where the slices of a prepared volume are in the source: slice numbers and millimetres.

mod sample;

use std::fs;
use std::path::Path;

use med2e3_input::inputs::read_volume;
use med2e3_input::volume::ReadLimits;
use med2e3_schemas::inputs::{CropNumbers, IntensityNumbers, VolumeInputs, VolumeRecipe};
use med2e3_schemas::volume::{VoxelCode, VoxelFormat};
use sample::sample_file;

#[test]
fn prepared_slices_are_where_nibabel_and_simpleitk_say() {
    // tests/golden/places.py wrote the files and the expected numbers.
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/places");
    let mut files = 0;
    for line in include_str!("golden/places.txt").lines().filter(|line| !line.starts_with('#')) {
        let (name, slices) = line.split_once(' ').unwrap();
        let inputs = VolumeInputs {
            recipe: VolumeRecipe::M3d,
            voxels: VoxelFormat::unit_range([4, 3, 3], VoxelCode::F32),
            deep_pictures: "clip".into(),
        };
        let prepared = read_volume(&golden.join(name), &inputs, &ReadLimits::default()).unwrap();
        assert_eq!(prepared.slices.len(), 4, "{line}");
        for (found, expected) in prepared.slices.iter().zip(slices.split(' ')) {
            let (number, mm) = expected.split_once(':').unwrap();
            assert_eq!(found.source_slice, Some(number.parse().unwrap()), "{line}");
            match (found.mm, mm.parse::<f64>()) {
                (Some(found), Ok(expected)) => assert!((found - expected).abs() < 1e-4, "{line}: {found}"),
                (found, expected) => assert!(found.is_none() && expected.is_err(), "{line}: {found:?}"),
            }
        }
        let plane = name.split(['_', '.']).next().unwrap();
        assert!(
            !["axial", "coronal", "sagittal"].contains(&plane) || prepared.plane.unwrap().as_str() == plane,
            "{line}"
        );
        files += 1;
    }
    assert_eq!(files, 16);
}

#[test]
fn padding_of_a_spacing_is_nowhere() {
    let inputs = VolumeInputs {
        recipe: VolumeRecipe::Ct {
            spacing_mm: Some([5.0, 1.0, 1.0]),
            intensity: IntensityNumbers::Percentile { low: 0.0, high: 100.0 },
            crop: CropNumbers::None,
        },
        voxels: VoxelFormat::unit_range([4, 3, 3], VoxelCode::F32),
        deep_pictures: "clip".into(),
    };
    // Four slices of 2.5 mm are two of 5 mm, each made of two, between one of padding at both ends.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.nii");
    fs::write(&path, sample_file()).unwrap();
    let slices = read_volume(&path, &inputs, &ReadLimits::default()).unwrap().slices;
    let numbers: Vec<Option<i64>> = slices.iter().map(|slice| slice.source_slice).collect();
    assert_eq!((numbers[0], numbers[3], slices[0].mm), (None, None, None));
    let mm = |slice: usize| slices[slice].mm.unwrap();
    assert!((mm(1) - 1.25).abs() < 1e-6 && (mm(2) - 6.25).abs() < 1e-6, "{slices:?}");
    assert!(numbers[1] < numbers[2], "{slices:?}");
}
