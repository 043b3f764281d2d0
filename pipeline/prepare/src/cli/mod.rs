//! The command line: what a person types, what is printed, and the exit code.
//!
//! 0 fine, 1 finished but something was set aside, 2 failed. Data goes to stdout, everything else to stderr.

mod args;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use med2e3_feed::Dataset;
use med2e3_schemas::config;
use med2e3_schemas::report::{PrepareReport, TableCounts};
use serde::de::DeserializeOwned;

use crate::config::{PrepareConfig, SampleConfig};
use crate::demo_set;
use crate::engine::{Catalog, to_json_lines, to_table};
use crate::inspect::{Which, inspect, write_montage};
use crate::{prepare, sample};
use args::{Args, RunArgs, Verb};

/// Parses the arguments, runs the verb, prints errors with their causes.
pub fn main() -> ExitCode {
    let args = Args::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_env("MED2E3_LOG").unwrap_or_else(|_| "warn".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match run(args.verb) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(verb: Verb) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().build().context("starting the runtime")?;
    match verb {
        Verb::Prepare(args) => {
            let config: PrepareConfig = read_config(&args)?;
            let report = runtime.block_on(prepare::prepare(&config, &args.out))?;
            print_prepared(&report, &args)?;
            let rejected = report.volumes.quarantined_rows() + report.texts.quarantined_rows();
            Ok(ExitCode::from(u8::from(rejected > 0)))
        }
        Verb::Sample(args) => {
            let config: SampleConfig = read_config(&args)?;
            let subset = runtime.block_on(sample::sample(&config, &args.out))?;
            if args.json {
                println!("{}", serde_json::to_string(&subset)?);
            } else {
                let counts: Vec<_> = subset.counts.iter().map(|(task, count)| format!("{count} {task}")).collect();
                let path = args.out.join("subsets").join(format!("{}.parquet", subset.name));
                println!("{}: {} (seed {})", path.display(), counts.join(", "), subset.seed);
            }
            Ok(ExitCode::SUCCESS)
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
                println!("{name:<16} {value}");
            }
            if let Some(path) = picture {
                write_montage(&dataset, shown.volume_id, &path)?;
                eprintln!("wrote {}", path.display());
            }
            Ok(ExitCode::SUCCESS)
        }
        Verb::Sql { dataset, query, json } => {
            let batches = runtime.block_on(async { Catalog::open(&dataset).await?.query(&query).await })?;
            match json {
                true => print!("{}", to_json_lines(&batches)?),
                false => println!("{}", to_table(&batches)?),
            }
            Ok(ExitCode::SUCCESS)
        }
        Verb::DemoSet { atlas, out, seed } => {
            let report = demo_set::cut(&atlas, &out, seed)?;
            println!("{}: {}", out.display(), demo_set::in_words(&report));
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The run's configuration: the file's text with the overrides laid over it.
fn read_config<T: DeserializeOwned>(args: &RunArgs) -> anyhow::Result<T> {
    let text = fs::read_to_string(&args.config).with_context(|| format!("{}: read failed", args.config.display()))?;
    Ok(config::parse(&args.config.display().to_string(), &text, &args.set)?)
}

fn print_prepared(report: &PrepareReport, args: &RunArgs) -> anyhow::Result<()> {
    if args.json {
        println!("{}", serde_json::to_string(report)?);
        return Ok(());
    }
    let line = |table: &str, counts: &TableCounts| {
        let TableCounts { manifest_rows, rows, duplicates, .. } = counts;
        println!(
            "{table:<8} {manifest_rows} in the manifest = {rows} rows + {} set aside + {duplicates} duplicates",
            counts.quarantined_rows()
        );
        counts.quarantined.iter().for_each(|(reason, count)| println!("         {count:>6} {reason}"));
    };
    line("volumes", &report.volumes);
    line("texts", &report.texts);
    let quarantine: PathBuf = quarantine_path(&args.out);
    println!(
        "{} shards found finished; {:.1} MiB read, {:.1} MiB written in {:.1} s; reasons in {}",
        report.shards_reused,
        report.bytes_read as f64 / 1048576.0,
        report.bytes_written as f64 / 1048576.0,
        report.seconds,
        quarantine.display()
    );
    Ok(())
}

fn quarantine_path(out: &Path) -> PathBuf {
    out.join("quarantine.parquet")
}
