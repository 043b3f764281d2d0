//! An affine map of the last axis.

use tch::Tensor;

use super::Init;

/// `x W^T + b`; the weight lies as torch has it, (out, in).
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

    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        x.linear(&self.weight, self.bias.as_ref())
    }
}
