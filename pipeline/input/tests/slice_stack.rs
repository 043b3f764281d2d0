//! Slice stacks: folders of pictures as in M3D-Cap, and the special cases of the official preparation.

use std::fs;
use std::path::{Path, PathBuf};

use image::{GrayImage, Luma};
use med2e3_input::volume::{self, ReadLimits, Rescale, Samples, Volume};
use med2e3_input::{InputError, recipe};
use tempfile::TempDir;

fn series() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// A picture of one grey value.
fn slice(folder: &Path, name: &str, [height, width]: [u32; 2], grey: u8) {
    GrayImage::from_pixel(width, height, Luma([grey]))
        .save_with_format(folder.join(name), image::ImageFormat::Png)
        .unwrap();
}

fn read(folder: &TempDir) -> Result<Volume, InputError> {
    volume::read(folder.path(), &ReadLimits::default())
}

fn first_pixels(volume: &Volume) -> Vec<f64> {
    let [depth, height, width] = volume.shape_dhw;
    (0..depth).map(|d| volume.samples.get(d * height * width)).collect()
}

#[test]
fn slices_are_ordered_by_number_and_read_by_content() {
    let folder = series();
    for (name, grey) in [("10.png", 10), ("9.jpeg", 9), ("2.png", 2), ("007.png", 7)] {
        slice(folder.path(), name, [3, 4], grey);
    }
    fs::write(folder.path().join("notes.txt"), "no slice").unwrap();
    let volume = read(&folder).unwrap();
    assert_eq!(volume.shape_dhw, [4, 3, 4]);
    assert_eq!(first_pixels(&volume), [2.0, 7.0, 9.0, 10.0]);
    assert_eq!(volume.rescale, Rescale { slope: 1.0 / 255.0, intercept: 0.0 });
    assert_eq!((volume.orientation, volume.plane, volume.spacing_mm_dhw, volume.hu_known), (None, None, None, false));
}

#[test]
fn a_link_is_not_read_as_a_slice() {
    let folder = series();
    slice(folder.path(), "0.png", [3, 4], 1);
    slice(folder.path(), "1.png", [3, 4], 1);
    let elsewhere = series();
    slice(elsewhere.path(), "2.png", [3, 4], 9);
    std::os::unix::fs::symlink(elsewhere.path().join("2.png"), folder.path().join("2.png")).unwrap();
    let volume = read(&folder).unwrap();
    assert_eq!(first_pixels(&volume), [1.0, 1.0]);
    assert_eq!(volume.slices_dropped.len(), 1);
    assert!(volume.slices_dropped[0].reason.contains("not a regular file"));
}

#[test]
fn grey_equals_pillow() {
    // tests/golden/grey.py wrote the pictures and the expected values.
    for line in include_str!("golden/grey.txt").lines().filter(|line| !line.starts_with('#')) {
        let fields = line.split(' ').collect::<Vec<_>>();
        let folder = series();
        let extension = Path::new(fields[0]).extension().unwrap().to_str().unwrap();
        let picture = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/grey").join(fields[0]);
        fs::copy(picture, folder.path().join(format!("0.{extension}"))).unwrap();
        let volume = read(&folder).unwrap();
        let [_, height, width] = volume.shape_dhw;
        assert_eq!(format!("{height}x{width}"), fields[1]);
        let Samples::U8(pixels) = volume.samples else { panic!("slices are 8-bit") };
        let expected = fields[2].split(',').map(|value| value.parse::<u8>().unwrap());
        assert_eq!(pixels.to_vec(), expected.collect::<Vec<_>>(), "{}", fields[0]);
    }
}

#[test]
fn unreadable_slices_are_dropped_and_recorded() {
    let folder = series();
    (0..5).for_each(|n| slice(folder.path(), &format!("{n}.png"), [3, 4], n));
    fs::write(folder.path().join("2.png"), b"not a picture").unwrap();
    let jpeg = fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/grey/grey.jpeg")).unwrap();
    fs::write(folder.path().join("3.jpeg"), &jpeg[..jpeg.len() - 40]).unwrap();
    slice(folder.path(), "7.jpg", [3, 4], 7);
    let volume = read(&folder).unwrap();
    assert_eq!(first_pixels(&volume), [0.0, 1.0, 3.0, 4.0]);
    let dropped = volume.slices_dropped.iter().map(|dropped| dropped.slice).collect::<Vec<_>>();
    assert_eq!(dropped, [2, 3, 7]);
    assert!(volume.slices_dropped[1].reason.contains("end marker"));
    assert!(volume.slices_dropped[2].reason.contains(".jpg"));
}

#[test]
fn a_damaged_jpeg_does_not_affect_other_slices() {
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/grey");
    let mut refused = 0;
    for name in ["grey.jpeg", "progressive.jpeg"] {
        let intact = fs::read(golden.join(name)).unwrap();
        for offset in 2..intact.len() {
            let folder = series();
            for n in [0, 2] {
                slice(folder.path(), &format!("{n}.png"), [16, 24], 10 + n);
            }
            let mut damaged = intact.clone();
            damaged[offset] ^= 0x41;
            fs::write(folder.path().join("1.jpeg"), &damaged).unwrap();
            let volume = read(&folder).unwrap();
            let ends = [0, volume.samples.len() - 1].map(|n| volume.samples.get(n));
            assert_eq!((ends, volume.samples.len() % (16 * 24)), ([10.0, 12.0], 0), "{name} byte {offset}");
            refused += usize::from(volume.slices_dropped.iter().any(|slice| slice.reason.contains("unreadable: ")));
        }
    }
    // Most flips are in tables and headers that the decoder checks; in scan data they only change pixels, as for
    // Pillow.
    assert!(refused > 50, "{refused}");
}

#[test]
fn a_jpeg_with_a_wrong_size_is_refused() {
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/grey/progressive.jpeg");
    let mut wrong = fs::read(golden).unwrap();
    let frame = wrong.windows(2).position(|pair| pair == [0xff, 0xc2]).unwrap();
    wrong[frame + 5..frame + 9].copy_from_slice(&[0x7f; 4]);
    let folder = series();
    fs::write(folder.path().join("0.jpeg"), &wrong).unwrap();
    let error = read(&folder).unwrap_err();
    assert_eq!(error.reason().as_str(), "no_readable_slice");
    assert!(error.to_string().contains("32639x32639 pixels"), "{error}");
}

#[test]
fn slices_of_the_most_common_shape_are_kept() {
    let folder = series();
    for (n, shape) in [[3, 4], [5, 5], [3, 4], [3, 4], [2, 2]].into_iter().enumerate() {
        slice(folder.path(), &format!("{n}.png"), shape, n as u8);
    }
    let volume = read(&folder).unwrap();
    assert_eq!(volume.shape_dhw, [3, 3, 4]);
    assert_eq!(first_pixels(&volume), [0.0, 2.0, 3.0]);
    assert_eq!(volume.samples.len(), 36);
    assert_eq!(volume.slices_dropped[0].reason, "shape 5x5: most are 3x4");

    let tie = series();
    for (n, shape) in [[5, 5], [3, 4], [3, 4], [5, 5]].into_iter().enumerate() {
        slice(tie.path(), &format!("{n}.png"), shape, n as u8);
    }
    assert_eq!(read(&tie).unwrap().shape_dhw, [2, 5, 5]);

    slice(tie.path(), "4.png", [1, 1], 0);
    let error = read(&tie).unwrap_err();
    assert_eq!(error.reason().as_str(), "mixed_slice_sizes");
}

#[test]
fn series_that_cannot_be_stacked_are_refused() {
    let empty = series();
    assert_eq!(read(&empty).unwrap_err().reason().as_str(), "empty_folder");
    slice(empty.path(), "0.jpg", [2, 2], 1);
    assert_eq!(read(&empty).unwrap_err().reason().as_str(), "empty_folder");
    fs::write(empty.path().join("0.png"), b"").unwrap();
    assert_eq!(read(&empty).unwrap_err().reason().as_str(), "no_readable_slice");
    slice(empty.path(), "scout.png", [2, 2], 1);
    let error = read(&empty).unwrap_err();
    assert_eq!(error.reason().as_str(), "bad_slice_name");
    assert!(error.to_string().contains("scout.png"));
}

#[test]
fn the_limit_holds_for_the_whole_stack() {
    let folder = series();
    (0..3).for_each(|n| slice(folder.path(), &format!("{n}.png"), [10, 10], n));
    let read = |max_decoded_bytes| volume::read(folder.path(), &ReadLimits { max_decoded_bytes });
    assert_eq!(read(299).unwrap_err().reason().as_str(), "too_large");
    assert!(read(300).is_ok());
}

#[test]
fn an_all_black_series_is_refused_by_the_recipe() {
    let folder = series();
    (0..3).for_each(|n| slice(folder.path(), &format!("{n}.png"), [4, 4], 0));
    let error = recipe::m3d(&read(&folder).unwrap(), [2, 2, 2], &mut Vec::new()).unwrap_err();
    assert_eq!(error.reason().as_str(), "all_zero");
}
