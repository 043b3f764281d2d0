//! The part of a run's work that one of several processes does: of ranges, of rows of a table.

use std::str::FromStr;

/// The pieces of work whose number leaves `index` when divided by `count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkPart {
    index: u32,
    count: u32,
}

impl WorkPart {
    /// All pieces.
    pub const WHOLE: WorkPart = WorkPart { index: 0, count: 1 };

    /// Whether a piece, by its number from 0 on, belongs to the part.
    pub fn holds(self, piece: u32) -> bool {
        piece % self.count == self.index
    }
}

impl FromStr for WorkPart {
    type Err = String;

    /// Reads `2/4`: the second of four.
    fn from_str(text: &str) -> Result<WorkPart, String> {
        let numbers = text.split_once('/').and_then(|(i, n)| Some((i.parse::<u32>().ok()?, n.parse::<u32>().ok()?)));
        match numbers {
            Some((index, count)) if (1..=count).contains(&index) => Ok(WorkPart { index: index - 1, count }),
            _ => Err(format!("expected I/N with I from 1 to N, found {text}")),
        }
    }
}
