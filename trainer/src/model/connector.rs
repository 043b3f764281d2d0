//! From an encoder's tokens to the language model's width: pool (3D only), then a two-layer MLP with exact GELU.

use tch::Tensor;

use super::error::{ModelError, expect_multiple};
use super::layers::{Gelu, Init, Mlp};

/// The 3D connector: average pooling over the patch grid, then the MLP.
pub struct Connector3d {
    pub(crate) mlp: Mlp,
    grid: [i64; 3],
    pool: [i64; 3],
}

impl Connector3d {
    pub(crate) fn new(
        init: &Init,
        grid: [i64; 3],
        pool: [i64; 3],
        from: i64,
        to: i64,
    ) -> Result<Connector3d, ModelError> {
        for axis in 0..3 {
            expect_multiple("vision3d grid under variant.pool", grid[axis], pool[axis])?;
        }
        Ok(Connector3d { mlp: Mlp::new(init, from, to, to, Gelu::Exact), grid, pool })
    }

    /// (B, patches, encoder width) to (B, P, E), depth slowest.
    pub(crate) fn forward(&self, patches_bpe: &Tensor) -> Tensor {
        let [d, h, w] = self.grid;
        let pooled_bedhw = patches_bpe.transpose(1, 2).reshape([patches_bpe.size()[0], -1, d, h, w]).avg_pool3d(
            self.pool,
            self.pool,
            [0, 0, 0],
            false,
            true,
            None,
        );
        self.mlp.forward(&pooled_bedhw.flatten(2, 4).transpose(1, 2))
    }
}

/// The 2D connector: the MLP alone.
pub struct Connector2d {
    pub(crate) mlp: Mlp,
}

impl Connector2d {
    pub(crate) fn new(init: &Init, from: i64, to: i64) -> Connector2d {
        Connector2d { mlp: Mlp::new(init, from, to, to, Gelu::Exact) }
    }

    /// (.., encoder width) to (.., E).
    pub(crate) fn forward(&self, tokens: &Tensor) -> Tensor {
        self.mlp.forward(tokens)
    }
}
