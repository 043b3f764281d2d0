//! What a run reports: counts, what was set aside with its reasons, and whether both are acceptable.

use std::path::Path;

use med2e3_program::output::write_report;
use med2e3_schemas::quarantine::{self, QuarantineRecord, Table};
use med2e3_schemas::report::{PrepareReport, TableCounts};
use med2e3_shards::{PageLayout, ShardWriter};

use super::table::DoneTable;
use crate::PrepareError;
use crate::config::PrepareConfig;
use crate::progress::Step;
use crate::run::{RunFolder, Tables, full_quarantine};
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
        truncated: texts.ranges.iter().map(|range| range.outcome.truncated).sum(),
        special_words: texts.ranges.iter().map(|range| range.outcome.special_words).sum(),
        shards_reused: (volumes.ranges.len() + texts.ranges.len() - fresh().count()) as u64,
        step_seconds: Step::ALL.into_iter().map(step).collect(),
        seconds,
    }
}

/// Writes `report.json` and `quarantine.parquet`; where names are withheld the full reasons go to the working folder.
pub(super) fn write(
    folder: &RunFolder,
    report: &PrepareReport,
    volumes: &DoneTable,
    texts: &DoneTable,
) -> Result<(), PrepareError> {
    let public: Vec<_> =
        volumes.ranges.iter().chain(&texts.ranges).flat_map(|range| range.outcome.rejects.clone()).collect();
    write_quarantine(&folder.dataset, &public)?;
    if folder.provenance.withholds_names() {
        let mut full = Vec::new();
        for (table, done) in [(Table::Volumes, volumes), (Table::Texts, texts)] {
            for range in done.ranges.iter().filter(|range| !range.outcome.rejects.is_empty()) {
                full.extend(full_rejects(&folder.receipts(table), range)?);
            }
        }
        write_quarantine(&folder.work, &full)?;
    }
    Ok(write_report(&folder.dataset, report)?)
}

fn write_quarantine(folder: &Path, records: &[QuarantineRecord]) -> Result<(), PrepareError> {
    let mut writer = ShardWriter::create(&folder.join("quarantine.parquet"), quarantine::schema(), PageLayout::Table)?;
    writer.write(&quarantine::to_batch(records))?;
    writer.commit("quarantine.parquet", &[])?;
    Ok(())
}

/// Whether the counts add up and the rejects stay within the limits.
pub(super) fn check(report: &PrepareReport, config: &PrepareConfig, out: &Path) -> Result<(), PrepareError> {
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
    let limits = &config.limits;
    let rejected = all.quarantined_rows();
    let share = 100.0 * rejected as f64 / all.manifest_rows.max(1) as f64;
    if rejected > limits.reject_rows && share > limits.reject_percent {
        return Err(PrepareError::TooManyRejects {
            rejected,
            rows: all.manifest_rows,
            limit_rows: limits.reject_rows,
            limit_percent: limits.reject_percent,
            quarantine: full_quarantine(config.provenance.paths, out),
        });
    }
    Ok(())
}
