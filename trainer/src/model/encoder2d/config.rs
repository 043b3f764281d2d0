//! Sizes of the 2D encoder.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::error::{ModelError, expect_multiple};
use crate::model::limits::{BLOCKS, CHANNELS, VOXELS, WIDTH};

/// The vision fields of SigLIP's config.json, as transformers' SiglipVisionConfig names them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SiglipVisionConfig {
    /// Token width.
    #[schemars(range(min = 1, max = WIDTH))]
    pub hidden_size: i64,
    /// Width inside a block's MLP.
    #[schemars(range(min = 1, max = WIDTH))]
    pub intermediate_size: i64,
    /// Blocks.
    #[schemars(range(min = 0, max = BLOCKS))]
    pub num_hidden_layers: i64,
    /// Attention heads.
    #[schemars(range(min = 1, max = WIDTH))]
    pub num_attention_heads: i64,
    /// Height and width of a slice.
    #[schemars(range(min = 1, max = VOXELS))]
    pub image_size: i64,
    /// Height and width of a patch.
    #[schemars(range(min = 1, max = VOXELS))]
    pub patch_size: i64,
    /// Channels of the published patch kernel; a slice is one channel that is used for all of them.
    #[schemars(range(min = 1, max = CHANNELS))]
    pub num_channels: i64,
    /// Of every layer norm.
    pub layer_norm_eps: f64,
}

/// How a slice is normalized before the 2D encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SliceNorm {
    /// Not at all, as in the released code.
    None,
    /// Mean 0.5 and deviation 0.5 removed, as SigLIP was trained.
    Siglip,
}

impl SiglipVisionConfig {
    /// `google/siglip-large-patch16-256`.
    pub fn large_patch16_256() -> SiglipVisionConfig {
        SiglipVisionConfig {
            hidden_size: 1024,
            intermediate_size: 4096,
            num_hidden_layers: 24,
            num_attention_heads: 16,
            image_size: 256,
            patch_size: 16,
            num_channels: 3,
            layer_norm_eps: 1e-6,
        }
    }

    /// Patches of a slice as a grid of one layer.
    pub(crate) fn grid(&self) -> [i64; 3] {
        [1, self.image_size / self.patch_size, self.image_size / self.patch_size]
    }

    /// Tokens of a slice.
    pub fn token_count(&self) -> i64 {
        (self.image_size / self.patch_size).pow(2)
    }

    pub(super) fn check(&self) -> Result<(), ModelError> {
        expect_multiple("vision2d.image_size", self.image_size, self.patch_size)?;
        expect_multiple("vision2d.hidden_size", self.hidden_size, self.num_attention_heads)
    }
}
