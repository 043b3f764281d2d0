//! The kind of floats that a model computes in, by name.

use tch::Kind;

use crate::words::words;

words! {
    /// A kind of floats.
    #[derive(Default)]
    pub enum Precision {
        /// 32 bits.
        #[default]
        F32 = "f32",
        /// 16 bits with the range of f32; norms, softmax and loss sum in f32.
        Bf16 = "bf16",
    }
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
