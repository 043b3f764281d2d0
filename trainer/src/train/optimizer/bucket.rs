//! A block's weights, gradients and moments, each one flat buffer.
//!
//! The model's tensors are views of the weights, their gradients views of an f32 buffer to which backward passes add. So the
//! norm, the update and the zeroing are a few calls for a block, and a part of a bucket can be a rank's.

use std::ops::Range;

use tch::{Device, Kind, Tensor, no_grad};

use super::adamw::OptimizerError;
use super::master::{Master, Values};
use super::trained::Trained;
use crate::libtorch::{AdamWLists, AdamWNumbers, AdamWScalars, fused_adamw, gradient_writes, put_gradient};

/// Every weight begins at a multiple of it, so that none depends on its neighbours: vector instructions never meet a rest, and
/// a GPU's matrix products get the addresses that they are fastest with.
const ALIGNMENT: i64 = 64;

/// Weights that are moved together by one rate and decay.
pub(super) struct Bucket {
    rate: f64,
    decay: f64,
    pub(super) slots: Vec<Slot>,
    /// Of the weights' kind.
    weight: Tensor,
    pub(super) values: Values,
    /// f32, as the moments.
    pub(super) grad: Tensor,
    pub(super) exp_avg: Tensor,
    pub(super) exp_avg_sq: Tensor,
}

/// One weight's place in its bucket.
pub(super) struct Slot {
    pub(super) name: String,
    pub(super) shape: Vec<i64>,
    tensor: Tensor,
    /// The weight's gradient, which counts its writes.
    grad: Tensor,
    /// The writes before the last zeroing.
    written: i64,
    start: i64,
    length: i64,
}

impl Slot {
    /// The slot's range of a flat buffer, in the weight's shape.
    pub(super) fn view(&self, buffer: &Tensor) -> Tensor {
        buffer.narrow(0, self.start, self.length).view(self.shape.as_slice())
    }

    /// The range of the buffer, what fills it up to the next slot included.
    fn range(&self) -> Range<i64> {
        self.start..self.start + aligned(self.length)
    }
}

/// What every bucket of a step shares.
pub(super) struct Update<'a> {
    pub(super) learning_rate: f64,
    pub(super) beta1: f64,
    pub(super) beta2: f64,
    pub(super) eps: f64,
    pub(super) scalars: AdamWScalars<'a>,
}

impl Bucket {
    /// Buffers for these weights, which keep their values and get a gradient of zeros; moments are zero.
    pub(super) fn new(trained: Vec<Trained>, master: Master) -> Result<Bucket, OptimizerError> {
        let (rate, decay, kind) = (trained[0].rate, trained[0].decay, trained[0].kind);
        let device = trained[0].tensor.device();
        let total = trained.iter().map(|trained| aligned(trained.tensor.numel() as i64)).sum::<i64>();
        let zeros = |kind| Tensor::zeros([total], (kind, device));
        let weight = zeros(kind);
        let mut bucket = Bucket {
            rate,
            decay,
            slots: Vec::with_capacity(trained.len()),
            values: Values::of(&weight, master),
            weight,
            grad: zeros(Kind::Float),
            exp_avg: zeros(Kind::Float),
            exp_avg_sq: zeros(Kind::Float),
        };
        let mut start = 0;
        for Trained { name, tensor, .. } in trained {
            let (shape, length) = (tensor.size(), tensor.numel() as i64);
            let view = |buffer: &Tensor| buffer.narrow(0, start, length).view(shape.as_slice());
            no_grad(|| {
                let values = tensor.detach().to_kind(Kind::Float).reshape([length]);
                // The values are taken apart in place, and an f32 tensor's are still the model's.
                bucket.values.write(&bucket.weight.narrow(0, start, length), start, values.copy());
                tensor.shallow_clone().set_data(&view(&bucket.weight));
            });
            let failed = |source| OptimizerError::Gradient { name: name.clone(), source };
            let grad = put_gradient(&tensor, &view(&bucket.grad)).map_err(failed)?;
            let written = gradient_writes(&tensor, &grad).map_err(failed)?;
            bucket.slots.push(Slot { name, shape, tensor, grad, written, start, length });
            start += aligned(length);
        }
        Ok(bucket)
    }

    /// Moves the weights to which backward passes have added a gradient since the last zeroing; the others stay as they are,
    /// moments included. Where the step is left out nothing changes.
    pub(super) fn update(&self, update: &Update<'_>) -> Result<(), OptimizerError> {
        for range in self.touched()? {
            for start in range.clone().step_by(self.chunk() as usize) {
                self.update_chunk(update, start, self.chunk().min(range.end - start))?;
            }
        }
        Ok(())
    }

    fn update_chunk(&self, update: &Update<'_>, start: i64, length: i64) -> Result<(), OptimizerError> {
        let range = |buffer: &Tensor| buffer.narrow(0, start, length);
        let weight = range(&self.weight);
        let values = self.values.read(&weight, start);
        let lists = AdamWLists {
            params: vec![values.shallow_clone()],
            grads: vec![range(&self.grad)],
            exp_avgs: vec![range(&self.exp_avg)],
            exp_avg_sqs: vec![range(&self.exp_avg_sq)],
        };
        let Update { learning_rate, beta1, beta2, eps, ref scalars } = *update;
        let numbers = AdamWNumbers { lr: learning_rate * self.rate, beta1, beta2, weight_decay: self.decay, eps };
        fused_adamw(&lists, scalars, numbers)?;
        if self.weight.kind() != Kind::Float {
            self.values.write(&weight, start, values);
        }
        Ok(())
    }

    /// The ranges of the weights that have a gradient, neighbours joined. Known on the host: the device is not asked.
    fn touched(&self) -> Result<Vec<Range<i64>>, OptimizerError> {
        let mut ranges: Vec<Range<i64>> = Vec::new();
        for slot in &self.slots {
            let written = gradient_writes(&slot.tensor, &slot.grad)
                .map_err(|source| OptimizerError::Gradient { name: slot.name.clone(), source })?;
            if written == slot.written {
                continue;
            }
            let range = slot.range();
            match ranges.last_mut() {
                Some(last) if last.end == range.start => last.end = range.end,
                _ => ranges.push(range),
            }
        }
        Ok(ranges)
    }

    /// Zeroes all gradients.
    pub(super) fn zero_grad(&mut self) -> Result<(), OptimizerError> {
        let _ = no_grad(|| self.grad.zero_());
        for slot in &mut self.slots {
            slot.written = gradient_writes(&slot.tensor, &slot.grad)
                .map_err(|source| OptimizerError::Gradient { name: slot.name.clone(), source })?;
        }
        Ok(())
    }

    /// The gradients in pieces, of which each is summed by itself: an f32 sum of all squares at once would lose the last of them.
    pub(super) fn grad_chunks(&self) -> Vec<Tensor> {
        self.grad.split(self.chunk(), 0)
    }

    /// What the rounding of a slot's weights left over, in their shape; none where they are f32.
    pub(super) fn remainder(&self, slot: &Slot) -> Option<Tensor> {
        let weight = self.weight.narrow(0, slot.start, slot.length);
        Some(self.values.remainder(&weight, slot.start)?.view(slot.shape.as_slice()))
    }

    /// Gives a slot's weights the values that they and this remainder make.
    pub(super) fn put_remainder(&self, slot: &Slot, remainder: &Tensor) {
        let weight = self.weight.narrow(0, slot.start, slot.length);
        let remainder = remainder.to_device(weight.device()).reshape([slot.length]);
        self.values.write(&weight, slot.start, super::combine(&weight, &remainder));
    }

    /// Weights that are updated at once, a multiple of the alignment: their f32 values fit the second cache of a CPU's core; on a
    /// GPU they stay in its second cache too, and are enough that starting the operations costs little.
    fn chunk(&self) -> i64 {
        match self.weight.device() {
            Device::Cpu => 1 << 17,
            _ => 1 << 22,
        }
    }
}

/// The next multiple of the alignment.
fn aligned(length: i64) -> i64 {
    (length as u64).next_multiple_of(ALIGNMENT as u64) as i64
}
