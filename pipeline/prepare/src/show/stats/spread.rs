//! Spread: the quantiles of many numbers in little memory.

use std::collections::BTreeMap;

use serde::Serialize;

/// Smallest, largest, and the values that 5, 25, 50, 75 and 95 % of the numbers do not exceed. The two ends are exact, those
/// between are cut to three significant digits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// How many numbers.
    pub count: u64,
    /// The smallest.
    pub min: f64,
    /// 5 % are this or less.
    pub p5: f64,
    /// A quarter is this or less.
    pub p25: f64,
    /// The median.
    pub p50: f64,
    /// Three quarters are this or less.
    pub p75: f64,
    /// 95 % are this or less.
    pub p95: f64,
    /// The largest.
    pub max: f64,
}

/// Numbers so far, as counts of their first three digits: at most some ten thousand counts, however many numbers come.
#[derive(Clone, Debug, Default)]
pub struct Numbers {
    counts: BTreeMap<i64, u64>,
    ends: Option<(f64, f64)>,
}

/// Significant digits as a factor: 100 to 999.
const HUNDRED: f64 = 100.0;

/// Steps of the first three digits in a power of ten.
const STEPS: i64 = 1000;

impl Numbers {
    /// Adds a number; one that is not finite is left out.
    pub fn add(&mut self, number: f64) {
        if !number.is_finite() {
            return;
        }
        let (min, max) = self.ends.unwrap_or((number, number));
        self.ends = Some((min.min(number), max.max(number)));
        *self.counts.entry(key(number)).or_default() += 1;
    }

    /// The spread; `None` without numbers.
    pub fn spread(&self) -> Option<Spread> {
        let (min, max) = self.ends?;
        let count = self.counts.values().sum();
        let at = |share: f64| {
            let wanted = (share * count as f64).ceil().max(1.0) as u64;
            let mut before = 0;
            let reached = self.counts.iter().find(|(_, count)| {
                before += **count;
                before >= wanted
            });
            reached.map_or(max, |(key, _)| value(*key)).clamp(min, max)
        };
        Some(Spread { count, min, p5: at(0.05), p25: at(0.25), p50: at(0.5), p75: at(0.75), p95: at(0.95), max })
    }
}

/// Power of ten and first three digits as one number, in the order of the numbers themselves.
fn key(number: f64) -> i64 {
    let size = number.abs();
    if size == 0.0 {
        return 0;
    }
    let power = size.log10().floor();
    let digits = (size / 10f64.powf(power) * HUNDRED + 1e-6).floor().clamp(HUNDRED, STEPS as f64 - 1.0) as i64;
    // The smallest double is above 10 to the power of -324.
    let key = (power as i64 + 325) * STEPS + digits;
    if number < 0.0 { -key } else { key }
}

fn value(key: i64) -> f64 {
    if key == 0 {
        return 0.0;
    }
    let (power, digits) = (key.abs() / STEPS - 325, key.abs() % STEPS);
    // By its text, so that 0.7 is 0.7.
    let value: f64 = format!("{digits}e{}", power - 2).parse().unwrap_or(0.0);
    if key < 0 { -value } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(numbers: impl IntoIterator<Item = f64>) -> Spread {
        let mut all = Numbers::default();
        numbers.into_iter().for_each(|number| all.add(number));
        all.spread().unwrap()
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_numbers() {
        let spread = of((1..=100).map(f64::from));
        assert_eq!((spread.min, spread.p5, spread.p25, spread.p50), (1.0, 5.0, 25.0, 50.0));
        assert_eq!((spread.p75, spread.p95, spread.max, spread.count), (75.0, 95.0, 100.0, 100));
        let spread = of([-5.0, 0.0, 0.7, 1234.5, 1e-9]);
        assert_eq!((spread.min, spread.p25, spread.p50, spread.p75, spread.max), (-5.0, 0.0, 1e-9, 0.7, 1234.5));
        assert_eq!(of([1234.5; 3]).p50, 1234.5);
        assert_eq!(Numbers::default().spread(), None);
    }

    #[test]
    fn memory_does_not_grow_with_the_numbers() {
        let mut all = Numbers::default();
        (0..1_000_000u32).for_each(|n| all.add(f64::from(n) * 0.001));
        assert!(all.counts.len() < 7 * STEPS as usize);
        all.add(f64::NAN);
        all.add(f64::INFINITY);
        assert_eq!(all.spread().unwrap().count, 1_000_000);
        // Every double has its place, in order.
        let sizes = [f64::MIN_POSITIVE / 1e10, 1e-300, 0.1, 0.999_999, 1.0, 9.99, 10.0, f64::MAX];
        assert!(sizes.windows(2).all(|pair| key(pair[0]) < key(pair[1])));
    }
}
