//! M3D-CLIP's vision transformer over a whole volume: pre-norm blocks, exact GELU, a class token without a position.

mod block;
mod config;

use tch::Tensor;

pub use config::M3dClipVisionConfig;

use super::error::{ModelError, expect_shape};
use super::layers::{Init, LayerNorm, Linear, Tape};
use super::recompute::Recomputation;
use block::Block;

/// The 3D encoder.
pub struct Encoder3d {
    config: M3dClipVisionConfig,
    pub(crate) class_token: Tensor,
    pub(crate) positions: Tensor,
    pub(crate) patch: Linear,
    pub(crate) blocks: Vec<Block>,
    pub(crate) norm: LayerNorm,
    final_norm: bool,
    pub(crate) recomputation: Recomputation,
}

impl Encoder3d {
    /// Fresh weights. `final_norm` states whether features are taken after the last norm (M3D-LaMed) or before it
    /// (Med-2E3).
    pub(crate) fn new(config: &M3dClipVisionConfig, final_norm: bool, init: &Init) -> Result<Encoder3d, ModelError> {
        config.check()?;
        let width = config.hidden_size;
        Ok(Encoder3d {
            class_token: init.table(&[1, 1, width]),
            positions: init.table(&[1, config.token_count(), width]),
            patch: Linear::new(init, config.patch_width(), width),
            blocks: (0..config.num_layers).map(|_| Block::new(config, init)).collect(),
            norm: LayerNorm::new(init, width, config::LAYER_NORM_EPS),
            recomputation: Recomputation::default(),
            config: config.clone(),
            final_norm,
        })
    }

    /// (B, C, D, H, W) to one feature a patch, (B, P, E); patches in order depth, height, width.
    ///
    /// # Errors
    /// The volume has another shape than the config's.
    pub fn forward(&self, voxels_bcdhw: &Tensor) -> Result<Tensor, ModelError> {
        let mut hidden_bpe = self.hidden(voxels_bcdhw)?;
        if self.final_norm {
            hidden_bpe = self.norm.forward(&hidden_bpe);
        }
        Ok(hidden_bpe.narrow(1, 1, self.config.token_count()))
    }

    /// (B, C, D, H, W) to the class token's feature after the last norm, (B, E), whatever `final_norm` is: what M3D-CLIP
    /// compares with a text.
    ///
    /// # Errors
    /// As [`Encoder3d::forward`].
    pub fn class_feature(&self, voxels_bcdhw: &Tensor) -> Result<Tensor, ModelError> {
        Ok(self.norm.forward(&self.hidden(voxels_bcdhw)?.select(1, 0)))
    }

    /// The last block's output, (B, 1 + P, E), the class token first.
    fn hidden(&self, voxels_bcdhw: &Tensor) -> Result<Tensor, ModelError> {
        let [d, h, w] = self.config.img_size;
        expect_shape("voxels", voxels_bcdhw, &[-1, self.config.in_channels, d, h, w])?;
        let patches_bpe = self.patch.forward(&self.patchify(voxels_bcdhw)) + &self.positions;
        let batch = patches_bpe.size()[0];
        let class_b1e = self.class_token.expand([batch, 1, self.config.hidden_size], false);

        let mut hidden_bpe = Tensor::cat(&[class_b1e, patches_bpe], 1);
        for (index, block) in self.blocks.iter().enumerate() {
            let (is_trained, block) = (block.is_trained(), block.shallow_clone());
            let forward = move |hidden_bpe: &Tensor, tape: &mut Tape| block.forward(hidden_bpe, tape);
            hidden_bpe = self.recomputation.run(index, &hidden_bpe, is_trained, forward);
        }
        Ok(hidden_bpe)
    }

    /// Each patch as a row, its voxels in order depth, height, width, channel.
    fn patchify(&self, voxels_bcdhw: &Tensor) -> Tensor {
        let ([gd, gh, gw], [pd, ph, pw]) = (self.config.grid(), self.config.patch_size);
        voxels_bcdhw
            .view([-1, self.config.in_channels, gd, pd, gh, ph, gw, pw].as_slice())
            .permute([0, 2, 4, 6, 3, 5, 7, 1])
            .reshape([-1, gd * gh * gw, self.config.patch_width()])
    }
}
