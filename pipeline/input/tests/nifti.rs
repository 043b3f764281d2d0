//! NIfTI files written byte by byte: supported types, sample order, refused files.

mod made;
mod sample;

use std::fs;
use std::path::{Path, PathBuf};

use made::{gzip, saved};
use med2e3_input::orientation::Plane;
use med2e3_input::volume::{self, Buffers, ReadLimits, Rescale, Samples, Volume};
use med2e3_input::{InputError, recipe};
use sample::{floats, put, sample_file};

fn read(name: &str, bytes: &[u8]) -> Result<Volume, InputError> {
    let (_folder, path) = saved(name, bytes);
    volume::read(&path, &ReadLimits::default())
}

fn refused(name: &str, bytes: &[u8]) -> (&'static str, Option<u64>) {
    let error = read(name, bytes).unwrap_err();
    assert!(error.to_string().contains(name), "{error}");
    (error.reason().as_str(), error.byte_offset())
}

fn ramp() -> Samples {
    let ramp = (0..4).flat_map(|k| (0..3).flat_map(move |j| (0..2).map(move |i| i + 10 * j + 100 * k)));
    ramp.collect::<Vec<i16>>().into()
}

#[test]
fn an_lps_file_is_read_in_its_own_order() {
    let volume = read("a.nii", &sample_file()).unwrap();
    assert_eq!(volume.shape_dhw, [4, 3, 2]);
    assert_eq!(volume.samples, ramp());
    assert_eq!(volume.rescale, Rescale::IDENTITY);
    assert_eq!(volume.spacing_mm_dhw, Some([2.5, 1.0, 1.0]));
    assert_eq!((volume.orientation.as_deref(), volume.plane), (Some("LPS"), Some(Plane::Axial)));
    assert!(!volume.hu_known);
}

#[test]
fn gzip_is_recognized_by_its_magic_and_may_have_several_members() {
    let file = sample_file();
    let (first, second) = file.split_at(370);
    let members = [gzip(first), gzip(&[]), gzip(second)].concat();
    let padded = [gzip(&file), vec![0; 512]].concat();
    for bytes in [gzip(&file), members, padded] {
        for name in ["a.nii.gz", "a.nii", "nameless"] {
            assert_eq!(read(name, &bytes).unwrap().samples, ramp());
        }
    }
    assert_eq!(read("plain.nii.gz", &file).unwrap().samples, ramp());
}

#[test]
fn every_axis_code_agrees_with_nibabel() {
    // tests/golden/orientation.py wrote the expected codes and arrays.
    let golden = include_str!("golden/orientation.txt");
    let mut cases = 0;
    for line in golden.lines().filter(|line| !line.starts_with('#')) {
        let fields = line.split(' ').collect::<Vec<_>>();
        let matrix = fields[..9].iter().map(|field| field.parse::<f32>().unwrap()).collect::<Vec<_>>();
        let mut file = sample_file();
        for row in 0..3 {
            floats(&mut file, 280 + 16 * row, &matrix[3 * row..3 * row + 3]);
        }
        let volume = read("a.nii", &file).unwrap();
        cases += 1;
        if fields[9] == "-" {
            assert_eq!((volume.orientation, volume.plane, volume.samples), (None, None, ramp()));
            continue;
        }
        assert_eq!(volume.orientation.as_deref(), Some(fields[9]), "{line}");
        let (shape, values) = fields[10].split_once(':').unwrap();
        let shape = shape.split('x').map(|dim| dim.parse().unwrap()).collect::<Vec<usize>>();
        let values = values.split(',').map(|value| value.parse().unwrap()).collect::<Vec<i16>>().into();
        assert_eq!((volume.shape_dhw.to_vec(), volume.samples_dhw()), (shape, values), "{line}");
    }
    assert_eq!(cases, 109);
}

#[test]
fn the_recipe_on_a_view_equals_the_recipe_on_a_copy() {
    // A body off the center of 40 x 35 x 7 voxels, so that every flip and permutation changes the crop.
    let [ni, nj, nk] = [40_usize, 35, 7];
    let mut file = sample_file();
    for (axis, dim) in [ni, nj, nk].into_iter().enumerate() {
        put(&mut file, 42 + 2 * axis, &(dim as i16).to_le_bytes());
    }
    file.truncate(352);
    for n in 0..ni * nj * nk {
        let (i, j, k) = (n % ni, n / ni % nj, n / (ni * nj));
        let inside = (3..34).contains(&i) && (1..20).contains(&j) && (2..6).contains(&k);
        let value = if inside { (n * 7919 % 2000) as i16 } else { -1000 };
        file.extend(value.to_le_bytes());
    }
    let axes = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    for (world, signs) in axes.into_iter().flat_map(|world| (0..8).map(move |signs| (world, signs))) {
        for row in 0..3 {
            let entry = |axis: usize| if signs >> axis & 1 == 1 { -1.0 } else { 1.0 };
            let row_values = [0, 1, 2].map(|axis| if world[axis] == row { entry(axis) } else { 0.0 });
            floats(&mut file, 280 + 16 * row, &row_values);
        }
        let volume = read("a.nii", &file).unwrap();
        let copy = Volume::plain(&volume.path, volume.shape_dhw, volume.samples_dhw(), volume.rescale);
        for target in [[3, 9, 11], [9, 50, 64]] {
            let (mut viewed, mut copied) = (Vec::new(), Vec::new());
            let info = recipe::m3d(&volume, target, &mut viewed).unwrap();
            assert_eq!(info, recipe::m3d(&copy, target, &mut copied).unwrap());
            assert_eq!(viewed, copied, "{:?}", volume.orientation);
            let mut lengths = info.crop.shape();
            lengths.sort();
            assert_eq!(lengths, [4, 19, 31]);
        }
    }
}

#[test]
fn large_slices_are_transposed_tile_by_tile() {
    let (ni, nj) = (70_usize, 45_usize);
    let mut file = sample_file();
    put(&mut file, 42, &(ni as i16).to_le_bytes());
    put(&mut file, 44, &(nj as i16).to_le_bytes());
    put(&mut file, 46, &1_i16.to_le_bytes());
    // i runs to posterior, j to the left: the display's rows are i.
    floats(&mut file, 280, &[0.0, -1.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    file.truncate(352);
    (0..ni * nj).for_each(|n| file.extend((n as i16).to_le_bytes()));
    let volume = read("a.nii", &file).unwrap();
    assert_eq!((volume.shape_dhw, volume.orientation.as_deref()), ([1, ni, nj], Some("PLS")));
    let expected = (0..ni).flat_map(|i| (0..nj).map(move |j| (j * ni + i) as i16)).collect::<Vec<i16>>();
    assert_eq!(volume.samples_dhw(), expected.into());
}

#[test]
fn all_types_and_both_byte_orders_are_read() {
    let kinds: [(i16, usize, &str); 8] = [
        (2, 1, "u8"),
        (256, 1, "i8"),
        (4, 2, "i16"),
        (512, 2, "u16"),
        (8, 4, "i32"),
        (768, 4, "u32"),
        (16, 4, "f32"),
        (64, 8, "f64"),
    ];
    for (code, width, name) in kinds {
        for big in [false, true] {
            let mut file = sample_file();
            put(&mut file, 70, &code.to_le_bytes());
            file.truncate(352);
            for value in 0..24_u8 {
                let bytes = match code {
                    16 => f32::from(value).to_le_bytes().to_vec(),
                    64 => f64::from(value).to_le_bytes().to_vec(),
                    _ => u64::from(value).to_le_bytes()[..width].to_vec(),
                };
                file.extend(bytes);
            }
            if big {
                swap(&mut file, width);
            }
            let volume = read("a.nii", &file).unwrap();
            assert_eq!(volume.samples.type_name(), name);
            assert!((0..24).all(|n| volume.samples.get(n) == n as f64), "{name} big {big}");
        }
    }
}

/// Converts the fields that the reader uses, and the voxels, to big-endian.
fn swap(file: &mut [u8], width: usize) {
    let fields = [(0, 4, 1), (40, 2, 8), (70, 2, 2), (76, 4, 8), (108, 4, 3), (252, 2, 2), (256, 4, 18)];
    for (at, size, count) in fields {
        file[at..at + size * count].chunks_exact_mut(size).for_each(<[u8]>::reverse);
    }
    file[352..].chunks_exact_mut(width).for_each(<[u8]>::reverse);
}

#[test]
fn scaling_follows_nibabel() {
    let with = |slope: f32, intercept: f32| {
        let mut file = sample_file();
        floats(&mut file, 112, &[slope, intercept]);
        read("a.nii", &file)
    };
    assert_eq!(with(0.5, -1024.0).unwrap().rescale, Rescale { slope: 0.5, intercept: -1024.0 });
    assert!(with(1.0, -1024.0).unwrap().hu_known);
    for slope in [0.0, f32::NAN, f32::INFINITY] {
        assert_eq!(with(slope, 7.0).unwrap().rescale, Rescale::IDENTITY);
    }
    assert_eq!(with(1.0, f32::NAN).unwrap_err().reason().as_str(), "bad_header");
}

#[test]
fn the_affine_comes_from_sform_then_qform_then_pixdim() {
    let mut file = sample_file();
    put(&mut file, 252, &1_i16.to_le_bytes());
    assert_eq!(read("a.nii", &file).unwrap().orientation.as_deref(), Some("LPS"));
    // A zero sform gives no orientation; the quaternion (0, 0, 0, 1) rotates by 180 degrees about the third axis.
    floats(&mut file, 256, &[0.0, 0.0, 1.0]);
    floats(&mut file, 280, &[0.0; 12]);
    assert_eq!(read("a.nii", &file).unwrap().orientation.as_deref(), Some("LPS"));
    floats(&mut file, 76, &[-1.0]);
    assert_eq!(read("a.nii", &file).unwrap().orientation.as_deref(), Some("LPI"));
    put(&mut file, 252, &0_i16.to_le_bytes());
    assert_eq!(read("a.nii", &file).unwrap().orientation, None);
    put(&mut file, 254, &0_i16.to_le_bytes());
    assert_eq!(read("a.nii", &file).unwrap().orientation.as_deref(), Some("LAS"));
    // Micrometers.
    file[123] = 3;
    assert_eq!(read("a.nii", &file).unwrap().spacing_mm_dhw, Some([0.0025, 0.001, 0.001]));
    floats(&mut file, 88, &[0.0]);
    assert_eq!(read("a.nii", &file).unwrap().spacing_mm_dhw, None);
}

#[test]
fn trailing_axes_of_one_are_dropped_and_time_is_refused() {
    let mut file = sample_file();
    put(&mut file, 40, &5_i16.to_le_bytes());
    assert_eq!(read("a.nii", &file).unwrap().shape_dhw, [4, 3, 2]);
    put(&mut file, 48, &2_i16.to_le_bytes());
    let error = read("a.nii", &file).unwrap_err();
    assert_eq!(error.reason().as_str(), "unsupported_format");
    assert!(error.to_string().ends_with("found an array of 2 x 3 x 4 x 2 x 1 on 5 axes, such as a series in time"));
    // Slices on the fourth axis, and something on the fifth.
    put(&mut file, 46, &[1, 0, 4, 0, 2, 0]);
    assert_eq!(refused("a.nii", &file).0, "unsupported_format");
    put(&mut file, 48, &(-1_i16).to_le_bytes());
    assert_eq!(refused("a.nii", &file).0, "bad_header");
    put(&mut file, 46, &[0, 0, 4, 0]);
    assert_eq!(refused("a.nii", &file).0, "bad_header");
    put(&mut file, 40, &2_i16.to_le_bytes());
    assert_eq!(refused("a.nii", &file).0, "unsupported_format");
}

#[test]
fn axes_and_scaled_bytes_agree_with_nibabel() {
    // tests/golden/nifti_axes.py wrote the files and the expected values.
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/nifti_axes");
    for line in include_str!("golden/nifti_axes.txt").lines().filter(|line| !line.starts_with('#')) {
        let [name, spacing, shown] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let volume = volume::read(&golden.join(name), &ReadLimits::default()).unwrap();
        let numbers = |text: &str| text.split(',').map(|number| number.parse().unwrap()).collect::<Vec<f32>>();
        let (shape, values) = shown.split_once(':').unwrap();
        let mut spacing = numbers(spacing);
        spacing.reverse();
        assert_eq!(volume.spacing_mm_dhw.unwrap().to_vec(), spacing, "{line}");
        assert_eq!(volume.shape_dhw.map(|dim| dim.to_string()).join("x"), shape, "{line}");
        assert_eq!(volume.values_dhw(), numbers(values), "{line}");
        assert_eq!(volume.hu_known, numbers(values).iter().any(|value| *value <= -500.0), "{line}");
        let on_fourth = name.starts_with("fourth") || name.starts_with("scaled_signed");
        assert_eq!(volume.notes.iter().any(|note| note.contains("fourth axis")), on_fourth, "{line}");
    }
}

#[test]
fn damage_is_reported_with_its_offset() {
    let file = sample_file();
    assert_eq!(refused("a.nii", &file[..380]), ("lying_header", Some(380)));
    assert_eq!(refused("a.nii", &file[..100]), ("bad_header", None));
    assert_eq!(refused("a.nii", &[]), ("bad_header", None));
    let zipped = gzip(&file);
    assert_eq!(refused("a.nii.gz", &zipped[..zipped.len() / 2]), ("truncated_gzip", Some(zipped.len() as u64 / 2)));
    assert_eq!(refused("a.nii.gz", &zipped[..zipped.len() - 5]).0, "truncated_gzip");
    let mut damaged = zipped.clone();
    let at = zipped.len() - 8;
    damaged[at] ^= 1;
    assert_eq!(refused("a.nii.gz", &damaged), ("corrupt_gzip", Some(0)));
    let short = gzip(&file[..380]);
    assert_eq!(refused("a.nii.gz", &short), ("lying_header", Some(short.len() as u64)));
}

#[test]
fn a_wrong_header_is_refused_before_memory_is_allocated() {
    let mut file = sample_file();
    for axis in 0..3 {
        put(&mut file, 42 + 2 * axis, &i16::MAX.to_le_bytes());
    }
    // 64 TiB of voxels.
    assert_eq!(refused("a.nii", &file).0, "lying_header");
    assert_eq!(refused("a.nii.gz", &gzip(&file)).0, "lying_header");
    put(&mut file, 42, &(-3_i16).to_le_bytes());
    assert_eq!(refused("a.nii", &file).0, "bad_header");
    // A gzip bomb: far more data than the header promises.
    let bomb = gzip(&[sample_file(), vec![0; 8 << 20]].concat());
    assert_eq!(refused("a.nii.gz", &bomb).0, "lying_header");
}

#[test]
fn the_limit_is_kept() {
    let (_folder, path) = saved("a.nii", &sample_file());
    let error = volume::read(&path, &ReadLimits { max_decoded_bytes: 47 }).unwrap_err();
    assert_eq!(error.reason().as_str(), "too_large");
    assert!(volume::read(&path, &ReadLimits { max_decoded_bytes: 48 }).is_ok());
}

#[test]
fn related_formats_are_named_in_the_error() {
    let mut file = sample_file();
    put(&mut file, 344, b"ni1\0");
    assert!(read("a.nii", &file).unwrap_err().to_string().contains("pair"));
    put(&mut file, 344, &[0; 4]);
    assert!(read("a.nii", &file).unwrap_err().to_string().contains("Analyze"));
    put(&mut file, 344, b"xxxx");
    assert_eq!(refused("a.nii", &file).0, "bad_header");
    put(&mut file, 0, &540_i32.to_le_bytes());
    // Version 2 by its length, but version 1's magic.
    assert_eq!(refused("a.nii", &file), ("bad_header", None));
    let mut rgb = sample_file();
    put(&mut rgb, 70, &128_i16.to_le_bytes());
    assert_eq!(refused("a.nii", &rgb).0, "unsupported_format");
    assert_eq!(refused("a.txt", b"some text that is no volume").0, "unsupported_format");
    assert_eq!(refused("a.nii.gz", &gzip(&b"a long text".repeat(200_000))).0, "unsupported_format");
    assert_eq!(refused("a.nii.gz", &gzip(&[])).0, "bad_header");
    assert_eq!(refused("a.png", b"\x89PNG\r\n\x1a\n").0, "unsupported_image2d");
    let missing = volume::read(&PathBuf::from("/nowhere/a.nii"), &ReadLimits::default()).unwrap_err();
    assert_eq!(missing.reason().as_str(), "not_found");
}

#[test]
fn both_versions_and_pairs_agree_with_nibabel() {
    // tests/golden/nifti.py wrote the files and the expected values.
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/nifti");
    let mut cases = 0;
    for line in include_str!("golden/nifti.txt").lines().filter(|line| !line.starts_with('#')) {
        let fields = line.split(' ').collect::<Vec<_>>();
        let path = golden.join(fields[0]);
        let numbers = |text: &str| text.split(',').map(|number| number.parse().unwrap()).collect::<Vec<f32>>();
        let (shape, values) = fields[3].split_once(':').unwrap();
        let other = volume::paired_file(&path);
        assert_eq!(other.is_some(), fields[0].contains("pair"));
        for part in [Some(path), other].into_iter().flatten() {
            let volume = volume::read(&part, &ReadLimits::default()).unwrap();
            assert_eq!(volume.path, part);
            assert_eq!(volume.orientation.as_deref(), Some(fields[1]), "{line}");
            assert_eq!(volume.shape_dhw.map(|dim| dim.to_string()).join("x"), shape, "{line}");
            assert_eq!(volume.values_dhw(), numbers(values), "{line}");
            // nibabel's zooms are along i, j, k; the third is the display's first.
            let mut zooms = numbers(fields[2]);
            let mut spacing = volume.spacing_mm_dhw.unwrap().to_vec();
            assert!((spacing[0] - zooms[2]).abs() < 1e-6);
            zooms.sort_by(f32::total_cmp);
            spacing.sort_by(f32::total_cmp);
            assert!(zooms.iter().zip(&spacing).all(|(a, b)| (a - b).abs() < 1e-6), "{line}");
        }
        cases += 1;
    }
    assert_eq!(cases, 12);
}

#[test]
fn a_pair_is_recognized_by_its_names() {
    let file = sample_file();
    let (mut header, voxels) = (file[..348].to_vec(), &file[352..]);
    put(&mut header, 344, b"ni1\0");
    floats(&mut header, 108, &[0.0]);
    let (folder, path) = saved("a.b.hdr", &header);
    let error = volume::read(&path, &ReadLimits::default()).unwrap_err();
    assert_eq!(error.reason().as_str(), "not_found");
    assert!(error.to_string().contains("a.b.img"), "{error}");
    fs::write(folder.path().join("other.img"), voxels).unwrap();
    assert_eq!(volume::paired_file(&path), None);
    fs::write(folder.path().join("a.b.img.gz"), gzip(voxels)).unwrap();
    assert_eq!(volume::read(&path, &ReadLimits::default()).unwrap().samples, ramp());
    assert_eq!(volume::paired_file(&path), Some(folder.path().join("a.b.img.gz")));
    // For an uncompressed header, the uncompressed voxel file is preferred.
    fs::write(folder.path().join("a.b.img"), &voxels[..40]).unwrap();
    let error = volume::read(&path, &ReadLimits::default()).unwrap_err();
    assert_eq!((error.reason().as_str(), error.byte_offset()), ("lying_header", Some(40)));
    assert!(error.to_string().contains("a.b.img:"), "{error}");
    assert_eq!(volume::read(&folder.path().join("a.b.img.gz"), &ReadLimits::default()).unwrap().samples, ramp());
    // Upper-case names form a pair too.
    let (folder, path) = saved("UPPER.HDR", &header);
    fs::write(folder.path().join("UPPER.IMG"), voxels).unwrap();
    assert_eq!(volume::read(&path, &ReadLimits::default()).unwrap().samples, ramp());
    // A file whose header states a single file is read as one.
    assert_eq!(read_pair(&file, b"nothing").unwrap().samples, ramp());
}

fn read_pair(header: &[u8], voxels: &[u8]) -> Result<Volume, InputError> {
    let (folder, path) = saved("a.hdr", header);
    fs::write(folder.path().join("a.img"), voxels).unwrap();
    volume::read(&path, &ReadLimits::default())
}

#[test]
fn voxels_may_start_at_any_byte() {
    let file = sample_file();
    for offset in 352..370 {
        let mut moved = file.clone();
        floats(&mut moved, 108, &[offset as f32]);
        moved.splice(352..352, vec![7; offset - 352]);
        assert_eq!(read("a.nii", &moved).unwrap().samples, ramp());
        assert_eq!(read("a.nii.gz", &gzip(&moved)).unwrap().samples, ramp());
    }
}

#[test]
fn volumes_of_one_pool_do_not_share_samples() {
    let buffers = Buffers::default();
    let mut large = sample_file();
    put(&mut large, 46, &400_i16.to_le_bytes());
    large.truncate(352);
    large.extend((0..2400_i16).flat_map(i16::to_le_bytes));
    let small = sample_file();
    let files = [gzip(&large), gzip(&small), small, large.clone(), gzip(&large)];
    let (folder, _) = saved("a", b"");
    for (n, bytes) in files.iter().chain(files.iter().rev()).enumerate() {
        let path = folder.path().join(format!("{n}.nii"));
        fs::write(&path, bytes).unwrap();
        let pooled = volume::read_with(&path, &ReadLimits::default(), &buffers).unwrap();
        assert_eq!(pooled, volume::read(&path, &ReadLimits::default()).unwrap());
        // A copy does not depend on the pool.
        let copy = pooled.clone();
        drop(pooled);
        assert_eq!(copy, volume::read_with(&path, &ReadLimits::default(), &buffers).unwrap());
    }
}

#[test]
fn highly_compressed_and_padded_volumes_are_read() {
    // 1000:1, so that the first buffer is too small; and data after the last voxel.
    let mut file = sample_file();
    for (axis, dim) in [128_i16, 128, 128].into_iter().enumerate() {
        put(&mut file, 42 + 2 * axis, &dim.to_le_bytes());
    }
    file.truncate(352);
    file.resize(352 + 2 * 128 * 128 * 128, 0);
    let last = file.len() - 2;
    put(&mut file, last, &5_i16.to_le_bytes());
    let zipped = gzip(&file);
    assert!(file.len() > 500 * zipped.len());
    let volume = read("a.nii.gz", &zipped).unwrap();
    assert_eq!((volume.samples.len(), volume.samples.get(128 * 128 * 128 - 1)), (1 << 21, 5.0));
    let padded = gzip(&[sample_file(), vec![0; 5000]].concat());
    assert_eq!(read("a.nii.gz", &padded).unwrap().samples, ramp());
}

#[test]
fn bytes_after_the_gzip_members_are_ignored() {
    // As for nibabel and gunzip, at every size: below and above what libdeflate writes at once.
    let small = sample_file();
    let mut large = sample_file();
    put(&mut large, 42, &[64, 0, 64, 0, 32, 0]);
    large.truncate(352);
    large.extend((0..64 * 64 * 32_u32).flat_map(|n| (n.wrapping_mul(2_654_435_761) >> 19).to_le_bytes()[..2].to_vec()));
    let zeros = vec![0; 700];
    let tails: [&[u8]; 8] =
        [b"trailing bytes", &[0], &zeros, b"\0\0text", b"\x1f", b"\x1f\x8b", b"\x1f\x8b\x08\0", &[255; 9]];
    for file in [small, large] {
        let expected = read("a.nii", &file).unwrap().samples;
        for tail in tails {
            let packed = [gzip(&file), tail.to_vec()].concat();
            assert_eq!(read("a.nii.gz", &packed).unwrap().samples, expected, "{tail:?}");
            // Several members, empty ones and padding between them.
            for cut in [1, 100, 348, 352, 353, file.len() - 1] {
                for between in [Vec::new(), gzip(&[]), vec![0; 3], [vec![0; 5], gzip(&[]), vec![0; 40]].concat()] {
                    let parts = [gzip(&file[..cut]), between, gzip(&file[cut..]), tail.to_vec()];
                    let volume = read("a.nii.gz", &parts.concat()).unwrap();
                    assert_eq!(volume.samples, expected, "{cut} {tail:?}");
                }
            }
        }
    }
}

#[test]
fn optional_fields_of_a_gzip_header_are_skipped() {
    let file = sample_file();
    let plain = gzip(&file[..200]);
    for flags in 0..32_u8 {
        let mut member = [&plain[..3], &[flags & 30], &plain[4..10]].concat();
        // Zeros in the extra data are an empty member's trailer by their bytes.
        member.extend(if flags & 4 != 0 { [&[20, 0][..], &[0; 20]].concat() } else { Vec::new() });
        member.extend(if flags & 8 != 0 { b"name\0".to_vec() } else { Vec::new() });
        member.extend(if flags & 16 != 0 { b"comment\0".to_vec() } else { Vec::new() });
        member.extend(if flags & 2 != 0 { vec![0, 0] } else { Vec::new() });
        let empty = [&member[..], &gzip(&[])[10..]].concat();
        member.extend(&plain[10..]);
        let packed = [empty, member, gzip(&file[200..]), b"tail".to_vec()].concat();
        assert_eq!(read("a.nii.gz", &packed).unwrap().samples, ramp(), "{flags}");
    }
}

#[test]
fn values_are_rescaled_in_display_order() {
    let mut file = sample_file();
    floats(&mut file, 112, &[0.5, -10.0]);
    // i runs to the right and j to the front: rows and columns are flipped.
    floats(&mut file, 280, &[1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 2.5, 0.0]);
    let values = read("a.nii", &file).unwrap().values_dhw();
    assert_eq!(values[..6], [0.5, 0.0, -4.5, -5.0, -9.5, -10.0]);
    assert_eq!(values.len(), 24);
}
