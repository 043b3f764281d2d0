//! Fresh weights: N(0, std) for matrices, embeddings and positions, zeros for biases, ones for norms, as the
//! released code's `_init_weights`.

use tch::{Device, Kind, Tensor};

/// Makes the first values of weights, in the order in which it is asked.
pub(crate) struct Init {
    device: Device,
    std: f64,
}

impl Init {
    /// Seeds libtorch's generator, so equal seeds and configs give equal weights on one kind of device.
    pub(crate) fn new(device: Device, std: f64, seed: u64) -> Init {
        tch::manual_seed(seed.cast_signed());
        Init { device, std }
    }

    pub(crate) fn normal(&self, shape: &[i64]) -> Tensor {
        Tensor::empty(shape, (Kind::Float, self.device)).normal_(0.0, self.std)
    }

    pub(crate) fn zeros(&self, shape: &[i64]) -> Tensor {
        Tensor::zeros(shape, (Kind::Float, self.device))
    }

    pub(crate) fn ones(&self, shape: &[i64]) -> Tensor {
        Tensor::ones(shape, (Kind::Float, self.device))
    }
}
