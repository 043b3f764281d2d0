//! Two affine maps with a GELU between them: the MLP of the two vision encoders and of the text encoder.

use tch::Tensor;

use super::{Init, Linear};

/// Which GELU.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Gelu {
    /// By the error function (M3D-CLIP, BERT).
    Exact,
    /// By the tanh formula (SigLIP).
    Tanh,
}

/// `down(gelu(up(x)))`.
pub(crate) struct Mlp {
    pub(crate) up: Linear,
    pub(crate) down: Linear,
    gelu: Gelu,
}

impl Mlp {
    pub(crate) fn new(init: &Init, input: i64, hidden: i64, output: i64, gelu: Gelu) -> Mlp {
        Mlp { up: Linear::new(init, input, hidden), down: Linear::new(init, hidden, output), gelu }
    }

    /// The MLP of `x`, added to `residual`.
    pub(crate) fn add_to(&self, residual: &Tensor, x: &Tensor) -> Tensor {
        let approximate = match self.gelu {
            Gelu::Exact => "none",
            Gelu::Tanh => "tanh",
        };
        self.down.add_to(residual, &self.up.forward(x).gelu(approximate))
    }
}
