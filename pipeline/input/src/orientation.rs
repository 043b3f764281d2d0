//! Orientation: from a voxel-to-patient affine to axis codes, the plane of the slices, and the transform to
//! radiological display.
//!
//! The slice axis of the source (its third voxel axis) stays the slice axis, so that a coronal or sagittal series
//! remains one. Only the directions of the axes and the order of the in-plane axes change:
//!
//! | plane | slices along | D | H | W |
//! |---|---|---|---|---|
//! | axial | S-I | inferior to superior | anterior to posterior | right to left |
//! | coronal | A-P | anterior to posterior | superior to inferior | right to left |
//! | sagittal | R-L | right to left | superior to inferior | anterior to posterior |
//!
//! "Right" is the patient's right, which radiological display shows at the left edge of the image.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The linear part of an affine: the rows are the patient directions right, anterior and superior, the columns one step
/// along the voxel axes i, j and k. The unit is that of the affine, mostly mm.
pub type Directions = [[f64; 3]; 3];

/// The anatomical plane of the slices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Plane {
    /// Slices along superior-inferior.
    Axial,
    /// Slices along anterior-posterior.
    Coronal,
    /// Slices along right-left.
    Sagittal,
}

impl Plane {
    /// The patient axis across the slices: 0 right-left, 1 anterior-posterior, 2 superior-inferior.
    pub fn world(self) -> usize {
        match self {
            Plane::Sagittal => 0,
            Plane::Coronal => 1,
            Plane::Axial => 2,
        }
    }

    /// Where numbers along that axis grow: towards `right`, `anterior` or `superior`, as NIfTI counts.
    pub fn towards(self) -> &'static str {
        ["right", "anterior", "superior"][self.world()]
    }

    /// The plane's word: `axial`, `coronal` or `sagittal`.
    pub fn as_str(self) -> &'static str {
        match self {
            Plane::Axial => "axial",
            Plane::Coronal => "coronal",
            Plane::Sagittal => "sagittal",
        }
    }
}

impl fmt::Display for Plane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// For each voxel axis i, j and k: the closest patient axis, and the direction along it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Orientation {
    axes: [Axis; 3],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Axis {
    /// 0 right-left, 1 anterior-posterior, 2 superior-inferior.
    world: usize,
    /// Whether the index grows towards the patient's right, front or head.
    positive: bool,
}

/// The transform from a source's slices to display slices: a permutation of axes and flips; values stay unchanged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DisplayTransform {
    /// Slices in reverse order.
    pub flip_d: bool,
    /// Rows of the display run along the source's i axis instead of its j axis.
    pub transpose: bool,
    /// Rows in reverse order.
    pub flip_h: bool,
    /// Columns in reverse order.
    pub flip_w: bool,
}

impl Orientation {
    /// The orientation of an affine, by the algorithm of nibabel's `io_orientation`: in the closest matrix without
    /// shear, each voxel axis takes the patient axis of its largest entry, starting with the voxel axis of the largest
    /// entry.
    ///
    /// `None` where the affine is degenerate or not finite.
    pub fn from_directions(directions: &Directions) -> Option<Orientation> {
        let mut rotation = closest_orthogonal(directions)?;
        let strength = |axis: usize| (0..3).map(|world| rotation[world][axis].abs()).fold(0.0, f64::max);
        let mut order = [(0, strength(0)), (1, strength(1)), (2, strength(2))];
        order.sort_by(|a, b| b.1.total_cmp(&a.1));
        let mut axes = [Axis { world: 0, positive: true }; 3];
        for (axis, _) in order {
            let mut best = 0;
            for world in 1..3 {
                if rotation[world][axis].abs() > rotation[best][axis].abs() {
                    best = world;
                }
            }
            let value = rotation[best][axis];
            if value.abs() <= 1e-8 {
                return None;
            }
            axes[axis] = Axis { world: best, positive: value > 0.0 };
            // A patient axis belongs to one voxel axis only.
            rotation[best] = [0.0; 3];
        }
        Some(Orientation { axes })
    }

    /// Three letters, one for each voxel axis: the direction in which its index grows, as nibabel's `aff2axcodes` (such
    /// as `"LPS"`).
    pub fn codes(&self) -> String {
        self.axes
            .iter()
            .map(|axis| ["LR", "PA", "IS"][axis.world].as_bytes()[usize::from(axis.positive)] as char)
            .collect()
    }

    /// The plane of the slices, which the patient axis of the third voxel axis decides.
    pub fn plane(&self) -> Plane {
        [Plane::Sagittal, Plane::Coronal, Plane::Axial][self.axes[2].world]
    }

    /// The transform that shows slices of this orientation in radiological display (see the module's table).
    pub fn display_transform(&self) -> DisplayTransform {
        // Display directions as (patient axis, positive).
        let (depth_positive, height, width) = match self.plane() {
            Plane::Axial => (true, (1, false), (0, false)),
            Plane::Coronal => (false, (2, false), (0, false)),
            Plane::Sagittal => (false, (2, false), (1, false)),
        };
        let transpose = self.axes[0].world == height.0;
        let (row_axis, column_axis) = if transpose { (0, 1) } else { (1, 0) };
        DisplayTransform {
            flip_d: self.axes[2].positive != depth_positive,
            transpose,
            flip_h: self.axes[row_axis].positive != height.1,
            flip_w: self.axes[column_axis].positive != width.1,
        }
    }
}

/// Length of one step along each voxel axis i, j and k, in the affine's unit.
pub fn step_lengths(directions: &Directions) -> [f64; 3] {
    std::array::from_fn(|axis| (0..3).map(|world| directions[world][axis].powi(2)).sum::<f64>().sqrt())
}

/// The orthogonal polar factor of the column-normalized matrix, by Newton's iteration X <- (X + X^-T) / 2, which
/// converges quadratically for every regular matrix. nibabel computes it from an SVD.
fn closest_orthogonal(directions: &Directions) -> Option<Directions> {
    let lengths = step_lengths(directions);
    if lengths.iter().any(|length| !length.is_finite() || *length == 0.0) {
        return None;
    }
    let mut x: Directions =
        std::array::from_fn(|row| std::array::from_fn(|column| directions[row][column] / lengths[column]));
    if determinant(&x).abs() < 1e-9 {
        return None;
    }
    for _ in 0..100 {
        let det = determinant(&x);
        // The inverse transposed is the cofactor matrix over the determinant.
        let next: Directions =
            std::array::from_fn(|r| std::array::from_fn(|c| (x[r][c] + cofactor(&x, r, c) / det) / 2.0));
        let change = (0..9).map(|n| (next[n / 3][n % 3] - x[n / 3][n % 3]).abs()).fold(0.0, f64::max);
        x = next;
        if change < 1e-14 {
            break;
        }
    }
    Some(x)
}

fn cofactor(m: &Directions, r: usize, c: usize) -> f64 {
    // Cyclic indices carry the cofactor's sign.
    let (r1, r2, c1, c2) = ((r + 1) % 3, (r + 2) % 3, (c + 1) % 3, (c + 2) % 3);
    m[r1][c1] * m[r2][c2] - m[r1][c2] * m[r2][c1]
}

fn determinant(m: &Directions) -> f64 {
    (0..3).map(|c| m[0][c] * cofactor(m, 0, c)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lps_is_already_the_axial_display() {
        let lps = Orientation::from_directions(&[[-1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, 2.0]]).unwrap();
        assert_eq!(lps.codes(), "LPS");
        assert_eq!(lps.plane(), Plane::Axial);
        assert_eq!(lps.display_transform(), DisplayTransform::default());
    }

    #[test]
    fn a_degenerate_affine_has_no_orientation() {
        assert_eq!(Orientation::from_directions(&[[0.0; 3]; 3]), None);
        assert_eq!(Orientation::from_directions(&[[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]), None);
        assert_eq!(Orientation::from_directions(&[[f64::NAN; 3]; 3]), None);
    }
}
