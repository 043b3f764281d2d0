//! Reach: which shares of all rows whole groups can add up to.

use std::collections::BTreeMap;

/// Rows up to which sums of groups are looked for; of more rows every share is near one that can be reached.
const MOST_ROWS: usize = 1 << 20;

/// The sums of whole groups next to a wanted number of rows: the largest that is not above it and the smallest that is not below
/// it. `None` for more than a million rows.
pub(super) fn around(sizes: &[usize], wanted: f64) -> Option<[usize; 2]> {
    let total: usize = sizes.iter().sum();
    if total > MOST_ROWS {
        return None;
    }
    let sums = Sums::of(sizes, total);
    let below = (0..=total).rev().find(|sum| *sum as f64 <= wanted + ROUNDING && sums.holds(*sum));
    let above = (0..=total).find(|sum| *sum as f64 >= wanted - ROUNDING && sums.holds(*sum));
    Some([below.unwrap_or(0), above.unwrap_or(total)])
}

/// A share of a number of rows is not exact: 0.29 of 100 is a little less than 29.
pub(super) const ROUNDING: f64 = 1e-6;

/// The sums that some of the sizes have, one bit each.
struct Sums(Vec<u64>);

impl Sums {
    fn of(sizes: &[usize], total: usize) -> Sums {
        let mut times: BTreeMap<usize, usize> = BTreeMap::new();
        sizes.iter().for_each(|size| *times.entry(*size).or_default() += 1);
        let mut sums = Sums(vec![0; total / 64 + 1]);
        sums.0[0] = 1;
        for (size, mut left) in times {
            // So many times a size, as sums of 1, 2, 4 and so on times.
            let mut part = 1;
            while left > 0 {
                let taken = part.min(left);
                sums.add(size * taken);
                (left, part) = (left - taken, 2 * part);
            }
        }
        sums
    }

    /// Every sum so far, and also with `more` added.
    fn add(&mut self, more: usize) {
        let (words, bits) = (more / 64, more % 64);
        for at in (words..self.0.len()).rev() {
            let mut moved = self.0[at - words] << bits;
            if bits > 0 && at > words {
                moved |= self.0[at - words - 1] >> (64 - bits);
            }
            self.0[at] |= moved;
        }
    }

    fn holds(&self, sum: usize) -> bool {
        self.0[sum / 64] >> (sum % 64) & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_that_some_groups_have() {
        let sizes = [3, 3, 7, 50, 100, 100];
        let mut all: Vec<usize> = (0..1u32 << sizes.len())
            .map(|chosen| sizes.iter().enumerate().filter(|(n, _)| chosen >> n & 1 == 1).map(|(_, size)| size).sum())
            .collect();
        all.sort_unstable();
        let total = sizes.iter().sum();
        let sums = Sums::of(&sizes, total);
        assert!((0..=total).all(|sum| sums.holds(sum) == all.contains(&sum)));
        assert_eq!(around(&sizes, 5.0), Some([3, 6]));
        assert_eq!(around(&sizes, 2.9), Some([0, 3]));
        assert_eq!(around(&sizes, 13.0), Some([13, 13]));
        assert_eq!(around(&[100; 100], 0.29 * 10_000.0), Some([2900, 2900]));
        assert_eq!(around(&[MOST_ROWS, 1], 5.0), None);
    }
}
