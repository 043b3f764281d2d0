//! Fresh weights: N(0, std) for matrices, embeddings and positions, zeros for biases, ones for norms, as the released
//! code's `_init_weights`.

use std::cell::Cell;

use tch::{Device, Kind, Tensor};

use crate::libtorch;

/// Makes the first values of weights. They depend on the seed and on the order of the calls alone: not on the device,
/// nor on what else draws random numbers.
pub(crate) struct Init {
    device: Device,
    std: f64,
    next_seed: Cell<u64>,
}

impl Init {
    pub(crate) fn new(device: Device, std: f64, seed: u64) -> Init {
        Init {
            device,
            std,
            next_seed: Cell::new(seed),
        }
    }

    pub(crate) fn normal(&self, shape: &[i64]) -> Tensor {
        // The increment of splitmix64: runs of nearby seeds share no tensor's seed.
        self.next_seed
            .set(self.next_seed.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
        let mut tensor = Tensor::empty(shape, (Kind::Float, Device::Cpu));
        libtorch::fill_normal(&mut tensor, self.std, self.next_seed.get()).expect("a fresh f32 tensor on the CPU");
        tensor.to_device(self.device)
    }

    pub(crate) fn zeros(&self, shape: &[i64]) -> Tensor {
        Tensor::zeros(shape, (Kind::Float, self.device))
    }

    pub(crate) fn ones(&self, shape: &[i64]) -> Tensor {
        Tensor::ones(shape, (Kind::Float, self.device))
    }
}
