//! Resampling: the foreground box of a volume, and the interpolation of a box to a target shape.

mod foreground;
mod triangle;
mod trilinear;

pub use foreground::foreground;
pub use triangle::{AxisFilter, triangle};
pub use trilinear::trilinear;

/// A box of voxels in D H W order; `start` is included, `stop` is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crop {
    /// First voxel along each axis.
    pub start: [usize; 3],
    /// One past the last voxel along each axis.
    pub stop: [usize; 3],
}

impl Crop {
    /// The box of all voxels.
    pub fn whole(shape_dhw: [usize; 3]) -> Crop {
        Crop { start: [0; 3], stop: shape_dhw }
    }

    /// Voxels along each axis.
    pub fn shape(&self) -> [usize; 3] {
        std::array::from_fn(|axis| self.stop[axis] - self.start[axis])
    }
}
