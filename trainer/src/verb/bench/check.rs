//! `med2e3 bench check`: whether a device computes what the CPU computes, and whether an interrupted run ends as an unbroken one.
//!
//! The reference is this program on the CPU with everything kept, whose numbers are compared with torch's elsewhere.

use serde::Serialize;
use tch::{Device, Kind, Tensor};

use super::learner::{Learner, Setup};
use super::sizes::{Sizes, Stage, Tune};
use super::step::in_words;
use super::texts::{HostMicroBatch, StepTexts};
use crate::TrainerError;
use crate::config::{Algorithms, ComputeConfig};
use crate::device::DeviceChoice;
use crate::model::recompute::Recompute;
use crate::plan::Policy;
use crate::plan::choice::Budget;
use crate::precision::Precision;
use crate::words::Word;

const TEXTS: usize = 3;
const TEXTS_PER_VOLUME: usize = 2;
/// Two micro-batches and more, so that gradients are added.
const BUDGET: Budget = Budget { tokens: 256, volumes: 1 };
const STEPS: u64 = 3;
/// Steps before and after the interruption.
const HALF: u64 = 5;
const SEED: u64 = 7;

/// One comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Compared {
    /// What was compared.
    pub what: String,
    /// The relative difference.
    pub difference: f64,
    /// The largest that passes.
    pub tolerance: f64,
}

impl Compared {
    /// Whether it is small enough; what is not a number never is.
    pub fn passes(&self) -> bool {
        self.difference <= self.tolerance
    }
}

/// All comparisons.
#[derive(Debug, Serialize)]
pub struct CheckReport {
    /// The device that was compared with the CPU.
    pub device: String,
    /// Each comparison.
    pub compared: Vec<Compared>,
    /// Those that do not pass.
    pub failed: usize,
}

impl CheckReport {
    /// Whether every comparison passes.
    pub fn passes(&self) -> bool {
        self.failed == 0
    }

    /// As text for a person: the largest difference of each kind, and every one that does not pass.
    pub fn table(&self) -> String {
        let mut text = format!("{:<50}{:>12}{:>12}\n", "largest difference", "found", "tolerance");
        let mut kinds: Vec<&str> = self.compared.iter().map(|one| kind_of(&one.what)).collect();
        kinds.dedup();
        for kind in kinds {
            let of_kind = self.compared.iter().filter(|one| kind_of(&one.what) == kind);
            if let Some(worst) = of_kind.max_by(|a, b| a.difference.total_cmp(&b.difference)) {
                text += &format!("{kind:<50}{:>12.2e}{:>12.2e}\n", worst.difference, worst.tolerance);
            }
        }
        for one in self.compared.iter().filter(|one| !one.passes()) {
            text += &format!("differs: {}: {:.2e}, more than {:.2e}\n", one.what, one.difference, one.tolerance);
        }
        text + &format!("{}: {} comparisons, {} beyond the tolerance\n", self.device, self.compared.len(), self.failed)
    }
}

/// What stands before the last colon: everything but the weight's name.
fn kind_of(what: &str) -> &str {
    what.rsplit_once(": ").map_or(what, |(kind, _)| kind)
}

fn tolerance(precision: Precision) -> f64 {
    match precision {
        Precision::F32 => 1e-4,
        Precision::Bf16 => 2e-2,
    }
}

/// Compares.
///
/// # Errors
/// No such device; what the model refuses.
pub fn bench_check(choice: DeviceChoice, threads: usize) -> Result<CheckReport, TrainerError> {
    let device = choice.open(threads)?;
    // The last part needs it, and what the others found would be lost with an error then.
    let deterministic = ComputeConfig { algorithms: Algorithms::Deterministic, ..ComputeConfig::default() };
    deterministic.check_on(device)?;
    let batches = StepTexts::new(Sizes::Tiny, TEXTS, TEXTS_PER_VOLUME).micro_batches(BUDGET);
    let mut compared = Vec::new();
    for precision in Precision::ALL {
        for tune in Tune::ALL {
            let setup = |device: Device| Setup {
                sizes: Sizes::Tiny,
                stage: Stage::Second,
                tune: *tune,
                precision: *precision,
                device,
            };
            let name = format!("{}, {}", precision.as_str(), tune.as_str());
            let reference = Found::of(&setup(Device::Cpu), Recompute::None, &batches)?;
            for recompute in Recompute::ALL {
                let found = Found::of(&setup(device), *recompute, &batches)?;
                let name = format!("{name}, {} computed again", recompute.as_str());
                found.compare(&reference, &name, tolerance(*precision), &mut compared);
            }
        }
    }
    // What has to be equal to the last bit is computed by sums in one order.
    deterministic.apply(device)?;
    for precision in Precision::ALL {
        for tune in Tune::ALL {
            let (sizes, stage) = (Sizes::Tiny, Stage::Second);
            let setup = Setup { sizes, stage, tune: *tune, precision: *precision, device };
            let name = format!("{}, {}", precision.as_str(), tune.as_str());
            compared.extend(interrupted(&setup, &batches, &name)?);
        }
    }
    ComputeConfig::default().apply(device)?;
    let failed = compared.iter().filter(|one| !one.passes()).count();
    Ok(CheckReport { device: in_words(device), compared, failed })
}

/// What some steps find.
struct Found {
    losses: Vec<f64>,
    /// Of the first step, before its update, on the CPU in f32.
    gradients: Vec<(String, Tensor)>,
    /// After the last step, the same.
    weights: Vec<(String, Tensor)>,
}

impl Found {
    fn of(setup: &Setup, recompute: Recompute, batches: &[HostMicroBatch]) -> Result<Found, TrainerError> {
        let learner = || -> Result<Learner, TrainerError> {
            let mut learner = Learner::seeded(setup, SEED)?;
            // An adapter's dropout is drawn by each kind of device in its own way.
            learner.model.disable_dropout();
            learner.set_policy(&Policy::all(recompute))?;
            Ok(learner)
        };
        let mut first = learner()?;
        for batch in batches {
            let _ = first.gradients(batch, SEED)?;
        }
        let gradients = first.trained().into_iter().map(|(name, weight)| (name, host(&weight.grad()))).collect();
        let mut learner = learner()?;
        let losses = (0..STEPS).map(|step| Ok(learner.step(batches, step)?.loss));
        let losses = losses.collect::<Result<_, TrainerError>>()?;
        let weights = learner.trained().into_iter().map(|(name, weight)| (name, host(&weight))).collect();
        Ok(Found { losses, gradients, weights })
    }

    fn compare(&self, reference: &Found, name: &str, tolerance: f64, compared: &mut Vec<Compared>) {
        let mut add = |what: String, difference: f64| compared.push(Compared { what, difference, tolerance });
        for (step, (found, expected)) in self.losses.iter().zip(&reference.losses).enumerate() {
            add(format!("{name}, loss: step {}", step + 1), (found - expected).abs() / expected.abs());
        }
        for (what, found, expected) in
            [("gradient", &self.gradients, &reference.gradients), ("weight", &self.weights, &reference.weights)]
        {
            // A gradient that is zero but for rounding is compared with what the others are on average.
            let sum: f64 = expected.iter().map(|(_, tensor)| square(tensor)).sum();
            let count: f64 = expected.iter().map(|(_, tensor)| tensor.numel() as f64).sum();
            for ((own, found), (_, expected)) in found.iter().zip(expected) {
                let average = (sum / count * expected.numel() as f64).sqrt();
                let size = square(expected).sqrt().max(average);
                add(format!("{name}, {what}: {own}"), square(&(found - expected)).sqrt() / size);
            }
        }
    }
}

/// Five steps, a resumption and five more, against ten.
fn interrupted(setup: &Setup, batches: &[HostMicroBatch], name: &str) -> Result<Vec<Compared>, TrainerError> {
    let run = |learner: &mut Learner, steps: std::ops::Range<u64>| {
        let mut steps = steps;
        steps.try_for_each(|step| learner.step(batches, step).map(drop))
    };
    let mut unbroken = Learner::seeded(setup, SEED)?;
    run(&mut unbroken, 0..2 * HALF)?;
    let mut before = Learner::seeded(setup, SEED)?;
    run(&mut before, 0..HALF)?;
    let mut after = Learner::seeded(setup, SEED + 1)?;
    after.resume(&before)?;
    run(&mut after, HALF..2 * HALF)?;
    let pairs = after.trained().into_iter().zip(unbroken.trained());
    let compare = |((own, found), (_, expected)): ((String, Tensor), (String, Tensor))| Compared {
        what: format!("{name}, {HALF} steps and {HALF} more: {own}"),
        difference: square(&(host(&found) - host(&expected))).sqrt(),
        tolerance: 0.0,
    };
    Ok(pairs.map(compare).collect())
}

fn host(tensor: &Tensor) -> Tensor {
    tensor.detach().to_device(Device::Cpu).to_kind(Kind::Float).copy()
}

fn square(tensor: &Tensor) -> f64 {
    tensor.square().sum(Kind::Double).double_value(&[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_found_and_named() {
        let found = |weight: f32, loss: f64| Found {
            losses: vec![loss],
            gradients: vec![
                ("a".into(), Tensor::from_slice(&[1f32, 2.0])),
                ("b".into(), Tensor::from_slice(&[1e-9f32])),
            ],
            weights: vec![("a".into(), Tensor::from_slice(&[weight, 1.0]))],
        };
        let compare = |own: Found| {
            let mut compared = Vec::new();
            own.compare(&found(1.0, 2.0), "f32", 1e-4, &mut compared);
            let failed: Vec<Compared> = compared.into_iter().filter(|one| !one.passes()).collect();
            failed.iter().map(|one| one.what.clone()).collect::<Vec<_>>()
        };
        assert!(compare(found(1.0, 2.0)).is_empty());
        assert_eq!(compare(found(1.1, 2.0)), ["f32, weight: a"]);
        assert_eq!(compare(found(1.0, f64::NAN)), ["f32, loss: step 1"]);
        let mut noise = found(1.0, 2.0);
        noise.gradients[1].1 = Tensor::from_slice(&[3e-9f32]);
        assert!(compare(noise).is_empty(), "rounding around zero is no difference");
    }

    #[test]
    fn the_cpu_is_what_it_is_compared_with() {
        let report = bench_check(DeviceChoice::Cpu, 0).unwrap();
        assert!(report.passes(), "{}", report.table());
        let has = |words: &str| report.compared.iter().any(|one| one.what.starts_with(words));
        for words in ["f32, full, selective computed again, gradient", "bf16, lora, full computed again, loss"] {
            assert!(has(words), "{words}");
        }
        assert!(report.compared.iter().any(|one| one.what.contains("5 steps and 5 more")));
    }
}
