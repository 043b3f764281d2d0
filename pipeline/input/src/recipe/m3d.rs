//! Recipe `m3d`: the official preparation of M3D-Data.

use super::PreparedInfo;
use crate::error::InputError;
use crate::intensity::{self, MinMax, ValueRange};
use crate::resample;
use crate::volume::{Sample, Volume, with_samples};

/// Recipe `m3d`: min-max over the volume, crop to the voxels above zero, trilinear resampling to `target_dhw`, whose
/// lengths are at least 1.
///
/// Writes the voxels to `out` (cleared first) in D H W order, each in 0..1. For equal values the result equals the
/// official preparation (M3D's `m3d_cap_data_prepare.py`: min-max, MONAI `CropForeground`, MONAI `Resize` "bilinear")
/// within 1e-6.
///
/// # Errors
/// [`InputError::NotFinite`] for voxels that are NaN, infinite or of a magnitude of 2^126 or more,
/// [`InputError::AllZero`] where all voxels are equal.
pub fn m3d(volume: &Volume, target_dhw: [usize; 3], out: &mut Vec<f32>) -> Result<PreparedInfo, InputError> {
    with_samples!(&volume.samples, samples => m3d_samples(volume, samples, target_dhw, out))
}

fn m3d_samples<T: Sample>(
    volume: &Volume,
    samples: &[T],
    target_dhw: [usize; 3],
    out: &mut Vec<f32>,
) -> Result<PreparedInfo, InputError> {
    let grid = volume.grid(samples);
    let (low, high) = intensity::extremes(volume, samples)?;
    let ValueRange { min, max } = ValueRange::between(low, high, volume.rescale);
    let map = MinMax::new(low, high, volume.rescale);
    let Some(crop) = resample::foreground(&grid, map.zero) else {
        return Err(InputError::AllZero { path: volume.path.clone(), found: min });
    };
    resample::trilinear(&grid, &crop, map, target_dhw, out);
    Ok(PreparedInfo { source_shape_dhw: volume.shape_dhw, crop, value_min: min, value_max: max })
}

/// Where each slice of the result is in the volume: the coordinate along D in slices from the centre of the first.
pub fn m3d_depths(info: &PreparedInfo, depth: usize) -> Vec<Option<f64>> {
    let (start, source) = (info.crop.start[0] as f64, info.crop.shape()[0] as f64);
    let at = |slice: usize| ((slice as f64 + 0.5) * source / depth as f64 - 0.5).clamp(0.0, source - 1.0);
    (0..depth).map(|slice| Some(start + at(slice))).collect()
}
