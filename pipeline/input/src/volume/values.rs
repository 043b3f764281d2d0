//! The values of a volume as `f32`, some rows at a time, so that no copy of a volume is made that is several times as large.

use super::samples::Sample;
use super::{Grid, Rescale};

/// Values that are converted at once: they stay in the second-level cache.
const BAND: usize = 1 << 16;

/// Rows of `columns` values that are converted at once, at least one.
pub(crate) fn band_rows(columns: usize) -> usize {
    (BAND / columns.max(1)).max(1)
}

/// Samples of a grid on their way to values.
pub(crate) struct Values<'a, T> {
    grid: Grid<'a, T>,
    rescale: Rescale,
    /// Rows in display order, where those of the grid are not contiguous.
    samples: Vec<T>,
}

impl<'a, T: Sample> Values<'a, T> {
    pub(crate) fn new(grid: Grid<'a, T>, rescale: Rescale) -> Values<'a, T> {
        Values { grid, rescale, samples: Vec::new() }
    }

    /// Replaces `out` by the values of rows and columns `start..stop` of display slice `d`, row by row.
    pub(crate) fn rows(&mut self, d: usize, start: [usize; 2], stop: [usize; 2], out: &mut Vec<f32>) {
        let rescale = self.rescale;
        let value = |sample: &T| rescale.value(sample.to_f64());
        out.clear();
        match self.grid.rows_flipped() {
            Some(flipped) => (start[0]..stop[0]).for_each(|h| {
                let row = self.grid.row(d, h, start[1], stop[1]).iter().map(value);
                if flipped { out.extend(row.rev()) } else { out.extend(row) }
            }),
            None => {
                self.samples.clear();
                self.grid.append_slice(d, start, stop, &mut self.samples);
                out.extend(self.samples.iter().map(value));
            }
        }
    }

    /// Calls `visit` with the values of all voxels in D H W order, some whole rows at a time: slice, first row, values.
    pub(crate) fn each(&mut self, mut visit: impl FnMut(usize, usize, &[f32])) {
        let [depth, height, width] = self.grid.shape_dhw();
        let rows = band_rows(width);
        let mut values = Vec::with_capacity(rows.min(height) * width);
        for d in 0..depth {
            for h in (0..height).step_by(rows) {
                self.rows(d, [h, 0], [(h + rows).min(height), width], &mut values);
                visit(d, h, &values);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::Arrangement;

    #[test]
    fn rows_of_any_arrangement_are_those_of_the_display() {
        let samples: Vec<i16> = (0..4 * 300 * 500_i64).map(|n| (n * 7919 % 30011) as i16).collect();
        let rescale = Rescale { slope: -0.5, intercept: 3.0 };
        for arrangement in [Arrangement::DHW, Arrangement::WHD] {
            let grid = Grid::new(&samples, [4, 300, 500], arrangement).unwrap();
            let expected: Vec<f32> = grid.to_display().into_iter().map(|n| rescale.value(f64::from(n))).collect();
            let (mut found, mut starts) = (Vec::new(), Vec::new());
            Values::new(grid, rescale).each(|d, h, values| {
                starts.push((d, h));
                found.extend_from_slice(values);
            });
            assert_eq!(found, expected);
            assert_eq!(starts[..4], [(0, 0), (0, 131), (0, 262), (1, 0)]);
        }
    }
}
