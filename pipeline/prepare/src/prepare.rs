//! FLOW 1: manifest -> ranges -> rows -> commit, on one page.
//!
//! Every manifest row ends as a row of a shard, as a quarantine record with its reason, or as a duplicate; the counts add
//! up or the run fails. Shards appear whole, the index last: a run that was killed starts again and finds the shards
//! that are finished.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use med2e3_feed::shard::commit::write_whole;
use med2e3_feed::shard::{Layout, ShardWriter};
use med2e3_schemas::SCHEMA_VERSION;
use med2e3_schemas::index::DatasetIndex;
use med2e3_schemas::quarantine::{self, QuarantineRecord};
use med2e3_schemas::report::{PrepareReport, TableCounts};
use rayon::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

use crate::PrepareError;
use crate::config::PrepareConfig;
use crate::engine;
use crate::output::{self, Part, RecipeHashes, Workplace};
use crate::progress::{Progress, Step, StepSeconds, Stopwatch};
use crate::provenance::Provenance;
use crate::tables::{Ranges, Tables};
use crate::tokenizer::{self, TextTools};
use crate::work::{Committed, RangeWork, Texts, Volumes, full_rejects};

/// Prepares the dataset that `config` describes into `out`; or, as one process of several, a part of its ranges, after
/// which a run without a part writes the index.
///
/// # Errors
/// A run that can't go on; single bad inputs are counted in the report instead.
pub async fn prepare(config: &PrepareConfig, out: &Path, part: Part) -> Result<PrepareReport, PrepareError> {
    let watch = Stopwatch::start();
    // Whatever the whole run needs is looked for first, so that a wrong path leaves no folder behind.
    config.check()?;
    let place = Workplace::claim(out, config)?;

    // The two tables, cut into ranges, where DataFusion's scan finds them.
    let tables = Tables::provide(config, &place)?;
    let tools = TextTools::stored(&config.text, &place.dataset, &tables)?;
    if part != Part::WHOLE {
        place.share()?;
    }

    // Each table: what is finished already, then scan -> PrepareExec -> one shard a range.
    let hashes = RecipeHashes::of(config, &place, tools.as_ref())?;
    let threads = Arc::new(output::threads(config.engine.threads)?);
    let progress = Arc::new(Progress::new(tables.volumes.rows, "volumes"));
    let work = Volumes::new(&place, config, &hashes.volumes, threads.clone(), progress.clone());
    let volumes = run_table(&place, "volumes", &tables.volumes, work, &threads, part, &progress).await?;
    let texts = match &tools {
        Some(tools) => {
            let progress = Arc::new(Progress::new(tables.texts.rows, "texts"));
            let work =
                Texts::new(&place, &config.text, tools.clone(), &hashes.samples, threads.clone(), progress.clone());
            run_table(&place, "texts", &tables.texts, work, &threads, part, &progress).await?
        }
        None => Done::default(),
    };

    // What was set aside, the report, and the index last.
    let report = report(&volumes, &texts, &tables, watch.seconds());
    if part != Part::WHOLE {
        return Ok(report);
    }
    write_quarantine(&place, &volumes.ranges, &texts.ranges)?;
    write_whole(&out.join("report.json"), &serde_json::to_vec_pretty(&report).expect("a report is plain data"))?;
    check(&report, config, out)?;
    let end_token = tools.as_ref().map(|tools| tokenizer::end_token(&tools.tokenizer)).transpose()?;
    let index = DatasetIndex {
        schema_version: SCHEMA_VERSION,
        recipe: config.volume.recipe.as_str().into(),
        recipe_hash: hashes.joined(),
        voxels: config.volume.format(),
        visual_tokens: config.text.visual_tokens as u32,
        tokenizer: tools.map(|_| tokenizer::FILE.into()),
        end_token,
        volumes: volumes.ranges.iter().map(|range| range.shard.clone()).collect(),
        samples: texts.ranges.iter().map(|range| range.shard.clone()).collect(),
        files: output::files(out)?,
        counts: texts.counts(),
        xxh3: String::new(),
    };
    output::remove_others(&place, &index)?;
    write_whole(&out.join("dataset.json"), index.to_text(xxh3_64).as_bytes())?;
    Ok(report)
}

/// What one table's ranges became.
#[derive(Default)]
struct Done {
    ranges: Vec<Committed>,
    fresh: Vec<u32>,
    seconds: StepSeconds,
}

impl Done {
    fn fresh(&self) -> impl Iterator<Item = &Committed> {
        self.ranges.iter().filter(|range| self.fresh.contains(&range.range_id))
    }

    fn counts(&self) -> BTreeMap<String, BTreeMap<String, u64>> {
        let mut all = BTreeMap::new();
        for (split, counts) in self.ranges.iter().flat_map(|range| &range.counts) {
            let total: &mut BTreeMap<String, u64> = all.entry(split.clone()).or_default();
            counts.iter().for_each(|(key, count)| *total.entry(key.clone()).or_default() += count);
        }
        all
    }
}

/// Runs the work of one table over those of its ranges that no earlier run has finished.
async fn run_table(
    place: &Workplace,
    table: &str,
    ranges: &Ranges,
    work: impl RangeWork + 'static,
    threads: &rayon::ThreadPool,
    part: Part,
    progress: &Progress,
) -> Result<Done, PrepareError> {
    let work: Arc<dyn RangeWork> = Arc::new(work);
    let mine: Vec<u32> = (0..ranges.hashes.len() as u32).filter(|range| part.holds(*range)).collect();
    let finished = |range: &u32| work.finished(*range, &ranges.hashes[*range as usize]);
    let mut done: Vec<Committed> = threads.install(|| mine.par_iter().filter_map(finished).collect());
    let known: HashSet<u32> = done.iter().map(|range| range.range_id).collect();
    let fresh: Vec<u32> = mine.into_iter().filter(|range| !known.contains(range)).collect();
    if !fresh.is_empty() {
        place.remove_index()?;
        done.extend(engine::run(&place.work.join(table), &fresh, work.clone(), threads.current_num_threads()).await?);
        done.sort_by_key(|range| range.range_id);
    }
    progress.finish();
    Ok(Done { ranges: done, fresh, seconds: work.clock().seconds() })
}

fn report(volumes: &Done, texts: &Done, tables: &Tables, seconds: f64) -> PrepareReport {
    let count = |done: &Done, manifest_rows: u64| {
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
        shards_reused: (volumes.ranges.len() + texts.ranges.len() - fresh().count()) as u64,
        step_seconds: Step::ALL.into_iter().map(step).collect(),
        seconds,
    }
}

fn write_quarantine(place: &Workplace, volumes: &[Committed], texts: &[Committed]) -> Result<(), PrepareError> {
    let write = |folder: &Path, records: &[QuarantineRecord]| -> Result<(), PrepareError> {
        let mut writer = ShardWriter::create(&folder.join("quarantine.parquet"), quarantine::schema(), Layout::Table)?;
        writer.write(&quarantine::to_batch(records))?;
        writer.commit("quarantine.parquet", &[])?;
        Ok(())
    };
    let told: Vec<_> = volumes.iter().chain(texts).flat_map(|range| range.outcome.rejects.clone()).collect();
    write(&place.dataset, &told)?;
    if matches!(place.provenance, Provenance::Hash { .. }) {
        let mut full = Vec::new();
        for (table, ranges) in [("volumes", volumes), ("samples", texts)] {
            for range in ranges.iter().filter(|range| !range.outcome.rejects.is_empty()) {
                full.extend(full_rejects(place, table, range)?);
            }
        }
        write(&place.work, &full)?;
    }
    Ok(())
}

/// Whether the counts add up and the rejects stay within the limits.
fn check(report: &PrepareReport, config: &PrepareConfig, out: &Path) -> Result<(), PrepareError> {
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
            quarantine: output::full_quarantine(config.provenance.paths, out),
        });
    }
    Ok(())
}
