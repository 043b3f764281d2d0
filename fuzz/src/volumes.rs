//! Readers of volumes on arbitrary bytes: an error that says something, or a volume that holds together.

use std::fs;
use std::path::Path;

use med2e3_input::percentile::PercentileRange;
use med2e3_input::recipe::{self, CtCrop, CtRecipe, Intensity};
use med2e3_input::volume::{self, DeepPictures, ReadLimits};

/// What one input may take when it is decoded; the fuzzer stops at single allocations of 256 MiB.
const LIMITS: ReadLimits = ReadLimits { max_decoded_bytes: 64 << 20 };

/// The mark between two files of a folder.
const BETWEEN: &[u8] = b"|slice|";

/// Most files of a folder.
const MOST_SLICES: usize = 6;

/// A NIfTI, NRRD, MetaImage or MGH file or a NumPy array, plain or gzipped: the first bytes decide.
pub fn nifti(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("a.nii");
    fs::write(&path, bytes).expect("a file can be written");
    prepare(&path);
}

/// A folder of pictures `0.png`, `1.jpeg`, `2.png` and so on; with `|slice|` between them.
pub fn slice_folder(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    for (number, part) in parts(bytes).into_iter().enumerate() {
        let ending = ["png", "jpeg"][number % 2];
        fs::write(folder.path().join(format!("{number}.{ending}")), part).expect("a file can be written");
    }
    prepare(folder.path());
}

/// One DICOM file, or the folder of a series with `|slice|` between its files.
pub fn dicom_files(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let parts = parts(bytes);
    let paths: Vec<_> = (0..parts.len()).map(|number| folder.path().join(format!("{number}.dcm"))).collect();
    for (path, part) in paths.iter().zip(&parts) {
        fs::write(path, part).expect("a file can be written");
    }
    prepare(if paths.len() == 1 { &paths[0] } else { folder.path() });
}

/// The bytes between the marks, up to a few parts.
fn parts(bytes: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let mut rest = Some(bytes);
    while let Some(bytes) = rest.filter(|_| parts.len() < MOST_SLICES) {
        let end = bytes.windows(BETWEEN.len()).position(|window| window == BETWEEN).unwrap_or(bytes.len());
        parts.push(&bytes[..end]);
        rest = bytes.get(end + BETWEEN.len()..);
    }
    parts
}

/// Reads what is at the path and prepares it by both recipes. What headers alone say must agree.
pub fn prepare(path: &Path) {
    assert!(volume::identifiers(path, &LIMITS).is_ok(), "no fault of the machine");
    let looked = volume::look(path, &LIMITS, DeepPictures::Clip);
    let volume = match volume::read(path, &LIMITS) {
        Ok(volume) => volume,
        Err(error) => {
            assert!(looked.err().is_none_or(|looked| looked.reason() == error.reason()));
            return assert!(!error.to_string().is_empty() && !error.reason().as_str().is_empty());
        }
    };
    let looked = looked.expect("what can be read is not refused by its headers");
    if volume.slices_dropped.is_empty() {
        assert_eq!((looked.shape_dhw, looked.spacing_mm_dhw), (volume.shape_dhw, volume.spacing_mm_dhw));
        assert!(looked.hu_known.is_none_or(|known| known == volume.hu_known));
    }
    assert_eq!(volume.samples.len(), volume.shape_dhw.iter().product::<usize>());
    assert!(volume.samples.len() as u64 <= LIMITS.max_decoded_bytes);
    let mut voxels = Vec::new();
    let percentiles = PercentileRange { low: 1.0, high: 99.0 };
    let ct = CtRecipe {
        shape_dhw: [2, 3, 4],
        spacing_mm: None,
        intensity: Intensity::Percentile(percentiles),
        crop: CtCrop::Foreground,
    };
    for is_m3d in [true, false] {
        let prepared =
            if is_m3d { recipe::m3d(&volume, [2, 3, 4], &mut voxels) } else { recipe::ct(&volume, &ct, &mut voxels) };
        match prepared {
            Ok(_) => {
                assert_eq!(voxels.len(), 24);
                assert!(voxels.iter().all(|voxel| (0.0..=1.0).contains(voxel)), "{voxels:?}");
            }
            Err(error) => assert!(!error.to_string().is_empty() && !error.reason().as_str().is_empty()),
        }
    }
}
