//! The command line: what a person types, what is printed, and the exit code.
//!
//! 0 fine, 1 finished but something was set aside, 2 failed. Data goes to stdout, everything else to stderr.

mod args;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use med2e3_feed::Dataset;
use med2e3_schemas::config;
use med2e3_schemas::report::{PrepareReport, TableCounts};
use serde::de::DeserializeOwned;

use crate::config::{PrepareConfig, SampleConfig, TokenizerConfig};
use crate::demo_set;
use crate::engine::{Batches, Catalog, to_json_lines, to_table};
use crate::estimate::{self, Estimate};
use crate::inspect::{Which, inspect, write_montage};
use crate::leaks::{self, Leak};
use crate::output::{self, Part};
use crate::recognize::{self, Recognized};
use crate::verify::{self, Verification};
use crate::{prepare, sample};
use args::{Args, PrepareArgs, RunArgs, Verb};

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
        Verb::Prepare(args) if args.dry_run => {
            let estimate = estimate::estimate(&prepare_config(&args)?, &args.out)?;
            if args.json {
                println!("{}", serde_json::to_string(&estimate)?);
            } else {
                print_estimate(&estimate);
            }
            anyhow::ensure!(estimate.fits(), "{}: the disk is too small for the dataset", args.out.display());
            Ok(ExitCode::SUCCESS)
        }
        Verb::Prepare(args) => {
            let config = prepare_config(&args)?;
            let report = runtime.block_on(prepare::prepare(&config, &args.out, args.part))?;
            if args.json {
                println!("{}", serde_json::to_string(&report)?);
            } else if args.part == Part::WHOLE {
                print_prepared(&report, &output::full_quarantine(config.provenance.paths, &args.out));
            } else {
                let (done, all) = (report.volumes.rows, report.volumes.manifest_rows);
                println!("part done: {done} of {all} volumes; when all parts are, run without --part");
            }
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
            let batches =
                runtime.block_on(async { Catalog::open(&dataset, Batches::Short).await?.query(&query).await })?;
            match json {
                true => print!("{}", to_json_lines(&batches)?),
                false => println!("{}", to_table(&batches)?),
            }
            Ok(ExitCode::SUCCESS)
        }
        Verb::Verify { dataset, json } => {
            let found = verify::verify(&dataset)?;
            match json {
                true => println!("{}", serde_json::to_string(&found)?),
                false => print_verified(&found),
            }
            Ok(ExitCode::from(u8::from(!found.is_sound())))
        }
        Verb::Leaks { dataset, examples, json } => {
            let mut found = leaks::leaks(&Dataset::open(&dataset)?)?;
            match json {
                true => println!("{}", serde_json::to_string(&found)?),
                false => {
                    found.iter_mut().for_each(|leak| leak.examples.truncate(examples));
                    print_leaks(&found);
                }
            }
            Ok(ExitCode::from(u8::from(found.iter().any(|leak| leak.shared > 0))))
        }
        Verb::Resplit { dataset, name, validation, test, seed, json } => {
            let made = leaks::resplit(&dataset, &name, [validation, test], seed)?;
            if json {
                println!("{}", serde_json::to_string(&made)?);
            } else {
                println!("{} groups of cases that share nothing (seed {seed})", made.groups);
                made.samples.iter().for_each(|(split, samples)| println!("{name}-{split:<10} {samples} samples"));
                println!("use it with subset = \"{name}\" in [data]");
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

/// The configuration that the arguments state: the file's, or one made from what lies at the path.
fn prepare_config(args: &PrepareArgs) -> anyhow::Result<PrepareConfig> {
    let name = args.path.display().to_string();
    if args.path.extension().is_some_and(|ending| ending == "toml") {
        let text = fs::read_to_string(&args.path).with_context(|| format!("{name}: read failed"))?;
        return Ok(config::parse(&name, &text, &args.overrides())?);
    }
    let Recognized { what, config } = recognize::recognize(&args.path)?;
    let text = toml::to_string(&config).context("writing the configuration")?;
    let config: PrepareConfig = config::parse(&name, &text, &args.overrides())?;
    match &config.text.tokenizer {
        _ if config.manifest.is_volumes_alone() => {}
        TokenizerConfig::Path(path) => eprintln!("tokenizer {}", path.display()),
        TokenizerConfig::Train(entries) => eprintln!(
            "tokenizer of {entries} entries trained on the texts; --tokenizer names a language model's own instead"
        ),
    }
    let [d, h, w] = config.volume.shape;
    let volume = &config.volume;
    eprintln!("{name}: {what}");
    eprintln!(
        "recipe {}, {d}x{h}x{w} voxels as {}, to {}, where prepare.toml states the run in full",
        volume.recipe.as_str(),
        volume.voxels.as_str(),
        args.out.display(),
    );
    Ok(config)
}

fn print_estimate(estimate: &Estimate) {
    let gib = |bytes: u64| bytes as f64 / (1u64 << 30) as f64;
    let Estimate { volumes, volumes_refused, texts, volumes_per_second, bytes, hours, free_bytes } = estimate;
    println!("rows     {volumes} volumes ({volumes_refused} not found), {texts} texts");
    println!("disk     {:.2} GiB, of {:.2} GiB free", gib(*bytes), gib(*free_bytes));
    println!("time     {hours:.2} hours at {volumes_per_second:.1} volumes/s, as measured here on a few");
}

/// The run's configuration: the file's text with the overrides laid over it.
fn read_config<T: DeserializeOwned>(args: &RunArgs) -> anyhow::Result<T> {
    let text = fs::read_to_string(&args.config).with_context(|| format!("{}: read failed", args.config.display()))?;
    Ok(config::parse(&args.config.display().to_string(), &text, &args.set)?)
}

fn print_prepared(report: &PrepareReport, quarantine: &Path) {
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
    if report.shards_reused > 0 && report.bytes_written == 0 {
        println!("nothing to do: all {} shards were finished ({:.1} s)", report.shards_reused, report.seconds);
        return;
    }
    println!(
        "{} shards found finished; {} inputs of {:.1} MiB read, {:.1} MiB written in {:.1} s; reasons in {}",
        report.shards_reused,
        report.inputs_read,
        report.bytes_read as f64 / 1048576.0,
        report.bytes_written as f64 / 1048576.0,
        report.seconds,
        quarantine.display()
    );
}

fn print_verified(found: &Verification) {
    found.checked.iter().for_each(|(what, count)| println!("{what:<14} {count} checked"));
    for (table, counts) in [("volumes", &found.volumes), ("texts", &found.texts)] {
        let (rows, aside) = (counts.rows, counts.quarantined_rows());
        println!(
            "{table:<14} {} = {rows} rows + {aside} set aside + {} duplicates",
            counts.manifest_rows, counts.duplicates
        );
    }
    println!("{:<14} {} samples wait for a volume that was set aside", "note", found.samples_without_volume);
    found.problems.iter().for_each(|problem| println!("PROBLEM {problem}"));
    match found.problems.len() {
        0 => println!("sound"),
        count => println!("{count} problems"),
    }
}

fn print_leaks(leaks: &[Leak]) {
    println!("{:<8} {:<12} {:<12} {:>8} {:>9} {:>9}", "kind", "from", "to", "shared", "samples", "of");
    for Leak { kind, from, to, shared, samples, of, examples } in leaks {
        println!("{kind:<8} {:<12} {:<12} {shared:>8} {samples:>9} {of:>9}", from.as_str(), to.as_str());
        examples.iter().for_each(|example| println!("         {example}"));
    }
}
