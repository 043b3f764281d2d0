//! `med2e3 bench`: what its arguments mean.

use std::io::Write;
use std::path::Path;

use med2e3_program::Stdout;
use med2e3_program::frame::Ending;
use med2e3_store::put_whole;
use serde::Serialize;

use super::args::{Bench, BenchStepArgs};
use crate::TrainerError;
use crate::plan::profile::DeviceProfile;
use crate::verb::bench::check::bench_check;
use crate::verb::bench::parts::{BenchParts, bench_parts};
use crate::verb::bench::step::{BenchStep, bench_step};

pub(super) fn run(what: Bench, out: &mut Stdout) -> anyhow::Result<Ending> {
    match what {
        Bench::Step(args) => {
            let report = step(&args)?;
            show(out, &report.table(), args.place.json.as_deref(), &report)?;
        }
        Bench::Check { place } => {
            let report = bench_check(place.device, place.threads)?;
            show(out, &report.table(), place.json.as_deref(), &report)?;
            return Ok(Ending::of(!report.passes()));
        }
        Bench::Parts { sizes, precision, place } => {
            let report = bench_parts(&BenchParts { device: place.device, threads: place.threads, sizes, precision })?;
            show(out, &report.table(), place.json.as_deref(), &report)?;
        }
    }
    Ok(Ending::Fine)
}

fn step(args: &BenchStepArgs) -> Result<crate::verb::bench::step::StepReport, TrainerError> {
    bench_step(&BenchStep {
        sizes: args.sizes,
        stage: args.stage,
        tune: args.tune,
        texts: args.texts,
        texts_per_volume: args.texts_per_volume,
        policy: args.policy,
        steps: args.steps,
        warmup: args.warmup,
        device: args.place.device,
        threads: args.place.threads,
        precision: args.precision,
        profile: args.profile.as_deref().map(DeviceProfile::read).transpose()?,
        trace: args.trace.as_deref(),
    })
}

/// The table for a person, and the numbers for a program.
fn show<T: Serialize>(out: &mut Stdout, table: &str, json: Option<&Path>, report: &T) -> anyhow::Result<()> {
    out.write_all(table.as_bytes())?;
    if let Some(path) = json {
        put_whole(path, serde_json::to_string_pretty(report)?.as_bytes())?;
    }
    Ok(())
}
