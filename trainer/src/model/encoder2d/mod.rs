//! SigLIP's vision transformer over one slice: pre-norm blocks, tanh GELU, no class token. Features are the last
//! block's output, before the published post-norm, which is kept for export only.

mod block;
mod config;

use tch::{Kind, Tensor};

pub use config::{SiglipVisionConfig, SliceNorm};

use super::error::{ModelError, expect_shape};
use super::layers::{Init, LayerNorm, Tape};
use super::recompute::Recomputation;
use block::Block;

/// The 2D encoder.
pub struct Encoder2d {
    config: SiglipVisionConfig,
    pub(crate) patch_weight: Tensor,
    pub(crate) patch_bias: Tensor,
    pub(crate) positions: Tensor,
    pub(crate) blocks: Vec<Block>,
    pub(crate) post_norm: LayerNorm,
    pub(crate) recomputation: Recomputation,
}

impl Encoder2d {
    pub(crate) fn new(config: &SiglipVisionConfig, init: &Init) -> Result<Encoder2d, ModelError> {
        config.check()?;
        let (width, patch) = (config.hidden_size, config.patch_size);
        Ok(Encoder2d {
            patch_weight: init.matrix(&[width, config.num_channels, patch, patch]),
            patch_bias: init.zeros(&[width]),
            positions: init.table(&[config.token_count(), width]),
            blocks: (0..config.num_hidden_layers).map(|_| Block::new(config, init)).collect(),
            post_norm: LayerNorm::new(init, width, config.layer_norm_eps),
            recomputation: Recomputation::default(),
            config: config.clone(),
        })
    }

    /// Slices (B, H, W) to one feature a patch, (B, Q, E); patches in order height, width. `norm` is applied to a
    /// slice before; it is folded into the patch kernel, so no normalized copy of the slices is made.
    ///
    /// # Errors
    /// A slice has another size than the config's.
    pub fn forward(&self, slices_bhw: &Tensor, norm: SliceNorm) -> Result<Tensor, ModelError> {
        expect_shape("slices", slices_bhw, &[-1, self.config.image_size, self.config.image_size])?;
        // All channels of a slice are equal, so the kernel summed over channels on one of them is the same convolution.
        let kernel = self.patch_weight.sum_dim_intlist([1i64].as_slice(), false, None::<Kind>).flatten(1, 2);
        let (kernel, bias) = match norm {
            SliceNorm::None => (kernel, self.patch_bias.shallow_clone()),
            // k (2 x - 1) + b = (2 k) x + (b - sum of k)
            SliceNorm::Siglip => {
                let sum_e = kernel.sum_dim_intlist([1i64].as_slice(), false, None::<Kind>);
                (kernel * 2.0, &self.patch_bias - sum_e)
            }
        };
        let mut hidden_bqe = self.patchify(slices_bhw).linear(&kernel, Some(&bias)) + &self.positions;
        for (index, block) in self.blocks.iter().enumerate() {
            let (is_trained, block) = (block.is_trained(), block.shallow_clone());
            let forward = move |hidden_bqe: &Tensor, tape: &mut Tape| block.forward(hidden_bqe, tape);
            hidden_bqe = self.recomputation.run(index, &hidden_bqe, is_trained, forward);
        }
        Ok(hidden_bqe)
    }

    /// Each patch as a row, its pixels in order height, width.
    fn patchify(&self, slices_bhw: &Tensor) -> Tensor {
        let (patch, grid) = (self.config.patch_size, self.config.image_size / self.config.patch_size);
        slices_bhw.reshape([-1, grid, patch, grid, patch]).transpose(2, 3).reshape([-1, grid * grid, patch * patch])
    }
}
