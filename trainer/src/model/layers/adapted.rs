//! An affine map with or without a low-rank adapter.

use tch::Tensor;

use super::{Adapter, Init, Linear, Tape};

/// `x W^T + b`, plus the adapter's sum where there is one.
pub(crate) struct AdaptedLinear {
    pub(crate) linear: Linear,
    pub(crate) adapter: Option<Adapter>,
}

impl AdaptedLinear {
    pub(crate) fn new(init: &Init, input: i64, output: i64) -> AdaptedLinear {
        AdaptedLinear { linear: Linear::new(init, input, output), adapter: None }
    }

    pub(crate) fn without_bias(init: &Init, input: i64, output: i64) -> AdaptedLinear {
        AdaptedLinear { linear: Linear::without_bias(init, input, output), adapter: None }
    }

    /// As [`Linear::map`]; a seed switches the adapter's dropout on.
    pub(crate) fn map(&self, x: &Tensor, residual: Option<&Tensor>, seed: Option<u64>, tape: &mut Tape) -> Tensor {
        match &self.adapter {
            None => self.linear.map(x, residual, tape),
            Some(adapter) => adapter.map(&self.linear, x, residual, seed, tape),
        }
    }

    /// Whether a backward pass stores a gradient of its weights.
    pub(crate) fn is_trained(&self) -> bool {
        self.linear.is_trained() || self.adapter.as_ref().is_some_and(Adapter::is_trained)
    }

    /// Another handle of the same weights.
    pub(crate) fn shallow_clone(&self) -> AdaptedLinear {
        AdaptedLinear {
            linear: self.linear.shallow_clone(),
            adapter: self.adapter.as_ref().map(Adapter::shallow_clone),
        }
    }
}
