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
        // Beyond `f32` a scale would turn equal samples, whose difference is 0, to NaN.
        let scale = (slope / range.max(MIN_RANGE)) as f32;
        MinMax { zero: if slope < 0.0 { high } else { low }, scale: scale.clamp(f32::MIN, f32::MAX) }
    }

    /// The mapped value of a sample.
    #[inline]
    pub fn map(&self, sample: T) -> f32 {
        sample.above(self.zero) * self.scale
    }
}

/// Smallest and largest stored sample.
pub(crate) fn extremes<T: Sample>(volume: &Volume, samples: &[T]) -> Result<(T, T), InputError> {
    let (mut seen, mut finite) = (LowHigh::default(), true);
    // A piece stays in the first-level cache, so the volume goes through memory once.
    for piece in samples.chunks(PIECE) {
        seen.add(piece);
        finite &= piece.iter().fold(true, |finite, sample| finite & sample.is_bounded());
    }
    if finite {
        return Ok(seen.low_and_high());
    }
    let display = volume.grid(samples).to_display();
    let index = display.iter().position(|sample| !sample.is_bounded()).expect("one was seen");
    Err(InputError::NotFinite { path: volume.path.clone(), found: display[index].to_f64() as f32, index })
}

/// Samples that are looked at twice while they are near.
const PIECE: usize = 1 << 12;

/// Independent minima and maxima, as many as fill several vector registers of any sample type.
const LANES: usize = 64;

/// Smallest and largest of the samples that were added, NaN apart.
pub(crate) struct LowHigh<T> {
    low: [T; LANES],
    high: [T; LANES],
}

impl<T: Sample> Default for LowHigh<T> {
    fn default() -> Self {
        LowHigh { low: [T::MOST; LANES], high: [T::LEAST; LANES] }
    }
}

impl<T: Sample> LowHigh<T> {
    pub(crate) fn add(&mut self, samples: &[T]) {
        let (mut low, mut high) = (self.low, self.high);
        let (whole, rest) = samples.as_chunks::<LANES>();
        for part in whole {
            for lane in 0..LANES {
                // Plain comparisons: they compile to vector minimum and maximum, and NaN changes nothing.
                low[lane] = if part[lane] < low[lane] { part[lane] } else { low[lane] };
                high[lane] = if part[lane] > high[lane] { part[lane] } else { high[lane] };
            }
        }
        for (lane, sample) in rest.iter().enumerate() {
            low[lane] = if *sample < low[lane] { *sample } else { low[lane] };
            high[lane] = if *sample > high[lane] { *sample } else { high[lane] };
        }
        (self.low, self.high) = (low, high);
    }

    /// [`Sample::MOST`] and [`Sample::LEAST`] where nothing was added.
    pub(crate) fn low_and_high(&self) -> (T, T) {
        let low = self.low.into_iter().fold(T::MOST, |best, sample| if sample < best { sample } else { best });
        let high = self.high.into_iter().fold(T::LEAST, |best, sample| if sample > best { sample } else { best });
        (low, high)
    }
}
