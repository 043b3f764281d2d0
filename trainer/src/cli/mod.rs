//! The command line: the arguments, and which verb runs.

mod args;
mod bench;
mod explain;
mod summary;
mod words;

use std::io::Write;
use std::process::ExitCode;

use med2e3_program::frame::Ending;
use med2e3_program::machine::cores;
use med2e3_program::run_args::{print, read_moved_config};
use med2e3_program::{Configuration, RunArgs, Stdout};
use schemars::schema_for;
use serde::Serialize;

use crate::config::{
    AblateConfig, EvaluateConfig, ExplainConfig, MOVED, MeteorConfig, RetrieveConfig, TrainClipConfig, TrainConfig,
};
use crate::http::ServedAt;
use crate::memory_refused::refusal_with_hint;
use crate::plan::estimate::Estimate;
use crate::plan::profile::DeviceProfile;
use crate::report;
use crate::train::{Ended, Existing, Observed, train, train_clip};
use crate::verb::ablate::{AblateOutlook, ablate, outlook};
use crate::verb::ask::{Question, ask};
use crate::verb::compare::{System, Wanted, compare, for_a_terminal};
use crate::verb::evaluate::evaluate;
use crate::verb::exchange::{self, Import};
use crate::verb::plan::{PlanFor, plan};
use crate::verb::retrieve::retrieve;
use crate::verb::runs::{runs, table};
use crate::verb::score::pairs::{PairsConfig, score_pairs};
use crate::verb::score::{ScoreConfig, score};
use crate::verb::serve::{ServeConfig, serve};
use crate::verb::verify::{Verification, verify};
use args::{Args, ScoreArgs, Verb};

/// Parses the arguments, runs the verb, prints errors with their causes.
pub fn main() -> ExitCode {
    med2e3_program::main(|args: Args, out| refusal_with_hint(args.verb.memory_hint(), || run(args.verb, out)))
}

fn run(verb: Verb, out: &mut Stdout) -> anyhow::Result<Ending> {
    match verb {
        Verb::Train { run, resume, trace, profile, metrics, metrics_token_file: token_file } => {
            let existing = if resume { Existing::Resume } else { Existing::Refuse };
            let profile = profile.as_deref().map(DeviceProfile::read).transpose()?;
            let metrics = metrics.map(|address| ServedAt { address, token_file });
            let observed = Observed { trace, profile, metrics };
            let ended = train(&run.read_moved_config(&MOVED)?, &run.out, existing, &observed)?;
            print_ended(out, &run, &ended, summary::trained)?;
        }
        Verb::TrainClip { run, resume } => {
            let existing = if resume { Existing::Resume } else { Existing::Refuse };
            let ended = train_clip(&run.read_moved_config(&MOVED)?, &run.out, existing)?;
            print_ended(out, &run, &ended, summary::trained_clip)?;
        }
        Verb::Plan { config, set, profile, gpu_memory, out: folder, json } => {
            let profile = profile.as_deref().map(DeviceProfile::read).transpose()?;
            let plan_for = PlanFor { profile, gpu_memory, out: folder };
            print(out, json, &plan(&read_moved_config(&config, &set, &MOVED)?, plan_for)?, Estimate::table)?;
        }
        Verb::Runs { folder, json } => print(out, json, &runs(&folder)?, |runs| table(runs))?,
        Verb::Bench(what) => return bench::run(what, out),
        Verb::Evaluate(run) => {
            let report = evaluate(&run.read_config()?, &run.out)?;
            print_run(out, &run, &report, summary::evaluated)?;
        }
        Verb::Compare { runs, system, baseline, tables, seed, out: folder, json } => {
            let wanted = if tables { Wanted::Tables } else { Wanted::Comparison };
            let systems: Vec<System> = runs.iter().map(|run| System::of_run(run)).chain(system).collect();
            let report = compare(&systems, baseline.as_deref(), wanted, seed, &folder)?;
            print(out, json, &report, |report| format!("{}written: {}\n", for_a_terminal(report), folder.display()))?;
        }
        Verb::Ablate { run, part, dry_run: true } => {
            let config = run.read_config()?;
            let outlook = outlook(&config, &run.out, part)?;
            run.print(out, &outlook, AblateOutlook::table)?;
            return Ok(Ending::of(!outlook.refused.is_empty()));
        }
        Verb::Ablate { run, part, dry_run: false } => {
            let ablated = ablate(&run.read_config()?, &run.out, part)?;
            let page = run.out.join("ablate.md");
            run.print(out, &ablated, |ablated| format!("{}tables: {}\n", ablated.in_words(), page.display()))?;
            anyhow::ensure!(!ablated.is_failed(), "none of the runs is done, and those that were tried failed");
            return Ok(Ending::of(!ablated.open.is_empty()));
        }
        Verb::Score(args) => score_of(&args, out)?,
        Verb::Explain(args) => explain::run(&args, out)?,
        Verb::Serve(args) => {
            let config = ServeConfig {
                checkpoint: args.checkpoint,
                dataset: args.dataset,
                place: ServedAt { address: args.address, token_file: args.token_file },
                most_mib: args.most_mib,
                most_tokens: args.max_new_tokens,
                other_inputs: args.other_inputs,
                device: args.device,
                threads: args.threads,
            };
            serve(&config, |address| writeln!(out, "{address}").and_then(|()| out.flush()))?;
        }
        Verb::Retrieve(run) => {
            let report = retrieve(&run.read_config()?, &run.out)?;
            print_run(out, &run, &report, summary::retrieved)?;
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
            print(out, json, &ask(&asked)?, |asked| format!("{}\n", asked.reply.answer))?;
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
                inputs: args.inputs.clone(),
                out: &args.out,
            };
            out.write_all(summary::exchanged(&exchange::import(&import)?, &args.out).as_bytes())?;
        }
        Verb::Export { checkpoint, precision, out: folder } => {
            let exchanged = exchange::export(&checkpoint, precision, &folder)?;
            out.write_all(summary::exchanged(&exchanged, &folder).as_bytes())?;
        }
        Verb::Verify { checkpoint, reference, variant, precision, tolerance, device, json } => {
            let (checkpoint, reference) = (checkpoint.as_path(), reference.as_path());
            let report = verify(&Verification { checkpoint, reference, variant, precision, tolerance, device })?;
            print(out, json, &report, summary::verified)?;
            return Ok(Ending::of(!report.passes()));
        }
        Verb::Report { runs, out: page, every } => {
            report::join(&runs, &page, every)?;
            writeln!(out, "{}", page.display())?;
        }
        Verb::Completions(shell) => shell.print::<Args>(out)?,
        Verb::Man(pages) => pages.run::<Args>(out)?,
        Verb::Config(config) => config.run("med2e3", &configurations(), out)?,
    }
    Ok(Ending::Fine)
}

/// The TOML files that verbs read.
fn configurations() -> [Configuration; 6] {
    [
        Configuration::new("train", schema_for!(TrainConfig).to_value()),
        Configuration::new("train-clip", schema_for!(TrainClipConfig).to_value()),
        Configuration::new("evaluate", schema_for!(EvaluateConfig).to_value()),
        Configuration::new("ablate", schema_for!(AblateConfig).to_value()),
        Configuration::new("explain", schema_for!(ExplainConfig).to_value()),
        Configuration::new("retrieve", schema_for!(RetrieveConfig).to_value()),
    ]
}

/// Scores pairs or predictions, and prints what they come to.
fn score_of(args: &ScoreArgs, out: &mut Stdout) -> anyhow::Result<()> {
    let ScoreArgs { json, out: path, .. } = args;
    let meteor = args.wordnet.clone().map(|wordnet| MeteorConfig { wordnet, nltk: args.nltk });
    if let Some(pairs) = &args.pairs {
        let config = PairsConfig { pairs: pairs.clone(), stemmed: args.stemmed, meteor };
        return print(out, *json, &score_pairs(&config, path)?, |report| summary::scored_pairs(report, path));
    }
    let given = args.format.zip(args.dataset.clone());
    let (format, dataset) = given.expect("predictions require both");
    let config = ScoreConfig {
        predictions: args.predictions.clone(),
        format,
        dataset,
        split: args.split,
        tasks: args.tasks.clone(),
        partial: args.partial,
        meteor,
        imported: args.scores.clone(),
        write: args.write,
        seed: args.seed,
        threads: cores(),
    };
    let summary =
        |report: &_| format!("{}report: {}\n", summary::evaluated(report), path.join("report.json").display());
    print(out, *json, &score(&config, path)?, summary)
}

/// Prints how a training ended.
fn print_ended<T: Serialize>(
    out: &mut Stdout,
    run: &RunArgs,
    ended: &Ended<T>,
    summary: fn(&T) -> String,
) -> anyhow::Result<()> {
    match ended {
        Ended::Finished(report) => print_run(out, run, report, summary),
        Ended::Stopped(stopped) => run.print(out, stopped, summary::stopped),
    }
}

/// Prints a run's report, and where it is stored.
fn print_run<T: Serialize>(
    out: &mut Stdout,
    run: &RunArgs,
    report: &T,
    summary: fn(&T) -> String,
) -> anyhow::Result<()> {
    let path = run.out.join("report.json");
    run.print(out, report, |report| format!("{}report: {}\n", summary(report), path.display()))
}
