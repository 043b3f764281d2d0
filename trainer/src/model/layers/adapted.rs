//! An affine map with or without a low-rank adapter.

use tch::Tensor;

use super::{Adapter, Init, Linear};

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

    /// `train` switches the adapter's dropout on.
    pub(crate) fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        self.adapted(self.linear.forward(x), x, train)
    }

    /// As [`AdaptedLinear::forward`], added to `residual`.
    pub(crate) fn add_to(&self, residual: &Tensor, x: &Tensor, train: bool) -> Tensor {
        self.adapted(self.linear.add_to(residual, x), x, train)
    }

    fn adapted(&self, mapped: Tensor, x: &Tensor, train: bool) -> Tensor {
        match &self.adapter {
            None => mapped,
            Some(adapter) => mapped + adapter.forward(x, train),
        }
    }
}
