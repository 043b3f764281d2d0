//! From codes to Hounsfield units.

use super::{VoxelCode, VoxelFormat};

/// The numbers in the voxel field's metadata that give Hounsfield units.
pub const HU_SCALE: &str = "hu_scale";
/// See [`HU_SCALE`].
pub const HU_OFFSET: &str = "hu_offset";

/// From codes to Hounsfield units: HU = code * scale + offset. Under a window the lowest and the highest code stand for all
/// values beyond its ends too.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HounsfieldScale {
    /// HU from one code to the next.
    pub scale: f64,
    /// HU of code 0.
    pub offset: f64,
}

impl HounsfieldScale {
    /// Of values in 0..1 that were a window in HU.
    pub fn of_window(code: VoxelCode, low: f64, high: f64) -> HounsfieldScale {
        HounsfieldScale { scale: (high - low) / f64::from(code.maximum()), offset: low }
    }

    /// Of values that are HU themselves.
    pub fn of_values(format: &VoxelFormat) -> HounsfieldScale {
        HounsfieldScale { scale: format.scale.into(), offset: format.offset.into() }
    }
}
