//! AdamW over buckets.

use tch::{Kind, Tensor, no_grad};

use super::bucket::{Bucket, Slot, Update};
use super::master::Master;
use super::trained::Trained;
use crate::libtorch::{self, AdamWScalars, LibtorchError};

/// AdamW's constants; the learning rate comes with each step, rates and decays with the weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWConfig {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Largest norm of all gradients together; with a larger one they are scaled down to it, as torch's `clip_grad_norm_`
    /// does. None clips nothing.
    pub clip: Option<f64>,
    /// How the f32 values of bf16 weights are kept.
    pub master: Master,
}

impl Default for AdamWConfig {
    /// transformers' defaults, which the released recipes keep, without clipping.
    fn default() -> AdamWConfig {
        AdamWConfig { beta1: 0.9, beta2: 0.999, eps: 1e-8, clip: None, master: Master::default() }
    }
}

/// Why a step or a resumption failed.
#[derive(Debug, thiserror::Error)]
pub enum OptimizerError {
    /// libtorch rejected the tensors.
    #[error(transparent)]
    Libtorch(#[from] LibtorchError),
    /// A weight whose gradient is not in the optimizer's buffer.
    #[error("weight {name}")]
    Gradient {
        /// The weight's name.
        name: String,
        /// What is wrong with it.
        source: LibtorchError,
    },
    /// A stored state does not belong to these weights.
    #[error("optimizer state {name}: expected {expected}, found {found}")]
    State {
        /// The tensor's name.
        name: String,
        /// The kind and shape that fit; `nothing` where no weight has that name or needs it.
        expected: String,
        /// The stored ones; `nothing` where nothing is stored.
        found: String,
    },
}

/// What a step has found, f32 scalars on the weights' device. Reading one waits for the device.
pub struct StepScalars {
    /// The norm of all gradients together, before clipping.
    pub norm: Tensor,
    /// 1 where the norm is not finite, so that the step changed nothing; else 0.
    pub skipped: Tensor,
}

/// Added to a norm before it is clipped, as torch's `clip_grad_norm_` does.
const BESIDE_NORM: f64 = 1e-6;

/// The norm of gradients of this norm after [`AdamWConfig::clip`].
pub fn clipped_norm(norm: f64, clip: Option<f64>) -> f64 {
    clip.map_or(norm, |clip| norm / ((norm + BESIDE_NORM) / clip).max(1.0))
}

impl StepScalars {
    /// Of a step that was left out without being computed.
    pub fn left_out() -> StepScalars {
        let [norm, skipped] = [f32::NAN, 1.0].map(|value| Tensor::from_slice(&[value]).squeeze());
        StepScalars { norm, skipped }
    }
}

/// The optimizer of a list of named weights.
pub struct AdamW {
    config: AdamWConfig,
    buckets: Vec<Bucket>,
    /// Views of all gradients, in pieces.
    grads: Vec<Tensor>,
    /// Updates so far, an f32 scalar on the device.
    updates: Tensor,
}

impl AdamW {
    /// Moves the weights into flat buffers and gives each a gradient of zeros in one; the model's tensors keep their values,
    /// rounded where they become bf16: what that leaves over is kept here. Moments are zero. Weights that were f32 are freed as
    /// they are moved, a bucket after the other.
    ///
    /// # Errors
    /// There are no weights, or one that requires no gradient.
    pub fn new(trained: Vec<Trained>, config: AdamWConfig) -> Result<AdamW, OptimizerError> {
        let mut groups: Vec<Vec<Trained>> = Vec::new();
        for weight in trained {
            match groups.iter_mut().find(|group| group[0].belongs_with(&weight)) {
                Some(group) => group.push(weight),
                None => groups.push(vec![weight]),
            }
        }
        let buckets = groups.into_iter().map(|group| Bucket::new(group, config.master));
        let buckets = buckets.collect::<Result<Vec<_>, _>>()?;
        let grads: Vec<Tensor> = buckets.iter().flat_map(Bucket::grad_chunks).collect();
        // Of no gradients there is no norm.
        let updates = no_grad(|| libtorch::global_norm(&grads))?.zeros_like();
        Ok(AdamW { config, buckets, grads, updates })
    }

    /// One step with this learning rate, of which every weight takes its own share. The host waits for nothing.
    ///
    /// A weight to whose gradient nothing was added since [`AdamW::zero_grad`] stays as it is, moments included, as a parameter
    /// without a gradient does in torch's AdamW. (A gradient of zeros that was added is one: it lets moments decay.) The count of
    /// updates moves on for all, where torch counts for each parameter alone: the moments of a weight that some steps left as it is
    /// are corrected as if all had moved it. A step whose norm is not finite changes nothing: weights, moments and the count
    /// of updates keep every bit.
    ///
    /// # Errors
    /// libtorch rejects the tensors; a weight's gradient was replaced.
    pub fn step(&mut self, learning_rate: f64) -> Result<StepScalars, OptimizerError> {
        no_grad(|| {
            let norm = libtorch::global_norm(&self.grads)?;
            let applied = norm.isfinite().to_kind(Kind::Float);
            let skipped = 1.0 - &applied;
            self.updates += &applied;
            // Gradients are divided by it, so it is the reciprocal of torch's factor.
            let grad_scale = self.config.clip.map(|clip| ((&norm + BESIDE_NORM) / clip).clamp_min(1.0));
            let AdamWConfig { beta1, beta2, eps, .. } = self.config;
            let scalars =
                AdamWScalars { step: &self.updates, grad_scale: grad_scale.as_ref(), found_inf: Some(&skipped) };
            let update = Update { learning_rate, beta1, beta2, eps, scalars };
            self.buckets.iter().try_for_each(|bucket| bucket.update(&update))?;
            Ok(StepScalars { norm, skipped })
        })
    }

    /// Zeroes all gradients, one fill a bucket.
    ///
    /// # Errors
    /// A weight's gradient was replaced.
    pub fn zero_grad(&mut self) -> Result<(), OptimizerError> {
        self.buckets.iter_mut().try_for_each(Bucket::zero_grad)
    }

    /// Updates so far; a step that was left out is none. Waits for the device.
    pub fn updates(&self) -> u64 {
        self.updates.double_value(&[]) as u64
    }

    pub(super) fn set_updates(&mut self, updates: u64) {
        self.updates = self.updates.full_like(updates as f64);
    }

    /// Every weight with its bucket.
    pub(super) fn slots(&self) -> impl Iterator<Item = (&Bucket, &Slot)> {
        self.buckets.iter().flat_map(|bucket| bucket.slots.iter().map(move |slot| (bucket, slot)))
    }
}
