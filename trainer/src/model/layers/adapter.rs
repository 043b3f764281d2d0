//! The low-rank sum that an adapter adds to an affine map.

use tch::{Kind, Tensor};

use super::{Init, Linear};

/// `scale * (x A^T) B^T`, A (rank, in), B (out, rank).
pub(crate) struct Adapter {
    pub(crate) a: Tensor,
    pub(crate) b: Tensor,
    scale: f64,
    /// On the input, in training only.
    pub(crate) dropout: f64,
}

impl Adapter {
    /// B starts at zero, so that a fresh adapter changes nothing.
    pub(crate) fn new(linear: &Linear, rank: i64, scale: f64, dropout: f64, init: &Init) -> Adapter {
        let (output, input) = linear.size();
        Adapter { a: init.matrix(&[rank, input]), b: init.zeros(&[output, rank]), scale, dropout }
    }

    pub(crate) fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let dropped = if train && self.dropout > 0.0 { Some(x.dropout(self.dropout, true)) } else { None };
        let x = dropped.as_ref().unwrap_or(x);
        x.linear(&self.a, None::<&Tensor>).linear(&self.b, None::<&Tensor>) * self.scale
    }

    /// As [`Adapter::forward`] without dropout, in f32 whatever the weights' kind.
    pub(crate) fn forward_wide(&self, x: &Tensor) -> Tensor {
        let [a, b] = [&self.a, &self.b].map(|matrix| matrix.to_kind(Kind::Float));
        x.linear(&a, None::<&Tensor>).linear(&b, None::<&Tensor>) * self.scale
    }

    /// The matrix that the adapter adds, (out, in), in f32.
    pub(crate) fn delta(&self) -> Tensor {
        self.b.to_kind(Kind::Float).matmul(&self.a.to_kind(Kind::Float)) * self.scale
    }
}
