//! Recipe `ct`: CTs of the user, whose values are Hounsfield units.
//!
//! The order is crop, resampling, intensity. Intensity comes last, so that a dataset in HU to which a window is applied
//! on reading has the same voxels as a dataset that was prepared with that window.

use serde::{Deserialize, Deserializer, Serialize, de};

use super::{M3D_SHAPE_DHW, PreparedInfo};
use crate::error::InputError;
use crate::percentile::{PercentileRange, percentiles};
use crate::resample::{self, AxisFilter, Crop};
use crate::volume::{Sample, Volume};
use crate::window::Window;

/// The middle between air (-1000) and water (0): denser voxels are body (or table), and noise in air stays below.
const BODY_HU: f32 = -500.0;

/// The padding of volumes in HU that are smaller than the target.
const AIR_HU: f32 = -1000.0;

/// The parameters of recipe `ct`, as a configuration states them.
///
/// Deserialization checks the ranges that the fields state.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CtRecipe {
    /// Shape of the result along D, H and W; each at least 1.
    #[serde(deserialize_with = "shape")]
    pub shape_dhw: [usize; 3],
    /// Spacing of the result along D, H and W in mm, above 0: the box is resampled to it and then cropped or padded
    /// evenly to the shape (see [`AxisFilter::spaced`]). Without it the box is stretched to the shape.
    #[serde(deserialize_with = "spacing")]
    pub spacing_mm: Option<[f32; 3]>,
    /// The mapping from values to voxels.
    pub intensity: Intensity,
    /// The box that is kept.
    pub crop: CtCrop,
}

impl Default for CtRecipe {
    /// M3D's shape, no spacing, HU unchanged, cropped to the body.
    fn default() -> Self {
        CtRecipe { shape_dhw: M3D_SHAPE_DHW, spacing_mm: None, intensity: Intensity::None, crop: CtCrop::Foreground }
    }
}

/// How recipe `ct` maps values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Intensity {
    /// Voxels are HU, so that the window can be chosen on reading. Refused where HU are not known.
    #[default]
    None,
    /// A window in HU is mapped to 0..1. Refused where HU are not known.
    Window(Window),
    /// The values at two percentiles of all voxels of the volume are mapped to 0 and 1, and values outside are clamped:
    /// for MRI and other volumes without a unit. A tissue has no fixed value on this scale.
    Percentile(PercentileRange),
}

/// The box that recipe `ct` keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CtCrop {
    /// All voxels.
    None,
    /// The bounding box of all voxels above -500 HU, the middle between air and water, without a margin: body and
    /// table. Where HU are not known, of all voxels above the smallest value.
    #[default]
    Foreground,
    /// The bounding box of all voxels above another threshold in HU. Refused where HU are not known.
    AboveHu(f32),
}

fn shape<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[usize; 3], D::Error> {
    let shape = <[usize; 3]>::deserialize(deserializer)?;
    if shape.contains(&0) {
        return Err(de::Error::custom(format!("expected at least 1 voxel along D, H and W, found {shape:?}")));
    }
    Ok(shape)
}

fn spacing<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<[f32; 3]>, D::Error> {
    let spacing = Option::<[f32; 3]>::deserialize(deserializer)?;
    if spacing.is_some_and(|spacing| !is_spacing(spacing)) {
        return Err(de::Error::custom(format!("expected spacings above 0 mm along D, H and W, found {spacing:?}")));
    }
    Ok(spacing)
}

fn is_spacing(spacing_mm: [f32; 3]) -> bool {
    spacing_mm.iter().all(|mm| *mm > 0.0 && mm.is_finite())
}

/// Recipe `ct`: crop, resampling with antialiasing along each axis that shrinks, then a window, percentiles or no
/// mapping.
///
/// Writes the voxels to `out` (cleared first) in D H W order: each in 0..1, or in HU with [`Intensity::None`]. Padding
/// is the lowest value of the scale: 0, or -1000 HU. Allocates one copy of the volume's values as `f32`.
///
/// # Errors
/// [`InputError::NotFinite`] for voxels that are NaN, infinite or of a magnitude of 2^126 or more,
/// [`InputError::AllZero`] where all voxels are equal, [`InputError::NoForeground`] where the crop is empty,
/// [`InputError::NoContrast`] where the volume has the same value at both percentiles, [`InputError::HuUnknown`] and
/// [`InputError::SpacingUnknown`] where the recipe needs a unit or a spacing that the source does not state.
pub fn ct(volume: &Volume, recipe: &CtRecipe, out: &mut Vec<f32>) -> Result<PreparedInfo, InputError> {
    let values = volume.values_dhw();
    let [min, max] = range(volume, &values)?;
    if let Some(needed) = recipe.needs_hu().filter(|_| !volume.hu_known) {
        return Err(InputError::HuUnknown { path: volume.path.clone(), needed, min, max });
    }
    let crop = match recipe.crop {
        CtCrop::None => Crop::whole(volume.shape_dhw),
        CtCrop::Foreground if volume.hu_known => above(volume, &values, BODY_HU, max)?,
        CtCrop::Foreground => above(volume, &values, min, max)?,
        CtCrop::AboveHu(threshold) => above(volume, &values, threshold, max)?,
    };
    let bounds = match recipe.intensity {
        Intensity::None => None,
        Intensity::Window(window) => Some(window.level().bounds()),
        Intensity::Percentile(range) => Some(percentile_bounds(volume, &values, range)?),
    };
    let filters = filters(volume, recipe, &crop)?;
    let outside = bounds.map_or(AIR_HU, |[low, _]| low);
    resample::triangle(&values, volume.shape_dhw, &crop, &filters, outside, out);
    if let Some([low, high]) = bounds {
        // Divided and not multiplied by the inverse, which is infinite for a very small range.
        let range = high - low;
        out.iter_mut().for_each(|value| *value = ((*value - low) / range).clamp(0.0, 1.0));
    }
    Ok(PreparedInfo { source_shape_dhw: volume.shape_dhw, crop, value_min: min, value_max: max })
}

impl CtRecipe {
    /// The setting that needs HU, if one does.
    fn needs_hu(&self) -> Option<&'static str> {
        match (self.intensity, self.crop) {
            (Intensity::Window(_), _) => Some("intensity `window`"),
            (Intensity::None, _) => Some("intensity `none`"),
            (_, CtCrop::AboveHu(_)) => Some("crop `above_hu`"),
            _ => None,
        }
    }
}

fn range(volume: &Volume, values: &[f32]) -> Result<[f32; 2], InputError> {
    let path = || volume.path.clone();
    let (mut min, mut max, mut finite) = (f32::INFINITY, f32::NEG_INFINITY, true);
    for value in values {
        min = if *value < min { *value } else { min };
        max = if *value > max { *value } else { max };
        finite &= value.is_bounded();
    }
    if !finite {
        let index = values.iter().position(|value| !value.is_bounded()).expect("one value is not bounded");
        return Err(InputError::NotFinite { path: path(), found: values[index], index });
    }
    if min == max {
        return Err(InputError::AllZero { path: path(), found: min });
    }
    Ok([min, max])
}

/// The bounding box of all voxels above a threshold.
fn above(volume: &Volume, values: &[f32], threshold: f32, max: f32) -> Result<Crop, InputError> {
    let [_, height, width] = volume.shape_dhw;
    let mut start = volume.shape_dhw;
    let mut stop = [0; 3];
    for (row, line) in values.chunks_exact(width).enumerate() {
        let Some(first) = line.iter().position(|value| *value > threshold) else {
            continue;
        };
        let last = line.iter().rposition(|value| *value > threshold).unwrap_or(first);
        let (d, h) = (row / height, row % height);
        for (axis, (low, high)) in [(d, d), (h, h), (first, last)].into_iter().enumerate() {
            start[axis] = start[axis].min(low);
            stop[axis] = stop[axis].max(high + 1);
        }
    }
    if stop[0] == 0 {
        return Err(InputError::NoForeground { path: volume.path.clone(), threshold, found: max });
    }
    Ok(Crop { start, stop })
}

fn percentile_bounds(
    volume: &Volume,
    values: &[f32],
    PercentileRange { low, high }: PercentileRange,
) -> Result<[f32; 2], InputError> {
    let [lower, upper] = percentiles(values, [low, high]).expect("a volume has voxels");
    if lower < upper {
        return Ok([lower, upper]);
    }
    Err(InputError::NoContrast { path: volume.path.clone(), low, high, found: lower })
}

fn filters(volume: &Volume, recipe: &CtRecipe, crop: &Crop) -> Result<[AxisFilter; 3], InputError> {
    let (source, target) = (crop.shape(), recipe.shape_dhw);
    let Some(asked) = recipe.spacing_mm else {
        return Ok(std::array::from_fn(|axis| AxisFilter::resize(source[axis], target[axis])));
    };
    let own = volume.spacing_mm_dhw.filter(|own| is_spacing(*own)).ok_or_else(|| {
        let found = volume.spacing_mm_dhw.map_or("none".to_owned(), |spacing| format!("{spacing:?}"));
        InputError::SpacingUnknown { path: volume.path.clone(), asked, found }
    })?;
    Ok(std::array::from_fn(|axis| AxisFilter::spaced(source[axis], own[axis], target[axis], asked[axis])))
}
