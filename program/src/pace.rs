//! How long one item takes of late: the median, which a pause between two items does not move.

use std::collections::VecDeque;

/// Items that count.
const RECENT: usize = 101;

/// Seconds of the last items.
#[derive(Debug, Default)]
pub struct Pace {
    recent: VecDeque<f64>,
}

impl Pace {
    /// One more item took so many seconds; a number that is none is passed over.
    pub fn add(&mut self, seconds: f64) {
        if !seconds.is_finite() || seconds < 0.0 {
            return;
        }
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(seconds);
    }

    /// The median of the last items' seconds; none before the first. Of an even number it is the mean of the middle two.
    pub fn median(&self) -> Option<f64> {
        let mut sorted: Vec<f64> = self.recent.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        Some(0.5 * (sorted[last / 2] + sorted[last.div_ceil(2)]))
    }
}

/// So many seconds in the two largest of days, hours, minutes and seconds: `2 d 03 h`, `4 min 05 s`, `7 s`.
pub fn in_words(seconds: f64) -> String {
    let all = seconds.max(0.0).round() as u64;
    let (days, hours, minutes, seconds) = (all / 86_400, all / 3600 % 24, all / 60 % 60, all % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {seconds:02} s"),
        (0, _, _) => format!("{hours} h {minutes:02} min"),
        _ => format!("{days} d {hours:02} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_does_not_move_the_median() {
        let mut pace = Pace::default();
        assert_eq!(pace.median(), None);
        [2.0, 600.0].into_iter().for_each(|seconds| pace.add(seconds));
        assert_eq!(pace.median(), Some(301.0));
        [1.0, f64::NAN, -3.0, 2.0, 3.0].into_iter().for_each(|seconds| pace.add(seconds));
        assert_eq!(pace.median(), Some(2.0));
        (0..RECENT).for_each(|_| pace.add(7.0));
        assert_eq!((pace.median(), pace.recent.len()), (Some(7.0), RECENT));
    }

    #[test]
    fn a_time_is_said_in_its_two_largest_units() {
        let said = [0.4, 59.6, 245.0, 10_859.0, 187_200.0, f64::NAN].map(in_words);
        assert_eq!(said, ["0 s", "1 min 00 s", "4 min 05 s", "3 h 00 min", "2 d 04 h", "0 s"]);
    }
}
