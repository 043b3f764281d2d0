//! Percentiles of a volume's values, as numpy's `percentile` with its default `linear` method defines them: a
//! percentile between two sorted values is interpolated linearly.
//!
//! Values are counted by the upper and then the lower 16 bits, so that nothing is sorted or copied.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Two percentiles, the lower below the upper.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Bounds")]
pub struct PercentileRange {
    /// The lower percentile, 0 or more.
    pub low: f64,
    /// The upper percentile, above `low` and at most 100.
    pub high: f64,
}

/// A range as the configuration states it, not yet checked.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Bounds {
    /// The lower percentile, below the upper.
    #[schemars(range(min = 0, max = 100))]
    low: f64,
    /// The upper percentile.
    #[schemars(range(min = 0, max = 100))]
    high: f64,
}

impl JsonSchema for PercentileRange {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PercentileRange".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Bounds::json_schema(generator)
    }
}

impl TryFrom<Bounds> for PercentileRange {
    type Error = String;

    fn try_from(Bounds { low, high }: Bounds) -> Result<Self, String> {
        if 0.0 <= low && low < high && high <= 100.0 {
            return Ok(PercentileRange { low, high });
        }
        Err(format!("expected percentiles 0 <= low < high <= 100, found low {low} and high {high}"))
    }
}

/// The values at percentiles `percents` (each clamped to 0..=100) of finite `values`; `None` where there are no values.
///
/// Takes 1 MiB of counters and reads `values` once, and then once or twice for each percentile.
pub fn percentiles<const N: usize>(values: &[f32], percents: [f64; N]) -> Option<[f32; N]> {
    percentiles_of(values.len(), |visit| visit(values), percents)
}

/// As [`percentiles`], of `count` values that `each` gives in parts, the same at every call.
pub(crate) fn percentiles_of<const N: usize>(
    count: usize,
    each: impl FnMut(&mut dyn FnMut(&[f32])),
    percents: [f64; N],
) -> Option<[f32; N]> {
    if count == 0 {
        return None;
    }
    let positions = percents.map(|percent| (percent / 100.0).clamp(0.0, 1.0) * (count - 1) as f64);
    let mut ranks = Ranks::new(each);
    Some(positions.map(|position| {
        let low = position as usize;
        let [a, b] = [low, (low + 1).min(count - 1)].map(|rank| f64::from(ranks.value(rank)));
        (a + (b - a) * position.fract()) as f32
    }))
}

/// Values by their rank in sorted order, found by counting.
struct Ranks<F> {
    each: F,
    /// Number of values for each upper half of a key.
    upper: Vec<usize>,
    /// Number of values for each lower half, of the keys with the upper half that was asked for last.
    lower: Option<(u32, Vec<usize>)>,
}

impl<F: FnMut(&mut dyn FnMut(&[f32]))> Ranks<F> {
    fn new(mut each: F) -> Ranks<F> {
        let mut upper = vec![0; 1 << 16];
        each(&mut |values| values.iter().for_each(|value| upper[(key(*value) >> 16) as usize] += 1));
        Ranks { each, upper, lower: None }
    }

    /// The value at `rank` in sorted order; `rank` is below the number of values.
    fn value(&mut self, rank: usize) -> f32 {
        let (upper, rank) = bin_of(&self.upper, rank);
        let counted = self.lower.take().filter(|(of, _)| *of == upper).unwrap_or_else(|| {
            let mut lower = vec![0; 1 << 16];
            (self.each)(&mut |values| {
                for key in values.iter().map(|value| key(*value)).filter(|key| key >> 16 == upper) {
                    lower[(key & 0xffff) as usize] += 1;
                }
            });
            (upper, lower)
        });
        let (_, lower) = self.lower.insert(counted);
        from_key(upper << 16 | bin_of(lower, rank).0)
    }
}

/// The bin that holds `rank`, and the rank within it.
fn bin_of(counts: &[usize], mut rank: usize) -> (u32, usize) {
    for (bin, count) in counts.iter().enumerate() {
        if rank < *count {
            return (bin as u32, rank);
        }
        rank -= count;
    }
    unreachable!("a rank is below the number of values")
}

/// Integers in the order of the floats: all bits of negative numbers are inverted, and the sign bit of the others.
fn key(value: f32) -> u32 {
    let bits = value.to_bits();
    bits ^ if bits >> 31 == 1 { u32::MAX } else { 1 << 31 }
}

fn from_key(key: u32) -> f32 {
    f32::from_bits(key ^ if key >> 31 == 1 { 1 << 31 } else { u32::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_between_two_values_is_interpolated() {
        // numpy 2.4: np.percentile(np.float32([3, -1, 7, -0.5, 100]), [0, 10, 50, 62.5, 99.5, 100]).
        let values = [3.0, -1.0, 7.0, -0.5, 100.0];
        let found = percentiles(&values, [0.0, 10.0, 50.0, 62.5, 99.5, 100.0]).unwrap();
        assert_eq!(found, [-1.0, -0.8, 3.0, 5.0, 98.14, 100.0]);
        assert_eq!(percentiles(&[], [50.0]), None);
        assert_eq!(percentiles(&[4.0], [0.0, 33.0]), Some([4.0, 4.0]));
    }

    #[test]
    fn negative_values_are_sorted_below_positive_ones() {
        // numpy 2.4: np.percentile(v, [0.5, 25, 50, 99.5]) with v = (noise(1000, 7) - 2048) / 8 of tests/golden/ct.py.
        let noise = |n: u64| (((n + 7_000_021) * 2_654_435_761 % (1 << 32)) >> 20) as f32;
        let values = (0..1000).map(|n| (noise(n) - 2048.0) / 8.0).collect::<Vec<_>>();
        let found = percentiles(&values, [0.5, 25.0, 50.0, 99.5]).unwrap();
        assert_eq!(found, [-253.376_88, -127.90625, 0.1875, 253.126_88]);
    }
}
