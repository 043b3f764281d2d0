//! Intensity: the range of a volume's values and the min-max mapping to 0..1, both on the stored samples.

use crate::error::InputError;
use crate::volume::low_high::LowHigh;
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
    /// [`InputError::NotFinite`] where a voxel is NaN, infinite or as great as 2^126.
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

/// Min-max mapping to 0..1, `(value - min) / max(range, 1e-8)`, applied to stored samples directly, so that no rescaled
/// copy is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MinMax<T> {
    /// The sample that maps to 0: the smallest sample, or the largest where the rescale slope is negative.
    pub zero: T,
    /// Increase of the mapped value per sample step; negative where the rescale slope is negative.
    pub scale: f32,
}

impl<T: Sample> MinMax<T> {
    /// The mapping for samples from `low` to `high`, both included.
    pub fn new(low: T, high: T, rescale: Rescale) -> MinMax<T> {
        let slope = f64::from(rescale.slope);
        let range = (high.to_f64() - low.to_f64()) * slope.abs();
        // An infinite scale would map equal samples, whose difference is 0, to NaN.
        let scale = (slope / range.max(MIN_RANGE)) as f32;
        MinMax { zero: if slope < 0.0 { high } else { low }, scale: scale.clamp(f32::MIN, f32::MAX) }
    }

    /// The mapped value of a sample: 0 to 1, up to rounding, for samples of the mapping's range.
    #[inline]
    pub fn map(&self, sample: T) -> f32 {
        sample.minus(self.zero) * self.scale
    }
}

/// Smallest and largest stored sample.
pub(crate) fn extremes<T: Sample>(volume: &Volume, samples: &[T]) -> Result<(T, T), InputError> {
    let (mut range, mut finite) = (LowHigh::default(), true);
    // A chunk stays in the first-level cache, so the volume is read from memory once.
    for chunk in samples.chunks(CHUNK) {
        range.add(chunk);
        finite &= chunk.iter().fold(true, |finite, sample| finite & sample.is_bounded());
    }
    if finite {
        return Ok(range.low_and_high());
    }
    let display = volume.grid(samples).to_display();
    let index = display.iter().position(|sample| !sample.is_bounded()).expect("one sample is not bounded");
    Err(InputError::NotFinite { path: volume.path.clone(), found: display[index].to_f64() as f32, index })
}

/// Samples that are read twice, for the range and for finiteness, while they are in the cache.
const CHUNK: usize = 1 << 12;
