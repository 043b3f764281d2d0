//! The smallest and the largest of many samples.

use super::samples::Sample;

/// Number of independent minima and maxima: enough to fill several vector registers of any sample type.
const LANES: usize = 64;

/// Smallest and largest of the samples that were added; NaN is ignored.
pub(crate) struct LowHigh<T> {
    low: [T; LANES],
    high: [T; LANES],
}

impl<T: Sample> Default for LowHigh<T> {
    fn default() -> Self {
        LowHigh { low: [T::HIGHEST; LANES], high: [T::LOWEST; LANES] }
    }
}

impl<T: Sample> LowHigh<T> {
    pub(crate) fn add(&mut self, samples: &[T]) {
        let (mut low, mut high) = (self.low, self.high);
        let (whole, rest) = samples.as_chunks::<LANES>();
        for part in whole {
            for lane in 0..LANES {
                // Plain comparisons compile to vector minimum and maximum, and ignore NaN.
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

    /// Smallest and largest sample; [`Sample::HIGHEST`] and [`Sample::LOWEST`] where nothing was added.
    pub(crate) fn low_and_high(&self) -> (T, T) {
        let low = self.low.into_iter().fold(T::HIGHEST, |best, sample| if sample < best { sample } else { best });
        let high = self.high.into_iter().fold(T::LOWEST, |best, sample| if sample > best { sample } else { best });
        (low, high)
    }
}
