//! Sizes of the 3D encoder.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::error::{ModelError, expect_multiple};
use crate::model::limits::{BLOCKS, CHANNELS, WIDTH};

/// torch's default, which the published encoder uses; its config.json does not name it.
pub(super) const LAYER_NORM_EPS: f64 = 1e-5;

/// The vision fields of M3D-CLIP's config.json.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct M3dClipVisionConfig {
    /// Volume shape, D H W.
    pub img_size: [i64; 3],
    /// Patch shape, D H W.
    pub patch_size: [i64; 3],
    /// Token width.
    #[schemars(range(min = 1, max = WIDTH))]
    pub hidden_size: i64,
    /// Width inside a block's MLP.
    #[schemars(range(min = 1, max = WIDTH))]
    pub mlp_dim: i64,
    /// Blocks.
    #[schemars(range(min = 0, max = BLOCKS))]
    pub num_layers: i64,
    /// Attention heads.
    #[schemars(range(min = 1, max = WIDTH))]
    pub num_heads: i64,
    /// Channels of a volume; 1 for CT.
    #[schemars(range(min = 1, max = CHANNELS))]
    pub in_channels: i64,
}

impl M3dClipVisionConfig {
    /// The published M3D-CLIP: 87,389,184 parameters.
    pub fn m3d_clip() -> M3dClipVisionConfig {
        M3dClipVisionConfig {
            img_size: [32, 256, 256],
            patch_size: [4, 16, 16],
            hidden_size: 768,
            mlp_dim: 3072,
            num_layers: 12,
            num_heads: 12,
            in_channels: 1,
        }
    }

    /// Patches along D, H and W.
    pub fn grid(&self) -> [i64; 3] {
        std::array::from_fn(|axis| self.img_size[axis] / self.patch_size[axis])
    }

    /// Tokens of a volume, the class token left out.
    pub fn token_count(&self) -> i64 {
        self.grid().iter().product()
    }

    pub(super) fn patch_width(&self) -> i64 {
        self.patch_size.iter().product::<i64>() * self.in_channels
    }

    pub(super) fn check(&self) -> Result<(), ModelError> {
        for axis in 0..3 {
            expect_multiple("vision3d.img_size", self.img_size[axis], self.patch_size[axis])?;
        }
        expect_multiple("vision3d.hidden_size", self.hidden_size, self.num_heads)
    }
}
