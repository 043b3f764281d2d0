//! FLOW 1: manifest -> ranges -> rows -> commit, on one page.
//!
//! Every manifest row ends as a row of a shard, as a quarantine record with its reason, or as a duplicate; the counts add
//! up or the run fails. Shards appear whole, the index last: a run that was killed starts again and finds the shards
//! that are finished.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use med2e3_feed::shard::commit::write_whole;
use med2e3_feed::shard::{Layout, ShardWriter};
use med2e3_input::text::CaptionPrompts;
use med2e3_schemas::index::DatasetIndex;
use med2e3_schemas::quarantine::{self, QuarantineRecord};
use med2e3_schemas::report::{PrepareReport, TableCounts};
use med2e3_schemas::volume::VoxelFormat;
use med2e3_schemas::{SCHEMA_VERSION, manifest as tables};

use rayon::ThreadPool;

use crate::PrepareError;
use crate::config::{LimitsConfig, PrepareConfig};
use crate::engine::{run, write_manifest};
use crate::manifest;
use crate::output::{self, RecipeHashes, TextFiles};
use crate::progress::{Progress, Step, StepSeconds, Stopwatch};
use crate::sample;
use crate::tokenizer::{self, TextTools};
use crate::work::{Committed, RangeWork, Texts, Volumes};

/// Prepares the dataset that `config` describes into `out`.
///
/// # Errors
/// A run that can't go on; single bad inputs are counted in the report instead.
pub async fn prepare(config: &PrepareConfig, out: &Path) -> Result<PrepareReport, PrepareError> {
    let watch = Stopwatch::start();
    // Whatever the whole run needs is read first, so that a wrong path leaves no folder behind.
    config.check()?;
    let prompts = config.text.caption_prompts.as_deref().map(CaptionPrompts::load).transpose()?.unwrap_or_default();
    let manifest = manifest::read(&config.root, &config.manifest, &prompts)?;
    let tools = TextTools::provide(&config.text, &manifest)?;
    let end_token = tokenizer::end_token(&tools.tokenizer)?;
    output::claim(out, config)?;

    // The two tables, cut into ranges and written where DataFusion's scan finds them.
    let (volumes, texts) = (&config.engine.volumes_per_range, &config.engine.texts_per_range);
    let ranges = cut(&manifest.volumes, *volumes, tables::volumes_to_batch);
    write_manifest(&out.join("manifest/volumes"), &tables::volumes_schema(), &ranges)?;
    let ranges = cut(&manifest.texts, *texts, tables::texts_to_batch);
    write_manifest(&out.join("manifest/texts"), &tables::texts_schema(), &ranges)?;

    // Each table: scan -> PrepareExec -> one shard a range.
    let files = TextFiles {
        tokenizer: &tokenizer::store(&tools.tokenizer, out)?,
        question_tokenizer: tools.question_tokenizer.as_ref().map(|tokenizer| tokenizer.identity()).transpose()?,
        prompts: prompts.as_slice(),
    };
    let hashes = RecipeHashes::of(config, &files);
    let threads = Arc::new(output::threads(config.engine.threads)?);
    let root = fs::canonicalize(&config.root).map_err(PrepareError::io(&config.root, "open"))?;
    let progress = Arc::new(Progress::new(manifest.volumes.len() as u64, "volumes"));
    let work = Volumes::new(&root, out, &config.volume, &hashes.volumes, threads.clone(), progress.clone());
    let (volumes, volume_seconds) = run_table(out, "manifest/volumes", work, &progress, &threads).await?;
    let progress = Arc::new(Progress::new(manifest.texts.len() as u64, "texts"));
    let work = Texts::new(out, &config.text, tools, &hashes.samples, threads.clone(), progress.clone());
    let (texts, text_seconds) = run_table(out, "manifest/texts", work, &progress, &threads).await?;

    // What was set aside, the named parts, the report, and the index last.
    let rejects: Vec<_> = volumes.iter().chain(&texts).flat_map(|range| range.outcome.rejects.clone()).collect();
    write_quarantine(out, &rejects)?;
    for (name, ids) in &manifest.parts {
        sample::write_part(out, name, ids)?;
    }
    let report = PrepareReport {
        volumes: count(&volumes, manifest.volumes.len()),
        texts: count(&texts, manifest.texts.len()),
        bytes_read: volumes.iter().map(|range| range.bytes_read).sum(),
        bytes_written: fresh(&volumes).chain(fresh(&texts)).map(|range| range.shard.bytes).sum(),
        truncated: texts.iter().map(|range| range.outcome.truncated).sum(),
        shards_reused: volumes.iter().chain(&texts).filter(|range| range.reused).count() as u64,
        step_seconds: Step::ALL
            .into_iter()
            .map(|step| (step.as_str().to_owned(), volume_seconds.of(step) + text_seconds.of(step)))
            .collect(),
        seconds: watch.seconds(),
    };
    write_whole(&out.join("report.json"), &serde_json::to_vec_pretty(&report).expect("a report is plain data"))?;
    check(&report, &config.limits, out)?;
    write_index(config, out, &hashes.joined(), end_token, &volumes, &texts)?;
    Ok(report)
}

fn fresh(ranges: &[Committed]) -> impl Iterator<Item = &Committed> {
    ranges.iter().filter(|range| !range.reused)
}

/// Runs the work of one table over its manifest files.
async fn run_table(
    out: &Path,
    manifest: &str,
    work: impl RangeWork + 'static,
    progress: &Progress,
    threads: &ThreadPool,
) -> Result<(Vec<Committed>, StepSeconds), PrepareError> {
    let work: Arc<dyn RangeWork> = Arc::new(work);
    let ranges = run(&out.join(manifest), work.clone(), threads.current_num_threads()).await?;
    progress.finish();
    Ok((ranges, work.clock().seconds()))
}

/// Cuts a table into ranges and makes each a batch.
fn cut<T>(
    rows: &[T],
    per_range: usize,
    to_batch: impl Fn(u32, u64, &[T]) -> arrow::array::RecordBatch,
) -> Vec<arrow::array::RecordBatch> {
    if rows.is_empty() {
        // A file without rows still tells the scan its schema.
        return vec![to_batch(0, 0, rows)];
    }
    let ranges = rows.chunks(per_range).enumerate();
    ranges.map(|(range, rows)| to_batch(range as u32, (range * per_range) as u64, rows)).collect()
}

fn count(ranges: &[Committed], manifest_rows: usize) -> TableCounts {
    let mut counts = TableCounts::default();
    ranges.iter().for_each(|range| counts.add(&range.outcome.counts()));
    // The manifest's own number, so that a lost range shows.
    counts.manifest_rows = manifest_rows as u64;
    counts
}

fn write_quarantine(out: &Path, rejects: &[QuarantineRecord]) -> Result<(), PrepareError> {
    let mut writer = ShardWriter::create(&out.join("quarantine.parquet"), quarantine::schema(), Layout::Table)?;
    writer.write(&quarantine::to_batch(rejects))?;
    writer.commit("quarantine.parquet", &[])?;
    Ok(())
}

fn write_index(
    config: &PrepareConfig,
    out: &Path,
    recipe_hash: &str,
    end_token: i32,
    volumes: &[Committed],
    texts: &[Committed],
) -> Result<(), PrepareError> {
    let mut index = DatasetIndex {
        schema_version: SCHEMA_VERSION,
        recipe: "m3d".into(),
        recipe_hash: recipe_hash.to_owned(),
        voxels: VoxelFormat::unit_range(config.volume.shape, config.volume.voxels),
        visual_tokens: config.text.visual_tokens as u32,
        tokenizer: "tokenizer.json".into(),
        end_token,
        volumes: volumes.iter().map(|range| range.shard.clone()).collect(),
        samples: texts.iter().map(|range| range.shard.clone()).collect(),
        counts: Default::default(),
    };
    for (split, counts) in texts.iter().flat_map(|range| &range.counts) {
        let total = index.counts.entry(split.clone()).or_default();
        counts.iter().for_each(|(key, count)| *total.entry(key.clone()).or_default() += count);
    }
    output::remove_other_shards(out, &index)?;
    let text = serde_json::to_vec_pretty(&index).expect("an index is plain data");
    Ok(write_whole(&out.join("dataset.json"), &text)?)
}

/// Whether the counts add up and the rejects stay within the limits.
fn check(report: &PrepareReport, limits: &LimitsConfig, out: &Path) -> Result<(), PrepareError> {
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
    let rejected = all.quarantined_rows();
    let share = 100.0 * rejected as f64 / all.manifest_rows.max(1) as f64;
    if rejected > limits.reject_rows && share > limits.reject_percent {
        return Err(PrepareError::TooManyRejects {
            rejected,
            rows: all.manifest_rows,
            limit_rows: limits.reject_rows,
            limit_percent: limits.reject_percent,
            quarantine: out.join("quarantine.parquet"),
        });
    }
    Ok(())
}
