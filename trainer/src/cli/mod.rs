//! The command line: what a person types, what is printed, and the exit code.
//!
//! 0 fine, 2 failed. Data goes to stdout, everything else to stderr.

mod args;

use std::fs;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use med2e3_schemas::config;
use med2e3_schemas::report::{EvaluateReport, ExplainReport, RetrieveReport, TrainReport};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ask::{Question, ask};
use crate::evaluate::evaluate;
use crate::explain::explain;
use crate::report;
use crate::retrieve::retrieve;
use crate::train::{Existing, train};
use args::{Args, RunArgs, Verb};

/// Parses the arguments, runs the verb, prints errors with their causes.
pub fn main() -> ExitCode {
    let args = Args::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_env("MED2E3_LOG").unwrap_or_else(|_| "warn".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match run(args.verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Train { run, resume } => {
            let existing = if resume { Existing::Resume } else { Existing::Refuse };
            let report = train(&read_config(&run)?, &run.out, existing)?;
            print(&run, &report, trained_in_words)
        }
        Verb::Evaluate(run) => {
            let report = evaluate(&read_config(&run)?, &run.out)?;
            print(&run, &report, evaluated_in_words)
        }
        Verb::Explain(run) => {
            let report = explain(&read_config(&run)?, &run.out)?;
            print(&run, &report, explained_in_words)
        }
        Verb::Retrieve(run) => {
            let report = retrieve(&read_config(&run)?, &run.out)?;
            print(&run, &report, retrieved_in_words)
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
            match json {
                true => println!("{}", serde_json::to_string(&reply)?),
                false => println!("{}", reply.answer),
            }
            Ok(())
        }
        Verb::Report(places) => {
            report::join(&places)?;
            println!("{}", places.out.display());
            Ok(())
        }
    }
}

/// The run's configuration: the file's text with the overrides laid over it.
fn read_config<T: DeserializeOwned>(args: &RunArgs) -> anyhow::Result<T> {
    let text = fs::read_to_string(&args.config).with_context(|| format!("{}: read failed", args.config.display()))?;
    Ok(config::parse(&args.config.display().to_string(), &text, &args.set)?)
}

fn print<T: Serialize>(args: &RunArgs, report: &T, in_words: fn(&T) -> String) -> anyhow::Result<()> {
    match args.json {
        true => println!("{}", serde_json::to_string(report)?),
        false => println!("{}report: {}", in_words(report), args.out.join("report.json").display()),
    }
    Ok(())
}

fn trained_in_words(report: &TrainReport) -> String {
    let parameters: u64 = report.parameters.values().sum();
    let loss = |step: Option<&med2e3_schemas::report::TrainStep>| step.map_or("-".into(), |s| format!("{:.3}", s.loss));
    format!(
        "{}: {} steps over {} samples ({} left out for want of their volume) on {}, {:.2} M parameters, loss {} to {}, {:.1} s\n",
        report.name,
        report.steps.len(),
        report.samples,
        report.samples_without_volume,
        report.device,
        parameters as f64 / 1e6,
        loss(report.steps.first()),
        loss(report.steps.last()),
        report.seconds
    )
}

fn evaluated_in_words(report: &EvaluateReport) -> String {
    let mut text = match report.samples_without_volume {
        0 => String::new(),
        count => format!("{count} samples left out for want of their volume\n"),
    };
    text +=
        &format!("{:<12}{:<13}{:<16}{:>7}{:>9}{:>9}{:>9}\n", "task", "topic", "metric", "count", "%", "+-", "chance");
    for score in &report.scores {
        let topic = score.topic.map_or("all", |topic| topic.as_str());
        let chance = score.chance.map_or("-".into(), |chance| format!("{:.1}", 100.0 * chance));
        text += &format!(
            "{:<12}{topic:<13}{:<16}{:>7}{:>9.2}{:>9.2}{chance:>9}\n",
            score.task.as_str(),
            score.metric,
            score.count,
            100.0 * score.micro,
            100.0 * score.half_interval
        );
    }
    text
}

fn explained_in_words(report: &ExplainReport) -> String {
    format!("{} questions explained\n", report.explanations.len())
}

fn retrieved_in_words(report: &RetrieveReport) -> String {
    let mut text = format!(
        "{} pairs, {} different captions, {} captions cut; {} samples left out for want of their volume\n",
        report.pairs, report.distinct_texts, report.truncated_texts, report.samples_without_volume
    );
    text += &format!("{:<16}{:<16}{:>8}{:>8}{:>8}\n", "query", "right", "R@1", "R@5", "R@10");
    for (right, scores) in [("own partner", &report.by_index), ("same caption", &report.by_text)] {
        for (query, recalls) in [("volume", &scores.image_to_text), ("caption", &scores.text_to_image)] {
            text += &format!(
                "{query:<16}{right:<16}{:>8.2}{:>8.2}{:>8.2}\n",
                100.0 * recalls.at_1,
                100.0 * recalls.at_5,
                100.0 * recalls.at_10
            );
        }
    }
    text
}
