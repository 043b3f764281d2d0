//! Layer norm and RMS norm over the last axis.

use tch::Tensor;

use super::Init;

/// Mean and variance removed, then scaled and shifted.
pub(crate) struct LayerNorm {
    pub(crate) weight: Tensor,
    pub(crate) bias: Tensor,
    eps: f64,
}

impl LayerNorm {
    pub(crate) fn new(init: &Init, width: i64, eps: f64) -> LayerNorm {
        LayerNorm { weight: init.ones(&[width]), bias: init.zeros(&[width]), eps }
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        x.layer_norm(self.weight.size(), Some(&self.weight), Some(&self.bias), self.eps, true)
    }
}

/// Divided by the root of the mean square, then scaled.
pub(crate) struct RmsNorm {
    pub(crate) weight: Tensor,
    eps: f64,
}

impl RmsNorm {
    pub(crate) fn new(init: &Init, width: i64, eps: f64) -> RmsNorm {
        RmsNorm { weight: init.ones(&[width]), eps }
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        x.rms_norm(self.weight.size(), Some(&self.weight), self.eps)
    }
}
