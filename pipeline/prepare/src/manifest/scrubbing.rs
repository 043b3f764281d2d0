//! What is done to the texts of rows that may tell who a patient is: they are replaced by marks, or counted, or left alone.

use std::collections::BTreeMap;

use med2e3_input::text::Scrubber;
use med2e3_input::text::scrub::Counts;
use med2e3_schemas::report::ManifestCounts;

use super::Row;
use crate::config::TextRules;
use crate::provenance::Provenance;

/// What is done.
pub(super) enum Scrubbing<'a> {
    /// Texts are public: nothing.
    Nothing,
    /// Identities are counted, so that whoever hands the dataset on knows of them.
    Count(Box<Scrubber>),
    /// They are replaced.
    Replace(&'a Scrubber),
}

impl<'a> Scrubbing<'a> {
    pub(super) fn of(rules: &'a TextRules, provenance: &Provenance) -> Scrubbing<'a> {
        match &rules.scrubber {
            Some(scrubber) => Scrubbing::Replace(scrubber),
            None if provenance.withholds_names() => Scrubbing::Count(Box::new(Scrubber::built_in())),
            None => Scrubbing::Nothing,
        }
    }

    /// Replaces or counts what the texts of a row hold.
    pub(super) fn row(&self, row: &mut Row, counts: &mut ManifestCounts) {
        let turns = row.turns.iter_mut().flatten().flat_map(|turn| [&mut turn.question, &mut turn.answer]);
        let choices = row.choices.iter_mut().flatten();
        let texts = [&mut row.question, &mut row.answer].into_iter().chain(turns).chain(choices);
        match self {
            Scrubbing::Nothing => {}
            Scrubbing::Count(scrubber) => {
                let mut found = Counts::default();
                texts.for_each(|text| found += &scrubber.find(text));
                counts.texts_with_identities += u64::from(!found.is_empty());
                add(&mut counts.identities, &found);
            }
            Scrubbing::Replace(scrubber) => texts.for_each(|text| {
                let scrubbed = scrubber.scrub(text);
                add(&mut counts.scrubbed, &scrubbed.counts);
                if !scrubbed.counts.is_empty() {
                    *text = scrubbed.text.into_owned();
                }
            }),
        }
    }
}

fn add(to: &mut BTreeMap<String, u64>, found: &Counts) {
    found.iter().for_each(|(kind, count)| *to.entry(kind.to_lowercase()).or_default() += count);
}
