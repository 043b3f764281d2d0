//! Intensity: the range of a volume's values and the min-max mapping to 0..1, both on the stored samples.

use crate::error::InputError;
use crate::volume::{Rescale, Sample, Volume, with_samples};

/// M3D's lower bound of the divisor (`np.clip(max, a_min=1e-8)` in `m3d_cap_data_prepare.py`).
const MIN_RANGE: f64 = 1e-8;

/// Smallest and largest value of a volume, after rescale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ValueRange {
    /// Smallest value.
    pub min: f32,
    /// Largest value.
    pub max: f32,
}

impl ValueRange {
    /// The range of a volume, in one pass over its stored samples.
    ///
    /// # Errors
    /// [`InputError::NotFinite`] where a voxel is NaN or infinite.
    pub fn of(volume: &Volume) -> Result<ValueRange, InputError> {
        with_samples!(&volume.samples, samples => {
            let (low, high) = extremes(volume, samples)?;
            Ok(ValueRange::between(low, high, volume.rescale))
        })
    }

    pub(crate) fn between<T: Sample>(low: T, high: T, rescale: Rescale) -> ValueRange {
        // A negative slope swaps the two.
        let [a, b] = [low, high].map(|sample| rescale.value(sample.to_f64()));
        ValueRange { min: a.min(b), max: a.max(b) }
    }
}

/// Values to 0..1: `(value - min) / max(range, 1e-8)`, as a mapping of stored samples, of which no rescaled copy is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MinMax<T> {
    /// The sample that maps to 0: the smallest value's (the largest sample where the slope is negative).
    pub zero: T,
    /// Units of 0..1 per sample step; negative where the slope is.
    pub scale: f32,
}

impl<T: Sample> MinMax<T> {
    /// The mapping for samples between `low` and `high`.
    pub fn new(low: T, high: T, rescale: Rescale) -> MinMax<T> {
        let slope = f64::from(rescale.slope);
        let range = (high.to_f64() - low.to_f64()) * slope.abs();
        MinMax { zero: if slope < 0.0 { high } else { low }, scale: (slope / range.max(MIN_RANGE)) as f32 }
    }

    /// The mapped value of a sample.
    #[inline]
    pub fn map(&self, sample: T) -> f32 {
        sample.above(self.zero) * self.scale
    }
}

/// Smallest and largest stored sample.
pub(crate) fn extremes<T: Sample>(volume: &Volume, samples: &[T]) -> Result<(T, T), InputError> {
    let first = samples.first().copied().unwrap_or_default();
    let (mut low, mut high, mut finite) = (first, first, true);
    for sample in samples {
        // Plain comparisons: they compile to vector minimum and maximum.
        low = if *sample < low { *sample } else { low };
        high = if *sample > high { *sample } else { high };
        finite &= sample.is_finite();
    }
    if finite {
        return Ok((low, high));
    }
    let index = samples.iter().position(|sample| !sample.is_finite()).expect("one was seen");
    Err(InputError::NotFinite { path: volume.path.clone(), found: samples[index].to_f64() as f32, index })
}
