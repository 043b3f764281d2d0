//! Fresh weights: normal draws for matrices, embeddings and positions, zeros for biases, ones for norms.

use std::cell::Cell;

use tch::{Device, Kind, Tensor};

use crate::libtorch;
use crate::model::config::Initializer;

/// Makes the first values of weights. They depend on the seed and on the order of the calls alone: not on the device,
/// nor on what else draws random numbers.
pub(crate) struct Init {
    device: Device,
    initializer: Initializer,
    next_seed: Cell<u64>,
}

impl Init {
    pub(crate) fn new(device: Device, initializer: Initializer, seed: u64) -> Init {
        Init { device, initializer, next_seed: Cell::new(seed) }
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
        let std = match self.initializer {
            Initializer::Normal(std) => std,
            Initializer::FanIn => scaled(),
        };
        // The increment of splitmix64: runs of nearby seeds share no tensor's seed.
        self.next_seed.set(self.next_seed.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
        let mut tensor = Tensor::empty(shape, (Kind::Float, Device::Cpu));
        libtorch::fill_normal(&mut tensor, std, self.next_seed.get()).expect("a fresh f32 tensor on the CPU");
        tensor.to_device(self.device)
    }

    pub(crate) fn zeros(&self, shape: &[i64]) -> Tensor {
        Tensor::zeros(shape, (Kind::Float, self.device))
    }

    pub(crate) fn ones(&self, shape: &[i64]) -> Tensor {
        Tensor::ones(shape, (Kind::Float, self.device))
    }
}
