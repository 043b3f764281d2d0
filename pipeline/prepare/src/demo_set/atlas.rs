//! The atlas: Hounsfield units at 1 mm, sampled between voxels.

use std::path::Path;

use med2e3_input::volume::{self, ReadLimits, Samples};

use crate::PrepareError;

/// A head in memory, addressed by its right-anterior-superior voxel coordinates: x grows to the patient's right, y to
/// the front, z upwards, one voxel a millimetre.
pub(super) struct Atlas {
    hu: Vec<i16>,
    // Slices upwards, rows from front to back, columns from right to left, as the reader gives them.
    shape_dhw: [usize; 3],
}

impl Atlas {
    pub(super) fn read(path: &Path) -> Result<Atlas, PrepareError> {
        let volume = volume::read(path, &ReadLimits::default())?;
        let wrong = |found: String| PrepareError::Manifest {
            path: path.to_owned(),
            expected: "a head CT of 16-bit Hounsfield units, 202 x 202 x 179 voxels of 1 mm".into(),
            found,
        };
        if volume.shape_dhw != [179, 202, 202] {
            return Err(wrong(format!("slices, rows, columns {:?}", volume.shape_dhw)));
        }
        match volume.samples_dhw() {
            Samples::I16(hu) => Ok(Atlas { hu: hu.into(), shape_dhw: volume.shape_dhw }),
            other => Err(wrong(format!("samples of type {}", other.type_name()))),
        }
    }

    fn voxel(&self, x: usize, y: usize, z: usize) -> f32 {
        let [_, rows, columns] = self.shape_dhw;
        f32::from(self.hu[(z * rows + (rows - 1 - y)) * columns + (columns - 1 - x)])
    }

    /// Hounsfield units at a point in voxel coordinates, trilinear, the border repeated outwards.
    pub(super) fn at(&self, point_xyz: [f32; 3]) -> f32 {
        let [depth, rows, columns] = self.shape_dhw;
        let corner = |position: f32, count: usize| {
            let position = position.clamp(0.0, (count - 1) as f32);
            let low = (position as usize).min(count.saturating_sub(2));
            (low, position - low as f32)
        };
        let [(x, fx), (y, fy), (z, fz)] =
            [corner(point_xyz[0], columns), corner(point_xyz[1], rows), corner(point_xyz[2], depth)];
        let mix = |a: f32, b: f32, f: f32| a + (b - a) * f;
        let line = |y: usize, z: usize| mix(self.voxel(x, y, z), self.voxel(x + 1, y, z), fx);
        let plane = |z: usize| mix(line(y, z), line(y + 1, z), fy);
        mix(plane(z), plane(z + 1), fz)
    }
}
