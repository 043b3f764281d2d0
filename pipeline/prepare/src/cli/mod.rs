//! The command line: what a person types, and which verb runs.

mod args;
mod summary;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use arrow::array::{Array, ArrayRef, RecordBatch};
use med2e3_program::frame::Ending;
use med2e3_program::machine::{cores, require_threads};
use med2e3_program::run_args::print;
use med2e3_program::{Configuration, Stdout, WorkPart, note, visible};
use med2e3_schemas::config;
use med2e3_shards::Dataset;
use schemars::schema_for;

use crate::check::{diff, leaks, verify};
use crate::config::{PrepareConfig, SampleConfig};
use crate::engine::{self, QueryLimits};
use crate::recognize::{self, Recognized};
use crate::run::configuration_of;
use crate::show::cells::InHex;
use crate::show::inspect::{Which, inspect, write_montage};
use crate::show::sql::{to_json_lines, to_table};
use crate::show::{rejects, stats, tables, view};
use crate::subset::{draw, resplit};
use crate::{bench, demo_set, estimate, init, prepare};
use args::{Args, BenchVerb, PrepareArgs, Verb};

/// Parses the arguments, runs the verb, prints errors with their causes.
pub fn main() -> ExitCode {
    med2e3_program::main(|args: Args, out| run(args.verb, out))
}

fn run(verb: Verb, out: &mut Stdout) -> anyhow::Result<Ending> {
    let workers = cores();
    // The runtime's workers, as many that check shards, a thread that blocks, and the progress.
    require_threads(2 * workers + 2)?;
    let runtime = || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).build();
        runtime.context("starting the runtime")
    };
    match verb {
        Verb::Prepare(args) if args.dry_run => {
            let estimate = estimate::estimate(&prepare_config(&args)?, &args.out)?;
            print(out, args.json, &estimate, summary::estimate)?;
            anyhow::ensure!(estimate.fits(), "{}: the disk is too small for the dataset", args.out.display());
            Ok(Ending::of(estimate.foreseen.rows() > 0))
        }
        Verb::Prepare(args) => {
            let config = prepare_config(&args)?;
            let prepared = runtime()?.block_on(prepare::prepare(&config, &args.out, args.part))?;
            let report = &prepared.report;
            print(out, args.json, report, |report| {
                if args.part == WorkPart::WHOLE { summary::prepared(&prepared) } else { summary::part(report) }
            })?;
            Ok(Ending::of(report.volumes.quarantined_rows() + report.texts.quarantined_rows() > 0))
        }
        Verb::Init { path, out: folder } => {
            out.write_all(init::summary(&init::init(&path, &folder)?).as_bytes())?;
            Ok(Ending::Fine)
        }
        Verb::Sample(run) => {
            let drawn = runtime()?.block_on(draw::draw(&run.read_config()?, &run.out))?;
            run.print(out, &drawn, |drawn| summary::drawn(drawn, &run.out))?;
            Ok(Ending::Fine)
        }
        Verb::Stats { dataset, json } => {
            print(out, json, &stats::stats(&dataset)?, stats::to_table)?;
            Ok(Ending::Fine)
        }
        Verb::Inspect { dataset, volume, sample, row, picture } => {
            let which = match (volume, sample) {
                (Some(id), _) => Which::Volume(id),
                (None, Some(id)) => Which::Sample(id),
                (None, None) => Which::Row(row),
            };
            let dataset = Dataset::open(&dataset)?;
            let shown = inspect(&dataset, which)?;
            for (name, value) in &shown.fields {
                writeln!(out, "{:<16} {}", visible::value(name), visible::value(value))?;
            }
            if let Some(path) = picture {
                write_montage(&dataset, shown.volume_id, &path)?;
                note(format_args!("wrote {}", path.display()));
            }
            Ok(Ending::Fine)
        }
        Verb::View { dataset, out: page, rows, start, names, json } => {
            let written = view::view(&dataset, view::Part { start, rows, names }, &page)?;
            print(out, json, &written, |written| summary::viewed(written, &page))?;
            Ok(Ending::Fine)
        }
        Verb::Sql { dataset, query: None, json, .. } => {
            let tables = tables::tables(&dataset)?;
            if json {
                tables.iter().try_for_each(|table| out.json(table))?;
            } else {
                out.write_all(tables::to_text(&tables).as_bytes())?;
            }
            Ok(Ending::Fine)
        }
        Verb::Sql { dataset, query: Some(query), json, memory, timeout } => {
            let limits = QueryLimits { memory_bytes: memory.saturating_mul(1 << 20), seconds: timeout as f64 };
            let mut batches: Vec<RecordBatch> = Vec::new();
            let mut bytes = 0;
            let in_hex = if json { InHex::IdsAndHashes } else { InHex::Ids };
            engine::query(&dataset, &query, limits, in_hex, |batch| -> anyhow::Result<()> {
                // A table's columns are as wide as their widest cell: it waits for all of them.
                if json {
                    return Ok(out.json_lines(&to_json_lines(&batch)?)?);
                }
                // Of a column that is a part of another one, the part.
                let size = |column: &ArrayRef| column.to_data().get_slice_memory_size().map(|bytes| bytes as u64);
                bytes += batch.columns().iter().map(size).sum::<Result<u64, _>>()?;
                // As text, and each cell as wide as the widest, it is many times that.
                anyhow::ensure!(
                    bytes <= limits.memory_bytes / 8,
                    "the rows are too many for a table: {} MiB\nhint: --json gives them one by one, LIMIT gives fewer",
                    bytes >> 20
                );
                batches.push(batch);
                Ok(())
            })?;
            if !json {
                out.write_all(to_table(&batches)?.as_bytes())?;
            }
            Ok(Ending::Fine)
        }
        Verb::Diff { dataset, config, set, names, json } => {
            let config = match config {
                Some(path) => {
                    let (config, _) = config_at(&path, &set)?;
                    Some(config::override_values(&path.display().to_string(), &config, &set)?)
                }
                None if set.is_empty() => None,
                None => Some(config::override_values("prepare.toml", &configuration_of(&dataset)?, &set)?),
            };
            let found = diff::diff(&dataset, config, names)?;
            print(out, json, &found, summary::diff)?;
            Ok(Ending::of(found.would_change))
        }
        Verb::Rejects { dataset, names, reason, csv, json } => {
            let found = rejects::rejects(&dataset, names, reason.as_deref())?;
            match (csv, json) {
                (true, _) => out.data(rejects::to_csv(&found).as_bytes())?,
                (_, true) => out.json_lines(&rejects::to_json_lines(&found))?,
                _ => out.write_all(rejects::to_table(&found).as_bytes())?,
            }
            Ok(Ending::Fine)
        }
        Verb::Verify { dataset, json } => {
            let found = verify::verify(&dataset)?;
            print(out, json, &found, summary::verified)?;
            Ok(Ending::of(!found.is_sound()))
        }
        Verb::Leaks { dataset, examples, json } => {
            let found = leaks::leaks(&Dataset::open(&dataset)?)?;
            print(out, json, &found, |leaks| summary::leaks(leaks, examples))?;
            Ok(Ending::of(found.iter().any(|leak| leak.shared > 0)))
        }
        Verb::Resplit { dataset, name, validation, test, seed, json } => {
            let made = resplit::resplit(&dataset, &name, [validation, test], seed)?;
            print(out, json, &made, summary::resplit)?;
            Ok(Ending::Fine)
        }
        Verb::Bench { what: BenchVerb::Feed { dataset, threads, cold, json } } => {
            let from = if cold { bench::From::Disk } else { bench::From::Cache };
            let measured = bench::feed(&dataset, &threads.into_iter().collect(), from)?;
            print(out, json, &measured, bench::to_text)?;
            Ok(Ending::Fine)
        }
        Verb::DemoSet { atlas, out: folder, seed } => {
            let report = demo_set::cut(&atlas, &folder, seed)?;
            writeln!(out, "{}: {}", folder.display(), demo_set::summary(&report))?;
            Ok(Ending::Fine)
        }
        Verb::Completions(shell) => Ok(shell.print::<Args>(out).map(|()| Ending::Fine)?),
        Verb::Man(pages) => pages.run::<Args>(out).map(|()| Ending::Fine),
        Verb::Config(config) => {
            config.run("med2e3-data", &configurations(), out)?;
            Ok(Ending::Fine)
        }
    }
}

/// The TOML files that verbs read.
fn configurations() -> [Configuration; 2] {
    [
        Configuration::new("prepare", schema_for!(PrepareConfig).to_value()),
        Configuration::new("sample", schema_for!(SampleConfig).to_value()),
    ]
}

/// The configuration in a TOML file, or that of the data at a path, for which it is said what the data were taken for. `set` decides
/// what a file leaves out; it is applied by whoever calls.
fn config_at(path: &Path, set: &[String]) -> anyhow::Result<(PrepareConfig, Option<String>)> {
    let name = path.display().to_string();
    if path.extension().is_some_and(|ending| ending == "toml") {
        let text = fs::read_to_string(path).with_context(|| format!("{name}: read failed"))?;
        return Ok((recognize::configuration(&name, &text, set)?, None));
    }
    let Recognized { what, config } = recognize::recognize(path)?;
    Ok((config, Some(what)))
}

/// The configuration that the arguments state: the file's, or one made from what is at the path. Says what will be done.
fn prepare_config(args: &PrepareArgs) -> anyhow::Result<PrepareConfig> {
    let name = args.path.display().to_string();
    let (config, what) = config_at(&args.path, &args.set)?;
    if let Some(what) = what {
        note(format_args!("{name}: {what}"));
    }
    let config = args.apply(&name, config)?;
    summary::plan(&config, &args.out).iter().for_each(|line| note(format_args!("{line}")));
    Ok(config)
}
