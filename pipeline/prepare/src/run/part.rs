//! The part of a run's ranges that one of several processes works at.

use std::str::FromStr;

/// The ranges whose number leaves `index` when divided by `count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangePart {
    index: u32,
    count: u32,
}

impl RangePart {
    /// All ranges, and the index at the end.
    pub const WHOLE: RangePart = RangePart { index: 0, count: 1 };

    /// Whether a range belongs to the part.
    pub fn holds(self, range: u32) -> bool {
        range % self.count == self.index
    }
}

impl FromStr for RangePart {
    type Err = String;

    /// Reads `2/4`: the second of four.
    fn from_str(text: &str) -> Result<RangePart, String> {
        let numbers = text.split_once('/').and_then(|(i, n)| Some((i.parse::<u32>().ok()?, n.parse::<u32>().ok()?)));
        match numbers {
            Some((index, count)) if (1..=count).contains(&index) => Ok(RangePart { index: index - 1, count }),
            _ => Err(format!("expected I/N with I from 1 to N, found {text}")),
        }
    }
}
