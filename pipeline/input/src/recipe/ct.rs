//! Recipe `ct`: CTs of the user, whose values are Hounsfield units.
//!
//! The order is crop, resampling, intensity. Intensity comes last, so that a dataset in HU to which a window is applied
//! on reading has the same voxels as a dataset that was prepared with that window.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};

use super::{M3D_SHAPE_DHW, PreparedInfo};
use crate::error::InputError;
use crate::percentile::{PercentileRange, percentiles_of};
use crate::resample::{self, AxisFilter, Crop};
use crate::volume::values::Values;
use crate::volume::{Sample, Volume, with_samples};
use crate::window::Window;

/// The middle between air (-1000) and water (0): denser voxels are body (or table), and noise in air stays below.
const BODY_HU: f32 = -500.0;

/// The padding of volumes in HU that are smaller than the target.
const AIR_HU: f32 = -1000.0;

/// The parameters of recipe `ct`, as a configuration states them.
///
/// Deserialization checks the ranges that the fields state.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CtRecipe {
    /// Shape of the result along D, H and W; each at least 1.
    #[serde(deserialize_with = "shape")]
    pub shape_dhw: [usize; 3],
    /// Spacing of the result along D, H and W in mm, above 0: the box is resampled to it and then cropped or padded
    /// evenly to the shape. Without it the box is stretched to the shape.
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
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
/// is the lowest value of the scale: 0, or -1000 HU. Values are converted
/// some rows at a time: the volume is not copied.
///
/// # Errors
/// [`InputError::NotFinite`] for voxels that are NaN, infinite or of a magnitude of 2^126 or more,
/// [`InputError::AllZero`] where all voxels are equal, [`InputError::NoForeground`] where the crop is empty,
/// [`InputError::NoContrast`] where the volume has the same value at both percentiles, [`InputError::HuUnknown`] and
/// [`InputError::SpacingUnknown`] where the recipe needs a unit or a spacing that the source does not state.
pub fn ct(volume: &Volume, recipe: &CtRecipe, out: &mut Vec<f32>) -> Result<PreparedInfo, InputError> {
    with_samples!(&volume.samples, samples => ct_samples(volume, samples, recipe, out))
}

/// Where each slice of the result is in the volume: the coordinate along D in slices from the centre of the first; `None` for padding.
///
/// # Errors
/// [`InputError::SpacingUnknown`] as [`ct`].
pub fn ct_depths(volume: &Volume, recipe: &CtRecipe, info: &PreparedInfo) -> Result<Vec<Option<f64>>, InputError> {
    let [along_d, ..] = filters(volume, recipe, &info.crop)?;
    let start = info.crop.start[0] as f64;
    Ok(along_d.centers().into_iter().map(|center| center.map(|center| start + center)).collect())
}

fn ct_samples<T: Sample>(
    volume: &Volume,
    samples: &[T],
    recipe: &CtRecipe,
    out: &mut Vec<f32>,
) -> Result<PreparedInfo, InputError> {
    let grid = volume.grid(samples);
    let mut values = Values::new(grid, volume.rescale);
    let threshold = match recipe.crop {
        CtCrop::None => None,
        CtCrop::Foreground => volume.hu_known.then_some(BODY_HU),
        CtCrop::AboveHu(threshold) => Some(threshold),
    };
    let mut survey = Survey::new(volume, threshold);
    values.each(|d, h, values| survey.add(d, h, values));
    let [min, max] = survey.range()?;
    if let Some(needed) = recipe.needs_hu().filter(|_| !volume.hu_known) {
        return Err(InputError::HuUnknown { path: volume.path.clone(), needed, min, max });
    }
    if recipe.crop == CtCrop::Foreground && threshold.is_none() {
        // The threshold is the smallest value, which is known now.
        survey = Survey::new(volume, Some(min));
        values.each(|d, h, values| survey.add(d, h, values));
    }
    let crop = survey.crop()?;
    let bounds = match recipe.intensity {
        Intensity::None => None,
        Intensity::Window(window) => Some(window.level().bounds()),
        Intensity::Percentile(range) => Some(percentile_bounds(volume, &mut values, range)?),
    };
    let filters = filters(volume, recipe, &crop)?;
    let outside = bounds.map_or(AIR_HU, |[low, _]| low);
    resample::triangle(&grid, volume.rescale, &crop, &filters, outside, out);
    if let Some([low, high]) = bounds {
        // Divided and not multiplied by the inverse, which is infinite for a very small range.
        let range = high - low;
        out.iter_mut().for_each(|value| *value = ((*value - low) / range).clamp(0.0, 1.0));
    }
    Ok(PreparedInfo { source_shape_dhw: volume.shape_dhw, crop, value_min: min, value_max: max })
}

impl CtRecipe {
    /// The setting that needs HU, if one does.
    pub fn needs_hu(&self) -> Option<&'static str> {
        match (self.intensity, self.crop) {
            (Intensity::Window(_), _) => Some("intensity `window`"),
            (Intensity::None, _) => Some("intensity `none`"),
            (_, CtCrop::AboveHu(_)) => Some("crop `above_hu`"),
            _ => None,
        }
    }
}

/// What one pass over a volume's values tells.
struct Survey<'a> {
    volume: &'a Volume,
    min: f32,
    max: f32,
    /// The first value that is not bounded, and its index in D H W order.
    unbounded: Option<(f32, usize)>,
    /// The threshold of the crop, and the bounding box of the voxels above it.
    threshold: Option<f32>,
    start: [usize; 3],
    stop: [usize; 3],
}

impl Survey<'_> {
    fn new(volume: &Volume, threshold: Option<f32>) -> Survey<'_> {
        let (min, max, stop) = (f32::INFINITY, f32::NEG_INFINITY, [0; 3]);
        Survey { volume, min, max, unbounded: None, threshold, start: volume.shape_dhw, stop }
    }

    /// Adds whole rows of slice `d`, from row `first` on.
    fn add(&mut self, d: usize, first: usize, values: &[f32]) {
        let [_, height, width] = self.volume.shape_dhw;
        let (mut min, mut max, mut finite) = (self.min, self.max, true);
        for value in values {
            min = if *value < min { *value } else { min };
            max = if *value > max { *value } else { max };
            finite &= value.is_bounded();
        }
        (self.min, self.max) = (min, max);
        if !finite && self.unbounded.is_none() {
            let index = values.iter().position(|value| !value.is_bounded()).expect("one value is not bounded");
            self.unbounded = Some((values[index], (d * height + first) * width + index));
        }
        let Some(threshold) = self.threshold else { return };
        for (h, line) in (first..).zip(values.chunks_exact(width)) {
            let Some(left) = line.iter().position(|value| *value > threshold) else {
                continue;
            };
            let right = line.iter().rposition(|value| *value > threshold).unwrap_or(left);
            for (axis, (low, high)) in [(d, d), (h, h), (left, right)].into_iter().enumerate() {
                self.start[axis] = self.start[axis].min(low);
                self.stop[axis] = self.stop[axis].max(high + 1);
            }
        }
    }

    fn range(&self) -> Result<[f32; 2], InputError> {
        let path = || self.volume.path.clone();
        if let Some((found, index)) = self.unbounded {
            return Err(InputError::NotFinite { path: path(), found, index });
        }
        if self.min == self.max {
            return Err(InputError::AllZero { path: path(), found: self.min });
        }
        Ok([self.min, self.max])
    }

    /// The bounding box of all voxels above the threshold; without a threshold, of all voxels.
    fn crop(&self) -> Result<Crop, InputError> {
        let Some(threshold) = self.threshold else { return Ok(Crop::whole(self.volume.shape_dhw)) };
        if self.stop[0] == 0 {
            return Err(InputError::NoForeground { path: self.volume.path.clone(), threshold, found: self.max });
        }
        Ok(Crop { start: self.start, stop: self.stop })
    }
}

fn percentile_bounds<T: Sample>(
    volume: &Volume,
    values: &mut Values<'_, T>,
    PercentileRange { low, high }: PercentileRange,
) -> Result<[f32; 2], InputError> {
    let count = volume.samples.len();
    let bounds = percentiles_of(count, |visit| values.each(|_, _, values| visit(values)), [low, high]);
    let [lower, upper] = bounds.expect("a volume has voxels");
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
