//! What a verb did, as text for a person.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use med2e3_program::visible;
use med2e3_schemas::report::{ManifestCounts, PrepareReport, TableCounts};

use crate::check::diff::{Diff, TableDiff};
use crate::check::leaks::Leak;
use crate::check::verify::Verification;
use crate::config::{PrepareConfig, TokenizerConfig};
use crate::estimate::Estimate;
use crate::foresee::Foreseen;
use crate::prepare::Prepared;
use crate::provenance::{Paths, Provenance};
use crate::run::Difference;
use crate::show::view::Page;
use crate::subset::draw::Drawn;
use crate::subset::resplit::RowsAre;
use crate::subset::resplit::{Reach, Resplit};

/// Adds a line.
macro_rules! line {
    ($text:expr, $($args:tt)*) => { writeln!($text, $($args)*).expect("a string takes any text") };
}

/// What a run will do, before it does it: recipe, tokenizer, and what is withheld.
pub(super) fn plan(config: &PrepareConfig, out: &Path) -> Vec<String> {
    let volume = &config.volume;
    let [d, h, w] = volume.shape;
    let mut lines = vec![format!(
        "recipe {}, {d}x{h}x{w} voxels as {}, to {}, where prepare.toml states the run in full",
        volume.recipe.as_str(),
        volume.voxels.as_str(),
        out.display(),
    )];
    let texts = !config.manifest.is_volumes_alone();
    match &config.text.tokenizer {
        _ if !texts => {}
        TokenizerConfig::Path(path) => lines.push(format!("tokenizer {}", path.display())),
        TokenizerConfig::Train(entries) => lines.push(format!(
            "tokenizer of at most {entries} entries, trained on the texts; --tokenizer names a language model's own instead"
        )),
    }
    if config.provenance.paths == Paths::Keep {
        lines.push("names are kept: paths, names of files and rows, and cases are in the dataset".into());
    }
    if config.provenance.paths == Paths::Hash {
        let stored = match (&config.text.scrub, texts) {
            (_, false) => "",
            (None, true) => "; texts are stored as they are, --scrub replaces what may tell who a patient is",
            (Some(_), true) => "; in texts, what may tell who a patient is is replaced by marks",
        };
        lines.push(format!(
            "names are withheld: paths, names of files and rows, and cases are in {} alone{stored}",
            Provenance::folder(Paths::Hash, out).display()
        ));
    }
    lines
}

pub(super) fn estimate(estimate: &Estimate) -> String {
    let gib = |bytes: u64| bytes as f64 / (1u64 << 30) as f64;
    let Estimate { volumes, volumes_refused, texts, volumes_per_second, bytes, seconds, free_bytes, .. } = estimate;
    let Foreseen { texts_repeated, texts_without_volume, volumes_alike, unit_unknown, .. } = &estimate.foreseen;
    let mut text = String::new();
    line!(text, "volumes  {volumes}, of which {volumes_refused} will be set aside, as far as their headers tell");
    reasons(&mut text, &estimate.foreseen.volumes);
    let refused: u64 = estimate.foreseen.texts.values().sum();
    if *texts > 0 {
        line!(
            text,
            "texts    {texts}, of which {refused} will be set aside and {texts_repeated} repeat an earlier one"
        );
        reasons(&mut text, &estimate.foreseen.texts);
    }
    if *texts_without_volume > 0 {
        line!(text, "         {texts_without_volume:>6} wait for a volume that will be set aside");
    }
    if !estimate.foreseen.first.is_empty() {
        line!(text, "first    {} of {}:", estimate.foreseen.first.len(), estimate.foreseen.rows());
        estimate.foreseen.first.iter().for_each(|reject| line!(text, "         {}", visible::value(&reject.line())));
    }
    if let Some([one, other]) = &estimate.foreseen.first_alike {
        let (one, other) = (visible::value(one), visible::value(other));
        line!(text, "alike    {volumes_alike} volumes look like copies of others, such as {other} of {one}");
    }
    if *unit_unknown > 0 {
        line!(text, "unknown  the unit of {unit_unknown} volumes: only their values will tell");
    }
    line!(text, "unknown  what only decoding tells: damage within streams, values that are all equal or no numbers");
    line!(text, "disk     {:.2} GiB, of {:.2} GiB free", gib(*bytes), gib(*free_bytes));
    line!(text, "time     {} at {volumes_per_second:.1} volumes/s, as measured here on a few", duration(*seconds));
    if estimate.over_limits {
        line!(
            text,
            "limits   so much will be set aside that the run will end with an error: raise [limits] if this is as expected"
        );
    }
    text
}

fn reasons(text: &mut String, reasons: &BTreeMap<String, u64>) {
    reasons.iter().for_each(|(reason, count)| line!(text, "         {count:>6} {reason}"));
}

/// A time in the unit in which its number is neither small nor large.
fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => "less than a second".to_owned(),
        s if s < 100.0 => format!("{s:.0} seconds"),
        s if s < 100.0 * 60.0 => format!("{:.0} minutes", s / 60.0),
        s if s < 48.0 * 3600.0 => format!("{:.1} hours", s / 3600.0),
        s => format!("{:.1} days", s / 86_400.0),
    }
}

pub(super) fn part(report: &PrepareReport) -> String {
    let (done, all) = (report.volumes.rows, report.volumes.manifest_rows);
    format!("part done: {done} of {all} volumes; when all parts are, run without --part\n")
}

/// Kinds that are listed of notes and of files that were passed over.
const KINDS_SHOWN: usize = 16;

/// Kinds of files that were passed over and may hold the texts of the volumes beside them.
const TEXT_FILES: [&str; 7] =
    [".csv files", ".json files", ".jsonl files", ".parquet files", ".tsv files", ".txt files", ".xlsx files"];

pub(super) fn prepared(prepared: &Prepared) -> String {
    let Prepared { report, listing, first_rejects, quarantine, trained_entries } = prepared;
    let mut text = String::new();
    for (table, counts) in [("volumes", &report.volumes), ("texts", &report.texts)] {
        let TableCounts { manifest_rows, rows, duplicates, .. } = counts;
        let aside = counts.quarantined_rows();
        line!(
            text,
            "{table:<8} {manifest_rows} in the manifest = {rows} rows + {aside} set aside + {duplicates} duplicates"
        );
        counts.quarantined.iter().for_each(|(reason, count)| line!(text, "         {count:>6} {reason}"));
    }
    if !first_rejects.is_empty() {
        let all = report.volumes.quarantined_rows() + report.texts.quarantined_rows();
        let count = first_rejects.len();
        line!(text, "set aside, {count} of {all} (med2e3-data rejects lists all):");
        first_rejects.iter().for_each(|reject| line!(text, "         {}", visible::value(&reject.line())));
    }
    manifest_counts(&mut text, &report.manifest);
    if !listing.passed_over.is_empty() {
        let passed: u64 = listing.passed_over.values().map(|passed| passed.count).sum();
        line!(text, "files    {} in volumes, {passed} passed over:", listing.in_volumes);
        for (what, passed) in listing.passed_over.iter().take(KINDS_SHOWN) {
            line!(text, "         {:>6} {what}, such as {}", passed.count, visible::value(&passed.first));
        }
        more(&mut text, listing.passed_over.len());
    }
    let no_texts = report.texts.manifest_rows == 0;
    let unread = listing.passed_over.iter().find(|(what, _)| no_texts && TEXT_FILES.contains(&what.as_str()));
    if let Some((_, passed)) = unread {
        let name = visible::value(&passed.first);
        line!(text, "texts    {name} was not read, and no other file with texts was named:");
        line!(
            text,
            "         [[manifest.table]] in a configuration names one; `med2e3-data init` writes such a configuration"
        );
    }
    if !report.notes.is_empty() {
        line!(text, "notes    volumes with a note (column notes):");
        report
            .notes
            .iter()
            .take(KINDS_SHOWN)
            .for_each(|(note, count)| line!(text, "         {count:>6} {}", visible::value(note)));
        more(&mut text, report.notes.len());
    }
    if let Some(entries) = trained_entries {
        line!(text, "tokenizer of {entries} entries, trained on the texts");
    }
    let PrepareReport { shards_reused, inputs_read, seconds, special_words, .. } = report;
    if *special_words > 0 {
        line!(text, "{special_words} texts hold the words of special tokens; they are tokenized as plain text");
    }
    if *shards_reused > 0 && report.bytes_written == 0 {
        line!(text, "nothing to do: all {shards_reused} shards were finished ({seconds:.1} s)");
        return text;
    }
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    line!(
        text,
        "{shards_reused} shards found finished; {inputs_read} inputs of {:.1} MiB read, {:.1} MiB written in {seconds:.1} s; \
         reasons in {}",
        mib(report.bytes_read),
        mib(report.bytes_written),
        quarantine.display()
    );
    text
}

/// What reading the manifest found: how cases were told apart, what has no counterpart, who may be named in texts.
fn manifest_counts(text: &mut String, counts: &ManifestCounts) {
    let listed = |counts: &BTreeMap<String, u64>| {
        let words = counts.iter().map(|(word, count)| format!("{count} {}", word.replace('_', " ")));
        words.collect::<Vec<_>>().join(", ")
    };
    let ManifestCounts { cases, rows_without_text, volumes_without_text, .. } = counts;
    if !cases.is_empty() {
        line!(text, "cases    {}, told apart", cases.values().sum::<u64>());
        cases.iter().for_each(|(origin, count)| line!(text, "         {count:>6} by {}", origin_words(origin)));
    }
    if *rows_without_text > 0 {
        line!(text, "texts    {rows_without_text} rows of tables hold no text");
    }
    if *volumes_without_text > 0 {
        line!(text, "volumes  {volumes_without_text} have no text");
    }
    if !counts.scrubbed.is_empty() {
        line!(text, "scrubbed {} in texts", listed(&counts.scrubbed));
    }
    if counts.texts_with_identities > 0 {
        let (texts, found) = (counts.texts_with_identities, listed(&counts.identities));
        line!(text, "WARNING  {texts} texts look as if they told who a patient is ({found}); --scrub replaces it");
    }
}

/// What told cases apart, in words.
fn origin_words(origin: &str) -> &str {
    match origin {
        "table" => "a table's column",
        "patient_id" => "PatientID, of which only a hash is kept",
        "pattern" => "the pattern manifest.case",
        "folder" => "folders and names of files (a table's column or manifest.case would state it)",
        other => other,
    }
}

fn more(text: &mut String, kinds: usize) {
    if kinds > KINDS_SHOWN {
        line!(text, "         and {} more kinds, in report.json", kinds - KINDS_SHOWN);
    }
}

pub(super) fn drawn(Drawn { subset, without_volume }: &Drawn, dataset: &Path) -> String {
    let counts: Vec<_> = subset.counts.iter().map(|(task, count)| format!("{count} {task}")).collect();
    let path = med2e3_shards::subset::path(dataset, &subset.name);
    let mut text = format!("{}: {} (seed {})\n", path.display(), counts.join(", "), subset.seed);
    if *without_volume > 0 {
        line!(text, "{without_volume} samples of the split were left out: a volume of theirs was set aside");
    }
    text
}

pub(super) fn verified(found: &Verification) -> String {
    let mut text = String::new();
    found.checked.iter().for_each(|(what, count)| line!(text, "{what:<14} {count} checked"));
    for (table, counts) in [("volumes", &found.volumes), ("texts", &found.texts)] {
        let TableCounts { manifest_rows, rows, duplicates, .. } = counts;
        let aside = counts.quarantined_rows();
        line!(text, "{table:<14} {manifest_rows} = {rows} rows + {aside} set aside + {duplicates} duplicates");
    }
    line!(text, "{:<14} {} samples wait for a volume that was set aside", "note", found.samples_without_volume);
    found.problems.iter().for_each(|problem| line!(text, "PROBLEM {}", visible::value(problem)));
    match found.problems.len() {
        0 => line!(text, "sound"),
        count => line!(text, "{count} problems"),
    }
    text
}

pub(super) fn viewed(Page { rows, start, volumes, set_aside, bytes }: &Page, page: &Path) -> String {
    let mib = *bytes as f64 / f64::from(1 << 20);
    let mut text =
        format!("{}: {rows} of {volumes} volumes, {set_aside} rows set aside, {mib:.1} MiB\n", page.display());
    if start + rows < *volumes {
        line!(text, "--start {} shows the next", start + rows);
    }
    text
}

pub(super) fn diff(diff: &Diff) -> String {
    let mut text = String::new();
    if !diff.configuration.is_empty() {
        line!(text, "configuration: a rerun is refused, give another --out; these values differ:");
        for Difference { key, there, here } in &diff.configuration {
            line!(text, "  {key}: {} there, {} here", visible::value(there), visible::value(here));
        }
        return text;
    }
    if diff.is_unfinished {
        line!(text, "the run did not end: a rerun goes on from where it was");
    }
    for (table, found) in [("volumes", &diff.volumes), ("texts", &diff.texts)] {
        let TableDiff { rows, new, changed, gone, kept, made, inputs_read, examples, .. } = found;
        let TableDiff { shards_kept, shards_made, shards_removed, .. } = found;
        line!(text, "{table:<8} {new} new, {changed} changed, {gone} gone; {rows} rows then: {kept} kept, {made} made");
        let read = if *inputs_read > 0 { format!("; {inputs_read} inputs read") } else { String::new() };
        line!(text, "         shards: {shards_kept} kept, {shards_made} made, {shards_removed} removed{read}");
        for (kind, names) in examples {
            names.iter().for_each(|name| line!(text, "         {kind:<8} {}", visible::value(name)));
        }
    }
    if !diff.would_change {
        line!(text, "nothing to do");
    }
    text
}

pub(super) fn leaks(leaks: &[Leak], examples_shown: usize) -> String {
    let mut text = String::new();
    line!(text, "{:<8} {:<12} {:<12} {:>8} {:>9} {:>9}", "kind", "from", "to", "shared", "samples", "of");
    for Leak { kind, from, to, shared, samples, of, examples } in leaks {
        let (kind, from, to) = (kind.as_str(), from.as_str(), to.as_str());
        line!(text, "{kind:<8} {from:<12} {to:<12} {shared:>8} {samples:>9} {of:>9}");
        examples.iter().take(examples_shown).for_each(|example| line!(text, "         {}", visible::value(example)));
    }
    text
}

pub(super) fn resplit(made: &Resplit) -> String {
    let Resplit { name, seed, of, groups, largest_group, samples, shares, reach } = made;
    let mut text = String::new();
    let of = of.as_str();
    line!(text, "{groups} groups of cases that share nothing, the largest of {largest_group} {of} (seed {seed})");
    for (split, count) in samples {
        let share = shares.get(split).copied().unwrap_or(0.0);
        let asked = reach.get(split).map(|reach| asked(reach, share)).unwrap_or_default();
        line!(text, "{name}-{split:<10} {count} {of} ({:.2} %{asked})", 100.0 * share);
    }
    match made.of {
        RowsAre::Samples => line!(text, "use it with subset = \"{name}\" in [data]"),
        RowsAre::Volumes => {
            line!(text, "the dataset has no texts: the parts list volume_id, which training does not read")
        }
    }
    text
}

/// What was asked for and what whole groups can have, where it is not what was reached.
fn asked(reach: &Reach, reached: f64) -> String {
    let percent = |share: f64| format!("{:.2} %", 100.0 * share);
    match (reach.below, reach.above) {
        _ if (reach.asked - reached).abs() < 5e-5 => String::new(),
        (Some(below), Some(above)) => format!(
            " of {} that were asked for; whole groups can have {} or {}",
            percent(reach.asked),
            percent(below),
            percent(above)
        ),
        _ => format!(" of {} that were asked for", percent(reach.asked)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_sensible_unit() {
        let said = [0.2, 41.0, 600.0, 7200.0, 90_000.0, 400_000.0].map(duration);
        assert_eq!(said, ["less than a second", "41 seconds", "10 minutes", "2.0 hours", "25.0 hours", "4.6 days"]);
    }
}
