//! Slice stacks: folders of pictures as in M3D-Cap, and the special cases of the official preparation.

use std::fs;
use std::path::{Path, PathBuf};

use image::{GrayImage, Luma};
use med2e3_input::volume::{self, DeepPictures, ReadLimits, Rescale, Samples, Volume};
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
fn a_link_to_a_slice_is_read_and_no_other_kind_of_file() {
    let folder = series();
    slice(folder.path(), "0.png", [3, 4], 1);
    let elsewhere = series();
    slice(elsewhere.path(), "blob", [3, 4], 9);
    let link = |target: &Path, name: &str| std::os::unix::fs::symlink(target, folder.path().join(name)).unwrap();
    link(&elsewhere.path().join("blob"), "1.png");
    link(elsewhere.path(), "2.png");
    link(Path::new("/nowhere/3.png"), "3.png");
    fs::create_dir(folder.path().join("4.png")).unwrap();
    let volume = read(&folder).unwrap();
    assert_eq!(first_pixels(&volume), [1.0, 9.0]);
    assert_eq!(volume.slices_dropped.iter().map(|dropped| dropped.slice).collect::<Vec<_>>(), [2, 3, 4]);
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
    slice(empty.path(), "preview.jpg", [2, 2], 1);
    assert!(read(&empty).unwrap_err().to_string().contains("1 .jpg and 0 other files"));
    slice(empty.path(), ".0.png", [2, 2], 1);
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

#[test]
fn names_beyond_plain_numbers_are_read_and_noted() {
    for (names, noted) in [
        (["10.PNG", "9.Jpeg", "0011.JPEG"], ""),
        (["20240115093000124.png", "20240115093000003.png", "30240115093000123.png"], ""),
        (["slice_010.png", "slice_009.png", "slice_011.png"], "one number"),
        (["IM-0001-0012.png", "IM-0001-0002.png", "IM-0001-0100.png"], "one number"),
        (["2.jpg", "1.JPG", "10.jpg"], ".jpg"),
    ] {
        let folder = series();
        // In their order they are the second, the first and the third.
        for (name, grey) in names.into_iter().zip([2, 1, 3]) {
            slice(folder.path(), name, [3, 4], grey);
        }
        slice(folder.path(), "._1.png", [3, 4], 99);
        let volume = read(&folder).unwrap();
        assert_eq!(first_pixels(&volume), [1.0, 2.0, 3.0], "{names:?}");
        let notes = volume.notes.join("; ");
        assert!(if noted.is_empty() { notes.is_empty() } else { notes.contains(noted) }, "{names:?}: {notes}");
        assert!(!notes.contains("2024") && !notes.contains("IM-"), "{notes}");
    }
}

#[test]
fn a_name_that_is_not_unicode_is_opened() {
    use std::os::unix::ffi::OsStrExt;
    let folder = series();
    for (n, name) in [&b"K\xf6rper1.png"[..], b"K\xf6rper2.png"].into_iter().enumerate() {
        slice(folder.path(), "new", [3, 4], n as u8 + 1);
        fs::rename(folder.path().join("new"), folder.path().join(std::ffi::OsStr::from_bytes(name))).unwrap();
    }
    assert_eq!(first_pixels(&read(&folder).unwrap()), [1.0, 2.0]);
}

#[test]
fn equal_numbers_and_one_slice_are_noted() {
    let folder = series();
    slice(folder.path(), "7.png", [3, 4], 2);
    let volume = read(&folder).unwrap();
    assert_eq!(volume.notes, ["the series has one slice"]);
    slice(folder.path(), "07.png", [3, 4], 1);
    let volume = read(&folder).unwrap();
    assert_eq!(first_pixels(&volume), [1.0, 2.0]);
    assert!(volume.notes.len() == 1 && volume.notes[0].starts_with("2 slices have a number"), "{:?}", volume.notes);
}

#[test]
fn a_file_that_is_no_picture_is_named() {
    let folder = series();
    fs::write(folder.path().join("0.png"), "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
        .unwrap();
    let error = read(&folder).unwrap_err();
    assert!(error.reason().as_str() == "no_readable_slice" && error.to_string().contains("Git LFS pointer"), "{error}");
}

/// A picture of 16-bit grey.
fn deep(folder: &Path, name: &str, [height, width]: [u32; 2], value: impl Fn(u32) -> u16) {
    let pixels = (0..height * width).map(value).collect();
    image::ImageBuffer::<Luma<u16>, Vec<u16>>::from_raw(width, height, pixels)
        .unwrap()
        .save_with_format(folder.join(name), image::ImageFormat::Png)
        .unwrap();
}

#[test]
fn slices_of_16_bits_are_clipped_with_a_note_or_scaled_by_their_range() {
    let read_as = |folder: &TempDir, deep| {
        volume::read_as(folder.path(), &ReadLimits::default(), &volume::Buffers::default(), deep)
    };
    for (low, step) in [(0, 16), (1000, 1), (0, 1), (252, 1), (65000, 8)] {
        let folder = series();
        let value = |n: u32, index: u32| (low + step * (n * 20 + index)) as u16;
        (0..3).for_each(|n| deep(folder.path(), &format!("{n}.png"), [4, 5], |index| value(n, index)));
        let numbers: Vec<u16> = (0..3).flat_map(|n| (0..20).map(move |index| value(n, index))).collect();
        let clipped = read(&folder).unwrap();
        let expected = numbers.iter().map(|number| (*number).min(255) as u8).collect::<Vec<u8>>();
        assert_eq!(clipped.samples_dhw(), expected.into());
        let above = 100.0 * numbers.iter().filter(|number| **number > 255).count() as f64 / 60.0;
        let note =
            format!("3 of 3 slices are 16-bit grey: {above:.1} % of all voxels, above 255, are clipped to white");
        assert_eq!(clipped.notes, [note]);
        let scaled = read_as(&folder, DeepPictures::Range).unwrap();
        assert_eq!(scaled.samples_dhw(), numbers.clone().into());
        let mut voxels = Vec::new();
        recipe::m3d(&scaled, [3, 4, 5], &mut voxels).unwrap();
        let (least, most) = (f32::from(numbers[0]), f32::from(numbers[59]));
        let values = scaled.values_dhw();
        for (number, value) in numbers.iter().zip(&values) {
            let expected = (f32::from(*number) - least) / (most - least);
            assert!((value - expected).abs() < 2e-5, "{value} {expected}");
        }
        assert!(scaled.notes[0].contains("16-bit grey"), "{:?}", scaled.notes);
    }
    let mixed = series();
    deep(mixed.path(), "0.png", [4, 5], |n| 300 * n as u16);
    deep(mixed.path(), "1.png", [9, 9], |_| 7);
    (2..6).for_each(|n| slice(mixed.path(), &format!("{n}.png"), [4, 5], 3));
    let volume = read(&mixed).unwrap();
    assert_eq!(volume.notes, ["1 of 5 slices are 16-bit grey: 19.0 % of all voxels, above 255, are clipped to white"]);
    let error = read_as(&mixed, DeepPictures::Range).unwrap_err();
    assert!(
        error.reason().as_str() == "mixed_series" && error.to_string().contains("1 of 16-bit grey and 4"),
        "{error}"
    );
    let shallow = series();
    (0..3).for_each(|n| slice(shallow.path(), &format!("{n}.png"), [4, 5], n));
    assert_eq!(read_as(&shallow, DeepPictures::Range).unwrap(), read(&shallow).unwrap());
    assert_eq!(read(&shallow).unwrap().notes, Vec::<String>::new());
}
