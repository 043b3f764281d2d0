//! Foreground: the bounding box of all voxels that are not background, as MONAI's `CropForeground` with its defaults.

use super::Crop;
use crate::volume::Grid;

/// The smallest box that holds all samples other than `background`; `None` where there are none.
///
/// With the sample of the smallest value as background, this is the box of voxels above zero after min-max, which the
/// official preparation keeps (margin 0). Samples are read in stored order, and only where the box could still grow: of
/// a body that fills the image, little more than its border.
pub fn foreground<T: Copy + PartialEq>(grid: &Grid<'_, T>, background: T) -> Option<Crop> {
    let [_, rows, columns] = grid.stored_shape();
    let first = |row: &[T]| first_other(row, background);
    let last = |row: &[T]| last_other(row, background);
    let (mut start, mut stop) = (grid.stored_shape(), [0; 3]);
    for (n, row) in grid.stored().chunks_exact(columns).enumerate() {
        let (slice, row_index) = (n / rows, n % rows);
        let mut found = false;
        if let Some(column) = first(&row[..start[2]]) {
            start[2] = column;
            found = true;
        }
        if let Some(column) = last(&row[stop[2]..]) {
            stop[2] += column + 1;
            found = true;
        }
        // Samples between them matter only where the box does not include the slice or the row yet.
        let grows = slice >= stop[0] || !(start[1]..stop[1]).contains(&row_index);
        if !found && grows && start[2] < stop[2] {
            found = first(&row[start[2]..stop[2]]).is_some();
        }
        if found {
            for (axis, index) in [slice, row_index].into_iter().enumerate() {
                start[axis] = start[axis].min(index);
                stop[axis] = stop[axis].max(index + 1);
            }
        }
    }
    let (start, stop) = (stop[0] > 0).then(|| grid.box_to_display(start, stop))?;
    Some(Crop { start, stop })
}

/// Samples that are compared at once: vectors of every sample type.
const BLOCK: usize = 64;

fn holds_other<T: Copy + PartialEq>(samples: &[T], background: T) -> bool {
    samples.iter().fold(false, |other, sample| other | (*sample != background))
}

/// Index of the first sample that is not `background`. Rows of a body begin with many that are.
fn first_other<T: Copy + PartialEq>(row: &[T], background: T) -> Option<usize> {
    let block = row.chunks(BLOCK).position(|block| holds_other(block, background))? * BLOCK;
    row[block..].iter().position(|sample| *sample != background).map(|n| block + n)
}

/// Index of the last sample that is not `background`.
fn last_other<T: Copy + PartialEq>(row: &[T], background: T) -> Option<usize> {
    let blocks = row.rchunks(BLOCK).position(|block| holds_other(block, background))?;
    row[..row.len() - blocks * BLOCK].iter().rposition(|sample| *sample != background)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::Arrangement;
    use proptest::prelude::*;

    fn of(samples: &[i32], shape_dhw: [usize; 3], background: i32) -> Option<Crop> {
        foreground(&Grid::new(samples, shape_dhw, Arrangement::DHW).unwrap(), background)
    }

    #[test]
    fn the_first_and_the_last_are_found_in_rows_of_all_lengths() {
        for length in 0..200 {
            let mut row = vec![0_u8; length];
            assert_eq!((first_other(&row, 0), last_other(&row, 0)), (None, None));
            for n in 0..length {
                row[n] = 1;
                assert_eq!((first_other(&row, 0), last_other(&row, 0)), (Some(n), Some(n)));
                row[length / 2] = 1;
                assert_eq!(
                    (first_other(&row, 0), last_other(&row, 0)),
                    (Some(n.min(length / 2)), Some(n.max(length / 2)))
                );
                row.fill(0);
            }
        }
    }

    #[test]
    fn one_voxel_is_a_box() {
        let mut samples = [0; 3 * 4 * 5];
        samples[4 * 5 + 2 * 5 + 3] = 9;
        assert_eq!(of(&samples, [3, 4, 5], 0), Some(Crop { start: [1, 2, 3], stop: [2, 3, 4] }));
        assert_eq!(of(&[7; 60], [3, 4, 5], 7), None);
    }

    #[test]
    fn the_box_includes_distant_voxels_and_holes() {
        let mut samples = [1; 3 * 4 * 5];
        samples[5] = 0; // d 0, h 1, w 0
        samples[2 * 20 + 2 * 5 + 4] = 0; // d 2, h 2, w 4
        assert_eq!(of(&samples, [3, 4, 5], 1), Some(Crop { start: [0, 1, 0], stop: [3, 3, 5] }));
    }

    #[test]
    fn fortran_order_gives_the_same_box() {
        let mut samples = [0; 3 * 4 * 5];
        samples[3 * 12 + 2 * 3 + 1] = 9;
        let grid = Grid::new(&samples, [3, 4, 5], Arrangement::WHD).unwrap();
        assert_eq!(foreground(&grid, 0), Some(Crop { start: [1, 2, 3], stop: [2, 3, 4] }));
    }

    proptest! {
        #[test]
        fn the_box_equals_the_naive_bounding_box(
            samples in prop::collection::vec(prop_oneof![9 => Just(0), 1 => Just(1)], 4 * 5 * 6),
        ) {
            let inside = (0..120).filter(|n| samples[*n] != 0).map(|n| [n / 30, n / 6 % 5, n % 6]).collect::<Vec<_>>();
            let expected = (!inside.is_empty()).then(|| Crop {
                start: [0, 1, 2].map(|axis| inside.iter().map(|voxel| voxel[axis]).min().unwrap()),
                stop: [0, 1, 2].map(|axis| inside.iter().map(|voxel| voxel[axis] + 1).max().unwrap()),
            });
            prop_assert_eq!(of(&samples, [4, 5, 6], 0), expected);
        }
    }
}
