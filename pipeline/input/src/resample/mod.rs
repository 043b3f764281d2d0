//! Resampling: which box of a volume to keep, and its voxels at a target shape.

mod foreground;
mod triangle;
mod trilinear;

pub use foreground::foreground;
pub use triangle::{AxisFilter, triangle};
pub use trilinear::trilinear;

/// A box of voxels: `start` is inside, `stop` is not, both D H W.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crop {
    /// First voxel along each axis.
    pub start: [usize; 3],
    /// One past the last voxel along each axis.
    pub stop: [usize; 3],
}

impl Crop {
    /// The box that keeps all of a volume.
    pub fn whole(shape_dhw: [usize; 3]) -> Crop {
        Crop { start: [0; 3], stop: shape_dhw }
    }

    /// Voxels along each axis.
    pub fn shape(&self) -> [usize; 3] {
        std::array::from_fn(|axis| self.stop[axis] - self.start[axis])
    }
}
