//! A model with its optimizer, and one step of both.

use med2e3_program::Stopwatch;
use tch::{Device, Kind, Tensor};

use super::sizes::{Sizes, Stage, Tune};
use super::texts::HostMicroBatch;
use crate::TrainerError;
use crate::config::by_part;
use crate::libtorch::backward;
use crate::model::{Med2e3, Part};
use crate::plan::{BlockPolicy, Policy};
use crate::precision::Precision;
use crate::staging::Staging;
use crate::train::optimizer::{AdamW, AdamWConfig, Rates, Trained};

/// Deviation of drawn weights.
const DEVIATION: f64 = 0.02;
const LEARNING_RATE: f64 = 5e-5;

/// What is built.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setup {
    pub(super) sizes: Sizes,
    pub(super) stage: Stage,
    pub(super) tune: Tune,
    pub(super) precision: Precision,
    pub(super) device: Device,
}

/// A model with its optimizer.
pub(super) struct Learner {
    pub(super) model: Med2e3,
    optimizer: AdamW,
    staging: Staging,
    device: Device,
}

/// What a step has found.
pub(super) struct StepNumbers {
    pub(super) loss: f64,
    /// Seconds in which the host made the inputs and copied them.
    pub(super) waited: f64,
}

impl Setup {
    /// The kind that the weights are trained in.
    fn kind(&self) -> Kind {
        self.precision.kind()
    }
}

impl Learner {
    /// Weights drawn on the device, as fast as it draws.
    pub(super) fn drawn(setup: &Setup) -> Result<Learner, TrainerError> {
        tch::manual_seed(1);
        let mut model = Med2e3::unloaded(&setup.sizes.config(), setup.device, setup.kind())?;
        model.draw_on_device(DEVIATION);
        Learner::of(model, setup)
    }

    /// Weights drawn on the CPU from a seed, the same for every device.
    pub(super) fn seeded(setup: &Setup, seed: u64) -> Result<Learner, TrainerError> {
        let mut model = Med2e3::new(&setup.sizes.config(), setup.device, seed)?;
        model.to_kind(setup.kind());
        Learner::of(model, setup)
    }

    fn of(mut model: Med2e3, setup: &Setup) -> Result<Learner, TrainerError> {
        if let Some(lora) = setup.tune.lora() {
            model.add_adapters(&lora, 2)?;
        }
        model.set_trainable(setup.stage.parts());
        let trained = Trained::all(model.trainable(), setup.kind(), Rates::default());
        let optimizer = AdamW::new(trained, AdamWConfig::default())?;
        Ok(Learner { model, optimizer, staging: Staging::new(setup.device)?, device: setup.device })
    }

    /// Computes blocks again as the policy states.
    ///
    /// # Errors
    /// A part has fewer blocks.
    pub(super) fn set_policy(&mut self, policy: &Policy) -> Result<(), TrainerError> {
        for (part, BlockPolicy { recompute, blocks }) in by_part(policy) {
            let blocks = usize::try_from(blocks).ok().filter(|_| blocks < i64::MAX);
            self.model.set_recompute(part, recompute, blocks)?;
        }
        Ok(())
    }

    /// Loss and gradients of one micro-batch, which are added to those that are there, and the seconds in which the host made its
    /// inputs and sent them: in one copy, as a training does.
    pub(super) fn gradients(&mut self, batch: &HostMicroBatch, seed: u64) -> Result<(Tensor, f64), TrainerError> {
        let watch = Stopwatch::start();
        let plan = batch.plan(&self.model)?;
        let arrived = batch.planned(&plan).upload(&mut self.staging, Vec::new())?;
        let waited = watch.seconds();
        let loss = self.model.forward_placed(&arrived.voxels_vcdhw, &arrived.plan, Some(seed))?.loss;
        backward(&loss)?;
        Ok((loss.detach(), waited))
    }

    /// One optimizer step over micro-batches. Reads the loss, and so waits for the device.
    pub(super) fn step(&mut self, batches: &[HostMicroBatch], step: u64) -> Result<StepNumbers, TrainerError> {
        let (mut loss, mut waited): (Option<Tensor>, f64) = (None, 0.0);
        for (place, batch) in batches.iter().enumerate() {
            let (of_batch, seconds) = self.gradients(batch, step * 1000 + place as u64)?;
            waited += seconds;
            loss = Some(loss.map_or_else(|| of_batch.copy(), |sum| sum + &of_batch));
        }
        self.optimizer.step(LEARNING_RATE)?;
        self.optimizer.zero_grad()?;
        Ok(StepNumbers { loss: loss.map_or(0.0, |loss| loss.double_value(&[])), waited })
    }

    /// Weights that learn, by name.
    pub(super) fn trained(&self) -> Vec<(String, Tensor)> {
        self.model.trainable()
    }

    /// Takes weights and state of another learner, as a resumed run takes those of its checkpoint.
    pub(super) fn resume(&mut self, other: &Learner) -> Result<(), TrainerError> {
        let mut state = other.optimizer.state();
        let on_device = |tensor: &Tensor| tensor.detach().copy().to_device(self.device);
        state.tensors = state.tensors.iter().map(|(name, tensor)| (name.clone(), on_device(tensor))).collect();
        tch::no_grad(|| {
            let all = |model: &Med2e3| {
                let parts = Part::ALL.into_iter().flat_map(|part| model.parameters(part));
                parts.chain(model.adapters()).collect::<Vec<_>>()
            };
            for ((_, own), (_, theirs)) in all(&self.model).into_iter().zip(all(&other.model)) {
                let mut own = own.detach();
                own.copy_(&theirs);
            }
        });
        self.optimizer.load_state(&state)
    }
}
