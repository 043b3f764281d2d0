//! Recipes: from a volume to the voxels of a model's input, one function for each recipe.
//!
//! | recipe | for | intensity | resampling |
//! |---|---|---|---|
//! | [`m3d()`] | M3D-Data and models trained on it | min-max of the volume | box above the minimum, trilinear |
//! | [`ct()`] | CTs in Hounsfield units | a window, percentiles, or HU as they are | box around the body, antialiased, optionally to a spacing |

mod ct;
mod m3d;

pub use ct::{CtCrop, CtRecipe, Intensity, ct, ct_depths};
pub use m3d::{m3d, m3d_depths};

use crate::resample::Crop;

/// M3D's and Med-2E3's input: 32 slices of 256 x 256.
pub const M3D_SHAPE_DHW: [usize; 3] = [32, 256, 256];

/// What a recipe found in a volume and kept of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PreparedInfo {
    /// Shape of the volume before the crop.
    pub source_shape_dhw: [usize; 3],
    /// The box that was kept, in voxels of the volume.
    pub crop: Crop,
    /// Smallest value of the volume after rescale; recipe `m3d` maps it to 0.
    pub value_min: f32,
    /// Largest value of the volume after rescale; recipe `m3d` maps it to 1 (before resampling).
    pub value_max: f32,
}
