//! First values of weights: normal draws for matrices, embeddings and positions, zeros for biases, ones for norms; or
//! shapes alone, for weights that a file holds.

use std::cell::Cell;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::libtorch;

/// First values of matrices, embeddings and positions; biases start at zero, norms at one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Initializer {
    /// Normal with this deviation, whatever the sizes: 0.02 in the released code's `_init_weights`.
    Normal(f64),
    /// Normal with one over the root of the inputs, so that small models start with signals of unit size too.
    FanIn,
}

/// Makes the tensors that layers are built with.
pub(crate) struct Init {
    device: Device,
    kind: Kind,
    values: Values,
}

enum Values {
    /// They depend on the seed and on the order of the calls alone: not on the device, nor on other draws.
    Drawn { initializer: Initializer, next_seed: Cell<u64> },
    /// One zero, expanded to the shape: no storage until a weight replaces it.
    Shapes,
}

impl Init {
    /// Fresh values.
    pub(crate) fn drawn(device: Device, kind: Kind, initializer: Initializer, seed: u64) -> Init {
        Init { device, kind, values: Values::Drawn { initializer, next_seed: Cell::new(seed) } }
    }

    /// Shapes without storage. Nothing may be computed with them.
    pub(crate) fn shapes(device: Device, kind: Kind) -> Init {
        Init { device, kind, values: Values::Shapes }
    }

    /// The device of the tensors.
    pub(crate) fn device(&self) -> Device {
        self.device
    }

    /// A matrix or kernel whose first axis is the output's.
    pub(crate) fn matrix(&self, shape: &[i64]) -> Tensor {
        let fan_in: i64 = shape[1..].iter().product();
        self.normal(shape, || 1.0 / (fan_in as f64).sqrt())
    }

    /// A table of vectors, the last axis their width: embeddings, positions, a class token. As SigLIP's own positions.
    pub(crate) fn table(&self, shape: &[i64]) -> Tensor {
        let width = shape[shape.len() - 1];
        self.normal(shape, || 1.0 / (width as f64).sqrt())
    }

    fn normal(&self, shape: &[i64], scaled: impl Fn() -> f64) -> Tensor {
        let Values::Drawn { initializer, next_seed } = &self.values else {
            return self.constant(0.0, shape);
        };
        let std = match initializer {
            Initializer::Normal(std) => *std,
            Initializer::FanIn => scaled(),
        };
        // The increment of splitmix64: runs of nearby seeds share no tensor's seed.
        next_seed.set(next_seed.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
        let mut tensor = Tensor::empty(shape, (Kind::Float, Device::Cpu));
        libtorch::fill_normal(&mut tensor, std, next_seed.get()).expect("a fresh f32 tensor on the CPU");
        tensor.to_device(self.device).to_kind(self.kind)
    }

    pub(crate) fn zeros(&self, shape: &[i64]) -> Tensor {
        self.constant(0.0, shape)
    }

    pub(crate) fn ones(&self, shape: &[i64]) -> Tensor {
        self.constant(1.0, shape)
    }

    /// One value everywhere.
    pub(crate) fn constant(&self, value: f64, shape: &[i64]) -> Tensor {
        let options = (self.kind, self.device);
        match self.values {
            Values::Drawn { .. } => Tensor::full(shape, value, options),
            Values::Shapes => Tensor::zeros([0i64; 0].as_slice(), options).expand(shape, false),
        }
    }
}
