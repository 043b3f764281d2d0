//! The kind of floats that a model computes in, as a person names it.

use serde::{Deserialize, Serialize};
use tch::Kind;

/// A kind of floats.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits with the range of f32; norms, softmax and loss sum in f32.
    Bf16,
}

impl Precision {
    /// libtorch's name.
    pub fn kind(self) -> Kind {
        match self {
            Precision::F32 => Kind::Float,
            Precision::Bf16 => Kind::BFloat16,
        }
    }
}
