//! `med2e3 bench step`: texts of a second, memory and utilization of a whole training step.

use std::path::Path;

use med2e3_program::Stopwatch;
use serde::Serialize;
use tch::Device;

use super::learner::{Learner, Setup};
use super::sizes::{Policy as Wanted, Sizes, Stage, Tune};
use super::texts::StepTexts;
use super::trace::{self, Traced};
use crate::TrainerError;
use crate::config::check_positive;
use crate::device::DeviceChoice;
use crate::device::wait;
use crate::libtorch::{MemoryCounter, device_memory, reset_device_peak};
use crate::model::batch_plan::width_multiple;
use crate::model::recompute::Recompute;
use crate::plan::choice::{Choice, Search, of_policy};
use crate::plan::flops::of_micro_batch;
use crate::plan::learning::Learning;
use crate::plan::profile::DeviceProfile;
use crate::plan::{MicroBatch, Policy};
use crate::precision::Precision;
use crate::train::profile_of;
use crate::words::Word;

/// What is measured.
pub struct BenchStep<'a> {
    /// The model.
    pub sizes: Sizes,
    /// Which parts learn.
    pub stage: Stage,
    /// How the language model learns.
    pub tune: Tune,
    /// Texts of one optimizer step.
    pub texts: usize,
    /// Texts that share a volume.
    pub texts_per_volume: usize,
    /// What is computed again.
    pub policy: Wanted,
    /// Steps that are measured.
    pub steps: usize,
    /// Steps before them.
    pub warmup: usize,
    /// Where it runs.
    pub device: DeviceChoice,
    /// Threads of one operation on the CPU; 0 leaves libtorch's choice.
    pub threads: usize,
    /// The kind of the weights.
    pub precision: Precision,
    /// The device's rates; estimates without it.
    pub profile: Option<DeviceProfile>,
    /// Where one more step's trace is written.
    pub trace: Option<&'a Path>,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub struct StepReport {
    /// This program.
    pub program: &'static str,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// The model.
    pub sizes: Sizes,
    /// Which parts learn.
    pub stage: Stage,
    /// How the language model learns.
    pub tune: Tune,
    /// The kind of the weights.
    pub precision: Precision,
    /// Texts of a step.
    pub texts: usize,
    /// Texts that share a volume.
    pub texts_per_volume: usize,
    /// What was computed again.
    pub policy: String,
    /// Micro-batches of a step.
    pub micro_batches: usize,
    /// Weights that learn.
    pub trained: f64,
    /// Median of the measured steps.
    pub step_seconds: f64,
    /// Texts of a second.
    pub texts_per_second: f64,
    /// Tokens of a second, padding left out.
    pub tokens_per_second: f64,
    /// Model FLOPs of a step: neither padding nor recomputation.
    pub model_flops: f64,
    /// Model FLOPs of a second over the peak that the device's maker states.
    pub utilization: f64,
    /// What that peak is of.
    pub profile: String,
    /// Share of a step in which the host made inputs and copied them.
    pub wait_share: f64,
    /// The most that tensors held.
    pub peak_bytes: f64,
    /// The same as the model of costs has it.
    pub planned_bytes: f64,
    /// Seconds of a step as the model of costs has them.
    pub planned_seconds: f64,
    /// Of every step, warm-up included.
    pub losses: Vec<f64>,
    /// What the traced step spent its time with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traced: Option<Traced>,
}

/// Runs it.
///
/// # Errors
/// A count of 0, no such device, a model that its memory does not hold.
pub fn bench_step(asked: &BenchStep<'_>) -> Result<StepReport, TrainerError> {
    check_positive([
        ("--texts", asked.texts),
        ("--texts-per-volume", asked.texts_per_volume),
        ("--steps", asked.steps),
    ])?;
    let device = asked.device.open(asked.threads)?;
    let (sizes, stage, tune, precision) = (asked.sizes, asked.stage, asked.tune, asked.precision);
    let texts = StepTexts::new(sizes, asked.texts, asked.texts_per_volume);
    // Rates are a card's; how much of its memory is free is another matter at each start.
    let own = profile_of(device);
    let profile = match &asked.profile {
        Some(rates) => DeviceProfile { memory: own.memory, ..rates.clone() },
        None => own,
    };
    let mut config = sizes.config();
    config.lora = tune.lora();
    let learning = Learning::of_parts(stage.parts(), config.lora.is_some());
    let search = Search::new(&config, &learning, precision, texts.summary(), &profile);
    let choice = chosen(&search, asked.policy, profile.memory)?;

    let mut counter = MemoryCounter::start()?;
    let mut learner = Learner::drawn(&Setup { sizes, stage, tune, precision, device })?;
    learner.set_policy(&choice.policy)?;
    let batches = texts.micro_batches(choice.budget);
    let (mut seconds, mut waits, mut losses) = (Vec::new(), 0.0, Vec::new());
    for step in 0..asked.warmup + asked.steps {
        if step == asked.warmup {
            reset_peak(&mut counter, device)?;
        }
        wait(device);
        let watch = Stopwatch::start();
        let numbers = learner.step(&batches, step as u64)?;
        wait(device);
        losses.push(numbers.loss);
        if step >= asked.warmup {
            seconds.push(watch.seconds());
            waits += numbers.waited;
        }
    }
    let peak_bytes = peak(&counter, device)?;
    // libtorch has one observer of a thread at a time.
    drop(counter);
    let traced = match asked.trace {
        Some(path) => Some(trace::step(&mut learner, &batches, device, path)?),
        None => None,
    };

    let measured: f64 = seconds.iter().sum();
    seconds.sort_by(f64::total_cmp);
    let step_seconds = seconds[seconds.len() / 2];
    let model_flops = model_flops(&config, &learning, &texts);
    let per_second = |count: f64| count / step_seconds;
    Ok(StepReport {
        program: "med2e3",
        device: in_words(device),
        sizes,
        stage,
        tune,
        precision,
        texts: asked.texts,
        texts_per_volume: asked.texts_per_volume,
        policy: of_policy(&choice.policy),
        micro_batches: batches.len(),
        trained: search.weights().iter().map(|group| group.learning).sum(),
        step_seconds,
        texts_per_second: per_second(asked.texts as f64),
        tokens_per_second: per_second(texts.tokens() as f64),
        model_flops,
        utilization: per_second(model_flops) / profile.peak(precision),
        profile: profile.name.clone(),
        wait_share: waits / measured,
        peak_bytes,
        planned_bytes: planned_peak(&search, &texts, &choice, device),
        planned_seconds: choice.step_seconds,
        losses,
        traced,
    })
}

pub(super) fn in_words(device: Device) -> String {
    match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        _ => "cpu".into(),
    }
}

fn chosen(search: &Search<'_>, wanted: Wanted, memory: f64) -> Result<Choice, TrainerError> {
    let recompute = match wanted {
        Wanted::Auto => return search.fastest(memory),
        Wanted::None => Recompute::None,
        Wanted::Selective => Recompute::Selective,
        Wanted::Full => Recompute::Full,
    };
    search.fastest_of(Policy::all(recompute), memory)
}

/// The peak of the micro-batches that there are, not of the fullest that the budget allows.
fn planned_peak(search: &Search<'_>, texts: &StepTexts, choice: &Choice, device: Device) -> f64 {
    texts
        .shapes(choice.budget, width_multiple(device))
        .iter()
        .map(|batch| search.peak(batch, &choice.policy))
        .fold(0.0, f64::max)
}

fn model_flops(config: &crate::model::Med2e3Config, learning: &Learning, texts: &StepTexts) -> f64 {
    let batch = MicroBatch {
        rows: texts.lengths.iter().map(|length| length.tokens).collect(),
        targets: texts.lengths.iter().map(|length| length.targets).sum(),
        volumes: texts.lengths.len() as f64 / texts.summary().texts_per_volume,
        question_tokens: crate::plan::QUESTION_TOKENS,
    };
    let modules = of_micro_batch(config, learning, &batch, &Policy::all(Recompute::None));
    modules.iter().map(|module| module.forward.total() + module.backward.total()).sum()
}

fn reset_peak(counter: &mut MemoryCounter, device: Device) -> Result<(), TrainerError> {
    counter.reset_peak();
    if device.is_cuda() {
        reset_device_peak(device)?;
    }
    Ok(())
}

fn peak(counter: &MemoryCounter, device: Device) -> Result<f64, TrainerError> {
    Ok(match device {
        Device::Cuda(_) => device_memory(device)?.allocated_peak as f64,
        _ => counter.read().peak as f64,
    })
}

impl StepReport {
    /// As a table for a person.
    pub fn table(&self) -> String {
        let gib = |bytes: f64| format!("{:.2} GiB", bytes / f64::from(1 << 30));
        let mut rows = vec![
            ("device".to_owned(), format!("{}, {}", self.device, self.precision.as_str())),
            ("model".into(), format!("{}, stage {}, {}", self.sizes.as_str(), self.stage.as_str(), self.tune.as_str())),
            ("weights that learn".into(), format!("{:.2} M", self.trained / 1e6)),
            (
                "texts of a step".into(),
                format!("{} in {} micro-batches, {} a volume", self.texts, self.micro_batches, self.texts_per_volume),
            ),
            ("computed again".into(), self.policy.clone()),
            ("step".into(), format!("{:.3} s, planned {:.3} s", self.step_seconds, self.planned_seconds)),
            ("texts, tokens a second".into(), format!("{:.2}, {:.0}", self.texts_per_second, self.tokens_per_second)),
            ("utilization".into(), format!("{:.1} % of the peak of: {}", 100.0 * self.utilization, self.profile)),
            ("peak memory".into(), format!("{}, planned {}", gib(self.peak_bytes), gib(self.planned_bytes))),
            ("waiting for inputs".into(), format!("{:.2} %", 100.0 * self.wait_share)),
            ("loss".into(), format!("{:.4} to {:.4}", self.losses[0], self.losses[self.losses.len() - 1])),
        ];
        rows.extend(self.traced.iter().flat_map(Traced::rows));
        rows.iter().map(|(name, value)| format!("{name:<24}{value}\n")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the allocator counts, against what the model of costs says.
    #[test]
    fn the_peak_is_the_planned_one_with_every_policy() {
        for policy in [Wanted::None, Wanted::Selective, Wanted::Full, Wanted::Auto] {
            for precision in [Precision::F32, Precision::Bf16] {
                for (stage, tune) in
                    [(Stage::Second, Tune::Full), (Stage::Second, Tune::Lora), (Stage::First, Tune::Full)]
                {
                    let asked = BenchStep {
                        sizes: Sizes::Tiny,
                        stage,
                        tune,
                        texts: 24,
                        texts_per_volume: 1,
                        policy,
                        steps: 1,
                        warmup: 1,
                        device: DeviceChoice::Cpu,
                        threads: 0,
                        precision,
                        profile: None,
                        trace: None,
                    };
                    let report = bench_step(&asked).unwrap();
                    let ratio = report.peak_bytes / report.planned_bytes;
                    assert!((ratio - 1.0).abs() <= 0.1, "{ratio:.3} of the planned peak\n{}", report.table());
                    assert!(report.losses.iter().all(|loss| loss.is_finite()));
                }
            }
        }
    }
}
