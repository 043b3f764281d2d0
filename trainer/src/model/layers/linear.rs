//! An affine map of the last axis.

use tch::Tensor;

use super::Init;
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
        self.map(x, None)
    }

    /// The map of `x`, added to `residual` in the same pass.
    pub(crate) fn add_to(&self, residual: &Tensor, x: &Tensor) -> Tensor {
        self.map(x, Some(residual))
    }

    /// The map without its bias.
    pub(crate) fn forward_without_bias(&self, x: &Tensor) -> Tensor {
        libtorch::linear(x, &self.weight, None, None).expect("widths fit")
    }

    fn map(&self, x: &Tensor, residual: Option<&Tensor>) -> Tensor {
        libtorch::linear(x, &self.weight, self.bias.as_ref(), residual).expect("widths fit")
    }
}
