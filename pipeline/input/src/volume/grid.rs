//! Grid: a view of a volume's samples, which stay in stored order, along the display's axes D H W.

use crate::orientation::DisplayTransform;

/// How the display's axes map to the stored order: from the slowest to the fastest axis, and which axes are reversed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrangement {
    /// Display axes (0 D, 1 H, 2 W), slowest first: a permutation.
    slowest_first: [usize; 3],
    /// Display axes whose index decreases along the stored order.
    flipped: [bool; 3],
}

impl Arrangement {
    /// Stored as displayed: slices, rows, columns.
    pub const DHW: Arrangement = Arrangement { slowest_first: [0, 1, 2], flipped: [false; 3] };

    /// Columns slowest, slices fastest: Fortran order.
    pub const WHD: Arrangement = Arrangement { slowest_first: [2, 1, 0], flipped: [false; 3] };

    /// The arrangement of a source whose third axis is slowest and first axis is fastest (NIfTI's order), displayed by
    /// the given transform.
    pub fn of(display_transform: DisplayTransform) -> Arrangement {
        Arrangement {
            slowest_first: if display_transform.transpose { [0, 2, 1] } else { [0, 1, 2] },
            flipped: [display_transform.flip_d, display_transform.flip_h, display_transform.flip_w],
        }
    }

    /// Whether a display axis (0 D, 1 H, 2 W) runs against the stored order.
    pub fn is_flipped(&self, axis: usize) -> bool {
        self.flipped[axis]
    }
}

/// Samples with their shape and arrangement; a view.
#[derive(Clone, Copy, Debug)]
pub struct Grid<'a, T> {
    samples: &'a [T],
    shape_dhw: [usize; 3],
    arrangement: Arrangement,
    /// Index of display voxel 0 0 0 in `samples`.
    first: isize,
    /// Index step from voxel to voxel along D, H, W.
    step_dhw: [isize; 3],
}

/// Columns and rows of a tile, which fits the first-level cache: writing a long column directly would miss it at each
/// sample. Columns of a transposed display are contiguous in the stored order; long ones let the hardware prefetch.
const TILE_COLUMNS: usize = 32;
const TILE_ROWS: usize = 256;

impl<'a, T: Copy> Grid<'a, T> {
    /// A view of all `samples`; `None` where there are none or not as many as the shape has voxels.
    pub fn new(samples: &'a [T], shape_dhw: [usize; 3], arrangement: Arrangement) -> Option<Grid<'a, T>> {
        let count = shape_dhw.iter().try_fold(1_usize, |count, dim| count.checked_mul(*dim))?;
        if count == 0 || count != samples.len() {
            return None;
        }
        let (mut first, mut step_dhw, mut step) = (0, [0; 3], 1);
        for axis in arrangement.slowest_first.into_iter().rev() {
            step_dhw[axis] = if arrangement.flipped[axis] { -step } else { step };
            first += if arrangement.flipped[axis] { step * (shape_dhw[axis] as isize - 1) } else { 0 };
            step *= shape_dhw[axis] as isize;
        }
        Some(Grid { samples, shape_dhw, arrangement, first, step_dhw })
    }

    /// Slices, rows, columns of the display.
    pub fn shape_dhw(&self) -> [usize; 3] {
        self.shape_dhw
    }

    /// The samples in stored order.
    pub fn stored(&self) -> &'a [T] {
        self.samples
    }

    /// Index in the stored samples of a display voxel, which must be within the shape.
    #[inline]
    pub fn index(&self, voxel_dhw: [usize; 3]) -> usize {
        let offset: isize = voxel_dhw.iter().zip(self.step_dhw).map(|(n, step)| *n as isize * step).sum();
        (self.first + offset) as usize
    }

    /// Whether display rows are contiguous in the stored order: `Some(true)` where reversed, `None` where they are not.
    pub(crate) fn rows_flipped(&self) -> Option<bool> {
        match self.step_dhw[2] {
            1 => Some(false),
            -1 => Some(true),
            _ => None,
        }
    }

    /// Columns `start..stop` of a display row in stored order. Rows must be contiguous.
    #[inline]
    pub(crate) fn row(&self, d: usize, h: usize, start: usize, stop: usize) -> &'a [T] {
        let lowest = if self.step_dhw[2] < 0 { stop - 1 } else { start };
        &self.samples[self.index([d, h, lowest])..][..stop - start]
    }

    /// Appends rows and columns `start..stop` of display slice `d` to `out`, row by row.
    pub(crate) fn append_slice(&self, d: usize, start: [usize; 2], stop: [usize; 2], out: &mut Vec<T>) {
        let [rows, columns] = [stop[0] - start[0], stop[1] - start[1]];
        match self.rows_flipped() {
            Some(flipped) => (start[0]..stop[0]).for_each(|h| {
                let row = self.row(d, h, start[1], stop[1]);
                if flipped { out.extend(row.iter().rev()) } else { out.extend_from_slice(row) }
            }),
            None => {
                let from = out.len();
                out.resize(from + rows * columns, self.samples[0]);
                for w0 in (0..columns).step_by(TILE_COLUMNS) {
                    for h0 in (0..rows).step_by(TILE_ROWS) {
                        let shape = [(rows - h0).min(TILE_ROWS), (columns - w0).min(TILE_COLUMNS)];
                        let tile = self.tile(d, [start[0] + h0, start[1] + w0], shape);
                        for (h, line) in tile.iter().enumerate().take(shape[0]) {
                            out[from + (h0 + h) * columns + w0..][..shape[1]].copy_from_slice(&line[..shape[1]]);
                        }
                    }
                }
            }
        }
    }

    /// A rectangle of display slice `d`, for displays whose rows are not contiguous.
    fn tile(&self, d: usize, corner: [usize; 2], shape: [usize; 2]) -> [[T; TILE_COLUMNS]; TILE_ROWS] {
        let mut tile = [[self.samples[0]; TILE_COLUMNS]; TILE_ROWS];
        for w in 0..shape[1] {
            let first = self.index([d, corner[0], corner[1] + w]);
            match self.step_dhw[1] {
                1 => fill_column(&mut tile, w, self.samples[first..][..shape[0]].iter()),
                -1 => fill_column(&mut tile, w, self.samples[first + 1 - shape[0]..=first].iter().rev()),
                step => {
                    let indices = (0..shape[0] as isize).map(|h| (first as isize + h * step) as usize);
                    fill_column(&mut tile, w, indices.map(|index| &self.samples[index]));
                }
            }
        }
        tile
    }

    /// All samples in display order.
    pub(crate) fn to_display(self) -> Vec<T> {
        let [depth, height, width] = self.shape_dhw;
        let mut out = Vec::with_capacity(self.samples.len());
        (0..depth).for_each(|d| self.append_slice(d, [0; 2], [height, width], &mut out));
        out
    }

    /// Lengths of the axes in stored order, slowest first.
    pub(crate) fn stored_shape(&self) -> [usize; 3] {
        self.arrangement.slowest_first.map(|axis| self.shape_dhw[axis])
    }

    /// Converts a box in stored axes, slowest first, to starts and stops along D, H and W.
    pub(crate) fn box_to_display(&self, start: [usize; 3], stop: [usize; 3]) -> ([usize; 3], [usize; 3]) {
        let (mut display_start, mut display_stop) = ([0; 3], [0; 3]);
        for (stored_axis, axis) in self.arrangement.slowest_first.into_iter().enumerate() {
            let length = self.shape_dhw[axis];
            let range = if self.arrangement.flipped[axis] {
                (length - stop[stored_axis], length - start[stored_axis])
            } else {
                (start[stored_axis], stop[stored_axis])
            };
            (display_start[axis], display_stop[axis]) = range;
        }
        (display_start, display_stop)
    }
}

fn fill_column<'a, T: Copy + 'a>(
    tile: &mut [[T; TILE_COLUMNS]; TILE_ROWS],
    column: usize,
    samples: impl Iterator<Item = &'a T>,
) {
    tile.iter_mut().zip(samples).for_each(|(line, sample)| line[column] = *sample);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every order and every flip of a 2 x 3 x 4 display.
    #[test]
    fn a_grid_and_its_display_copy_agree_voxel_by_voxel() {
        let samples: Vec<u16> = (0..24).collect();
        for slowest_first in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            for flips in 0..8 {
                let flipped = [0, 1, 2].map(|axis| flips >> axis & 1 == 1);
                let grid = Grid::new(&samples, [2, 3, 4], Arrangement { slowest_first, flipped }).unwrap();
                let display = grid.to_display();
                let mut sorted = display.clone();
                sorted.sort();
                assert_eq!(sorted, samples);
                for (n, value) in display.into_iter().enumerate() {
                    let voxel = [n / 12, n / 4 % 3, n % 4];
                    assert_eq!(samples[grid.index(voxel)], value);
                }
                let corner = grid.index([0; 3]);
                let stored = grid.stored_shape();
                let start = [corner / (stored[1] * stored[2]), corner / stored[2] % stored[1], corner % stored[2]];
                let (start, stop) = grid.box_to_display(start, start.map(|n| n + 1));
                assert_eq!((start, stop), ([0; 3], [1; 3]));
            }
        }
        assert!(Grid::new(&samples, [2, 3, 5], Arrangement::DHW).is_none());
        assert!(Grid::new(&samples[..0], [0, 3, 4], Arrangement::DHW).is_none());
        assert!(Grid::new(&samples, [usize::MAX, 3, 4], Arrangement::DHW).is_none());
    }
}
