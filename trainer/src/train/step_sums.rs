//! What the micro-batches of a step add up to.

use med2e3_feed::{HostBatch, StepShare};
use tch::Tensor;

use crate::model::ModelOutput;

/// The sums of a step so far; tensors stay on the device.
#[derive(Default)]
pub(super) struct StepSums {
    loss: Option<Tensor>,
    correct_count: Option<Tensor>,
    /// Whether the loss of any micro-batch depends on a trained weight.
    pub(super) has_graph: bool,
    /// Texts of the micro-batches so far.
    pub(super) texts: u64,
    /// The place of the last micro-batch in its step.
    pub(super) share: StepShare,
}

impl StepSums {
    /// Adds a micro-batch, whose gradients were added to the weights' already.
    pub(super) fn add(&mut self, batch: &HostBatch, output: &ModelOutput) {
        let added = |sum: Option<Tensor>, value: Tensor| Some(sum.map_or_else(|| value.copy(), |sum| sum + &value));
        self.loss = added(self.loss.take(), output.loss.detach());
        self.correct_count = added(self.correct_count.take(), output.correct_count.detach());
        self.texts += batch.texts.len() as u64;
        self.share = batch.share.clone();
    }

    /// Whether the step's last micro-batch was added.
    pub(super) fn is_whole(&self) -> bool {
        self.texts > 0 && self.share.ends_step()
    }

    /// The step's loss and its right targets, read from the device.
    pub(super) fn read(&self) -> (f64, f64) {
        let read = |sum: &Option<Tensor>| sum.as_ref().map_or(0.0, |sum| sum.double_value(&[]));
        (read(&self.loss), read(&self.correct_count))
    }
}
