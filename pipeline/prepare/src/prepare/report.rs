//! What a run reports: counts, what was set aside with its reasons, and whether both are acceptable.

use std::collections::BTreeMap;
use std::path::Path;

use med2e3_program::output::write_report;
use med2e3_schemas::quarantine::{self, QuarantineRecord, Reason, Table};
use med2e3_schemas::report::{PrepareReport, TableCounts};
use med2e3_shards::{PageLayout, ShardWriter};

use super::Prepared;
use super::table::DoneTable;
use crate::PrepareError;
use crate::config::PrepareConfig;
use crate::progress::Step;
use crate::run::{RunFolder, Tables};
use crate::work::full_rejects;

/// The report of both tables.
pub(super) fn of(volumes: &DoneTable, texts: &DoneTable, tables: &Tables, seconds: f64) -> PrepareReport {
    let count = |done: &DoneTable, manifest_rows: u64| {
        let mut counts = TableCounts::default();
        done.ranges.iter().for_each(|range| counts.add(&range.outcome.counts()));
        // The manifest's own number, so that a lost range shows.
        counts.manifest_rows = manifest_rows;
        counts
    };
    let step = |step: Step| (step.as_str().to_owned(), volumes.seconds.of(step) + texts.seconds.of(step));
    let fresh = || volumes.fresh().chain(texts.fresh());
    PrepareReport {
        volumes: count(volumes, tables.volumes.rows),
        texts: count(texts, tables.texts.rows),
        inputs_read: fresh().map(|range| range.inputs_read).sum(),
        bytes_read: fresh().map(|range| range.bytes_read).sum(),
        bytes_written: fresh().map(|range| range.shard.bytes).sum(),
        files_in_volumes: tables.listing.in_volumes,
        passed_over: tables.listing.counts(),
        manifest: tables.counts.clone(),
        notes: notes(volumes),
        truncated: texts.ranges.iter().map(|range| range.outcome.truncated).sum(),
        special_words: texts.ranges.iter().map(|range| range.outcome.special_words).sum(),
        shards_reused: (volumes.ranges.len() + texts.ranges.len() - fresh().count()) as u64,
        step_seconds: Step::ALL.into_iter().map(step).collect(),
        seconds,
    }
}

/// Volumes with a note, by kind.
fn notes(volumes: &DoneTable) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    for (kind, count) in volumes.ranges.iter().flat_map(|range| &range.outcome.notes) {
        *all.entry(kind.clone()).or_default() += count;
    }
    all
}

/// Rejects that are shown to the person who started the run.
const FIRST_REJECTS: usize = 5;

/// Fails where the manifest has no row at all.
pub(super) fn refuse_nothing(config: &PrepareConfig, tables: &Tables) -> Result<(), PrepareError> {
    if tables.volumes.rows + tables.texts.rows > 0 {
        return Ok(());
    }
    let passed = tables
        .listing
        .passed_over
        .iter()
        .map(|(what, passed)| format!("{} {what}, such as {}", passed.count, passed.first));
    let passed = passed.collect::<Vec<_>>().join("; ");
    let passed = if passed.is_empty() { "nothing".to_owned() } else { passed };
    Err(PrepareError::Nothing { path: config.root.clone(), found: format!("passed over: {passed}") })
}

/// Writes `report.json` and `quarantine.parquet`; where names are withheld the full reasons go to the working folder. Gives the
/// first rejects in full.
pub(super) fn write(
    folder: &RunFolder,
    report: &PrepareReport,
    volumes: &DoneTable,
    texts: &DoneTable,
) -> Result<Vec<QuarantineRecord>, PrepareError> {
    let public: Vec<_> =
        volumes.ranges.iter().chain(&texts.ranges).flat_map(|range| range.outcome.rejects.clone()).collect();
    write_quarantine(&folder.dataset, &public)?;
    let mut full = public;
    if folder.provenance.withholds_names() {
        full = Vec::new();
        for (table, done) in [(Table::Volumes, volumes), (Table::Texts, texts)] {
            for range in done.ranges.iter().filter(|range| !range.outcome.rejects.is_empty()) {
                full.extend(full_rejects(&folder.receipts(table), range)?);
            }
        }
        write_quarantine(&folder.work, &full)?;
    }
    write_report(&folder.dataset, report)?;
    full.truncate(FIRST_REJECTS);
    Ok(full)
}

fn write_quarantine(folder: &Path, records: &[QuarantineRecord]) -> Result<(), PrepareError> {
    let mut writer = ShardWriter::create(&folder.join("quarantine.parquet"), quarantine::schema(), PageLayout::Table)?;
    writer.write(&quarantine::to_batch(records))?;
    writer.commit("quarantine.parquet", &[])?;
    Ok(())
}

/// Whether the counts add up and the rejects stay within the limits.
pub(super) fn check(prepared: &Prepared, config: &PrepareConfig) -> Result<(), PrepareError> {
    let report = &prepared.report;
    for (table, counts) in [("volumes", &report.volumes), ("texts", &report.texts)] {
        if !counts.add_up() {
            return Err(PrepareError::Request {
                what: table.into(),
                problem: format!("the counts do not add up: {counts:?}"),
            });
        }
    }
    let mut all = report.volumes.clone();
    all.add(&report.texts);
    if all.rows == 0 {
        let found = format!("all {} rows were set aside: {}", all.manifest_rows, reasons(&all, prepared));
        return Err(PrepareError::Nothing { path: config.root.clone(), found });
    }
    let limits = &config.limits;
    // A table that is about more than the data says nothing of the data.
    let no_fault = |word: &String| Reason::from_word(word).is_some_and(Reason::is_no_fault);
    let rejected: u64 = all.quarantined.iter().filter(|(word, _)| !no_fault(word)).map(|(_, count)| count).sum();
    let share = 100.0 * rejected as f64 / all.manifest_rows.max(1) as f64;
    if rejected > limits.reject_rows && share > limits.reject_percent {
        return Err(PrepareError::TooManyRejects {
            rejected,
            rows: all.manifest_rows,
            limit_rows: limits.reject_rows,
            limit_percent: limits.reject_percent,
            reasons: reasons(&all, prepared),
            quarantine: prepared.quarantine.clone(),
        });
    }
    Ok(())
}

/// How many rows were set aside for which reason, and the first of them.
fn reasons(counts: &TableCounts, prepared: &Prepared) -> String {
    let counted: Vec<_> = counts.quarantined.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    let first = prepared.first_rejects.iter().map(|reject| format!("\n  {}", reject.line()));
    format!("{}{}", counted.join(", "), first.collect::<String>())
}
