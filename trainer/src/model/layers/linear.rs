//! An affine map of the last axis.

use tch::Tensor;

use super::{Init, Tape};
use crate::libtorch;

/// `x W^T + b`; the weight is (out, in), as in torch.
pub(crate) struct Linear {
    pub(crate) weight: Tensor,
    pub(crate) bias: Option<Tensor>,
}

impl Linear {
    pub(crate) fn new(init: &Init, input: i64, output: i64) -> Linear {
        Linear { weight: init.matrix(&[output, input]), bias: Some(init.zeros(&[output])) }
    }

    pub(crate) fn without_bias(init: &Init, input: i64, output: i64) -> Linear {
        Linear { weight: init.matrix(&[output, input]), bias: None }
    }

    /// Outputs and inputs.
    pub(crate) fn size(&self) -> (i64, i64) {
        self.weight.size2().expect("a linear map has a matrix")
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        self.map(x, None, &mut Tape::Computed)
    }

    /// The map of `x`, and the residual's sum with it in the same pass where there is one; its value by way of the tape.
    pub(crate) fn map(&self, x: &Tensor, residual: Option<&Tensor>, tape: &mut Tape) -> Tensor {
        let (weight, bias) = (&self.weight, self.bias.as_ref());
        let value = tape.product(|| libtorch::product(x, weight, bias, residual).expect("widths fit"));
        libtorch::linear_of(value, x, weight, bias, residual).expect("widths fit")
    }

    /// The map without its bias.
    pub(crate) fn forward_without_bias(&self, x: &Tensor) -> Tensor {
        libtorch::linear(x, &self.weight, None, None).expect("widths fit")
    }

    /// Whether a backward pass stores a gradient of its weights.
    pub(crate) fn is_trained(&self) -> bool {
        self.weight.requires_grad() || self.bias.as_ref().is_some_and(Tensor::requires_grad)
    }

    /// Another handle of the same weights.
    pub(crate) fn shallow_clone(&self) -> Linear {
        Linear { weight: self.weight.shallow_clone(), bias: self.bias.as_ref().map(Tensor::shallow_clone) }
    }
}
