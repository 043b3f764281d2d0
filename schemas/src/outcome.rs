//! What became of one manifest range, stored in its shard's footer: so a shard alone states which rows it was made from, and
//! a restarted run can trust a finished shard without a separate log.

use std::collections::BTreeMap;

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
    /// Rows whose texts hold the words of special tokens. Not written where there are none, so that such a shard's bytes are
    /// those of earlier versions.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub special_words: u64,
    /// Rows that were set aside.
    pub rejects: Vec<QuarantineRecord>,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl RangeOutcome {
    /// The outcome's part of its table's counts.
    pub fn counts(&self) -> TableCounts {
        let mut quarantined = BTreeMap::new();
        for reject in &self.rejects {
            *quarantined.entry(reject.reason.to_string()).or_default() += 1;
        }
        TableCounts { manifest_rows: self.manifest_rows, rows: self.rows, quarantined, duplicates: self.duplicates }
    }
}
