//! What became of one manifest range, stored in its shard's footer: so a shard alone states which rows it was made from, and
//! a restarted run can trust a finished shard without a separate log.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::quarantine::QuarantineRecord;
use crate::report::TableCounts;

/// Key of the outcome's JSON in the parquet footer.
pub const FOOTER_KEY: &str = "med2e3.outcome";

/// What became of one range's rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeOutcome {
    /// blake3 of everything in the recipe that changes output bytes, as hex.
    pub recipe_hash: String,
    /// blake3 of the range's manifest rows, as hex.
    pub range_hash: String,
    /// blake3 of the shard's rows, as hex (of a volume row its content hash and fields): the shard's own identity.
    pub rows_hash: String,
    /// Rows in the range.
    pub manifest_rows: u64,
    /// Rows in the shard.
    pub rows: u64,
    /// Rows whose id an earlier row has.
    pub duplicates: u64,
    /// Rows that the length budget cut.
    pub truncated: u64,
    /// Rows of volumes with a note, by the note with every number as `N`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub notes: BTreeMap<String, u64>,
    /// Rows whose texts hold the words of special tokens. Not written where there are none, so that such a shard's bytes are
    /// those of earlier versions.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub special_words: u64,
    /// Rows that were set aside.
    pub rejects: Vec<QuarantineRecord>,
}

pub(crate) fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl RangeOutcome {
    /// Counts a volume's notes, each kind once.
    pub fn add_notes(&mut self, notes: &[String]) {
        let kinds: BTreeSet<String> = notes.iter().map(|note| without_numbers(note)).collect();
        kinds.into_iter().for_each(|kind| *self.notes.entry(kind).or_default() += 1);
    }

    /// The outcome's part of its table's counts.
    pub fn counts(&self) -> TableCounts {
        let mut quarantined = BTreeMap::new();
        for reject in &self.rejects {
            *quarantined.entry(reject.reason.to_string()).or_default() += 1;
        }
        TableCounts { manifest_rows: self.manifest_rows, rows: self.rows, quarantined, duplicates: self.duplicates }
    }
}

/// A text with `N` for every number, so that notes of one kind are one text.
fn without_numbers(text: &str) -> String {
    let mut kind = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let number = &rest[start..];
        let end = number.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(number.len());
        // A stop at the end of a sentence is no part of the number.
        let digits = number[..end].trim_end_matches('.').len();
        kind.push_str(rest[..start].trim_end_matches('-'));
        kind.push('N');
        rest = &number[digits..];
    }
    kind + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_counted_by_their_kind() {
        let mut outcome = RangeOutcome::default();
        let gap = |mm: &str, slice: u32| format!("gap of {mm} mm after slice {slice}");
        outcome.add_notes(&[gap("2.5", 3), gap("10", 12), "one slice".into()]);
        outcome.add_notes(&[gap("-1", 3)]);
        let kinds: Vec<_> = outcome.notes.iter().map(|(kind, count)| (kind.as_str(), *count)).collect();
        assert_eq!(kinds, [("gap of N mm after slice N", 2), ("one slice", 1)]);
        assert_eq!(without_numbers("ends with 7."), "ends with N.");
    }
}
