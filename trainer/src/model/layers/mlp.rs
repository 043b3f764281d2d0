//! Two affine maps with a GELU between them: the MLP of the two vision encoders and of the text encoder.

use tch::Tensor;

use super::{Init, Linear, Tape};

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

    /// The MLP of `x`, added to `residual`; its products by way of the tape.
    pub(crate) fn add_to(&self, residual: &Tensor, x: &Tensor, tape: &mut Tape) -> Tensor {
        let approximate = match self.gelu {
            Gelu::Exact => "none",
            Gelu::Tanh => "tanh",
        };
        let activated = self.up.map(x, None, tape).gelu(approximate);
        self.down.map(&activated, Some(residual), tape)
    }

    /// Whether a backward pass stores a gradient of its weights.
    pub(crate) fn is_trained(&self) -> bool {
        self.up.is_trained() || self.down.is_trained()
    }

    /// Another handle of the same weights.
    pub(crate) fn shallow_clone(&self) -> Mlp {
        Mlp { up: self.up.shallow_clone(), down: self.down.shallow_clone(), gelu: self.gelu }
    }
}
