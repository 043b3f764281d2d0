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

    /// Whether a backward pass stores a gradient of its weights.
    pub(crate) fn is_trained(&self) -> bool {
        self.weight.requires_grad() || self.bias.requires_grad()
    }

    /// Another handle of the same weights.
    pub(crate) fn shallow_clone(&self) -> LayerNorm {
        LayerNorm { weight: self.weight.shallow_clone(), bias: self.bias.shallow_clone(), eps: self.eps }
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

    /// Whether a backward pass stores a gradient of its weight.
    pub(crate) fn is_trained(&self) -> bool {
        self.weight.requires_grad()
    }

    /// Another handle of the same weight.
    pub(crate) fn shallow_clone(&self) -> RmsNorm {
        RmsNorm { weight: self.weight.shallow_clone(), eps: self.eps }
    }
}
