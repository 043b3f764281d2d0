//! The command line: what a person types, what is printed, and the exit code.
//!
//! 0 fine, 1 verify found a difference, 2 failed. Data goes to stdout, everything else to stderr.

mod args;
mod summary;
mod words;

use std::fs;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use med2e3_schemas::config;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::report::{self, ReportPaths};
use crate::train::{Existing, train};
use crate::verb::ask::{Question, ask};
use crate::verb::evaluate::evaluate;
use crate::verb::exchange::{self, Import};
use crate::verb::explain::explain;
use crate::verb::retrieve::retrieve;
use crate::verb::verify::{Verification, verify};
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
    match verb {
        Verb::Train { run, resume } => {
            let existing = if resume { Existing::Resume } else { Existing::Refuse };
            let report = train(&read_config(&run)?, &run.out, existing)?;
            print(&run, &report, summary::trained)?;
        }
        Verb::Evaluate(run) => {
            let report = evaluate(&read_config(&run)?, &run.out)?;
            print(&run, &report, summary::evaluated)?;
        }
        Verb::Explain(run) => {
            let report = explain(&read_config(&run)?, &run.out)?;
            print(&run, &report, summary::explained)?;
        }
        Verb::Retrieve(run) => {
            let report = retrieve(&read_config(&run)?, &run.out)?;
            print(&run, &report, summary::retrieved)?;
        }
        Verb::Generate { checkpoint, volume, question, max_new_tokens, decoding, device, json } => {
            let decoding = decoding.decoding();
            let asked = Question {
                checkpoint: &checkpoint,
                volume: &volume,
                text: &question,
                decoding,
                max_new_tokens,
                device,
            };
            let reply = ask(&asked)?;
            if json {
                println!("{}", serde_json::to_string(&reply)?);
            } else {
                println!("{}", reply.answer);
            }
        }
        Verb::Import(args) => {
            let import = Import {
                released: args.released.as_deref(),
                parts: args.parts(),
                adapters: args.adapters.clone(),
                variant: args.variant,
                text_projection: args.text_projection,
                seed: args.seed,
                precision: args.precision,
                tokenizers: args.tokenizers(),
                out: &args.out,
            };
            print!("{}", summary::exchanged(&exchange::import(&import)?, &args.out));
        }
        Verb::Export { checkpoint, precision, out } => {
            print!("{}", summary::exchanged(&exchange::export(&checkpoint, precision, &out)?, &out));
        }
        Verb::Verify { checkpoint, reference, variant, precision, tolerance, device, json } => {
            let (checkpoint, reference) = (checkpoint.as_path(), reference.as_path());
            let report = verify(&Verification { checkpoint, reference, variant, precision, tolerance, device })?;
            if json {
                println!("{}", serde_json::to_string(&report)?);
            } else {
                print!("{}", summary::verified(&report));
            }
            return Ok(if report.passes() { ExitCode::SUCCESS } else { ExitCode::from(1) });
        }
        Verb::Report(args) => {
            let paths = ReportPaths::from(args);
            report::join(&paths)?;
            println!("{}", paths.out.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The run's configuration: the file's text, changed by the overrides.
fn read_config<T: DeserializeOwned>(args: &RunArgs) -> anyhow::Result<T> {
    let text = fs::read_to_string(&args.config).with_context(|| format!("{}: read failed", args.config.display()))?;
    Ok(config::parse(&args.config.display().to_string(), &text, &args.set)?)
}

fn print<T: Serialize>(args: &RunArgs, report: &T, summary: fn(&T) -> String) -> anyhow::Result<()> {
    if args.json {
        println!("{}", serde_json::to_string(report)?);
    } else {
        println!("{}report: {}", summary(report), args.out.join("report.json").display());
    }
    Ok(())
}
