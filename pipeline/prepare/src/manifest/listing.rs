//! Listing: what became of every file below a folder that is listed, besides the rows.

use std::collections::BTreeMap;

use med2e3_input::volume::PassedOver;
use serde::{Deserialize, Serialize};

/// What the files below the listed folders are. `in_volumes` and the counts of `passed_over` add up to all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// Files that are volumes or parts of them.
    pub in_volumes: u64,
    /// Entries that are neither, by reason.
    pub passed_over: BTreeMap<String, Passed>,
}

/// Entries that were passed over for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    /// How many.
    pub count: u64,
    /// The first of them. It is a name: it stays in the working folder and on the terminal.
    pub first: String,
}

impl Listing {
    pub(super) fn pass_over(&mut self, reason: PassedOver, path: String) {
        self.count(reason.words(), path);
    }

    /// A file of the manifest: no volume, and read all the same.
    pub(super) fn note_manifest_file(&mut self, path: String) {
        self.count("files of the manifest, which are read".into(), path);
    }

    fn count(&mut self, words: String, path: String) {
        self.passed_over.entry(words).or_insert(Passed { count: 0, first: path }).count += 1;
    }

    /// The counts alone, which name nobody.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.passed_over.iter().map(|(reason, passed)| (reason.clone(), passed.count)).collect()
    }
}
