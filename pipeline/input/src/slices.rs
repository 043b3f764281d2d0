//! Axial slices as views of a D H W volume, without a copy.

/// The slices of a volume along D.
#[derive(Clone, Copy, Debug)]
pub struct AxialSlices<'a, T> {
    voxels: &'a [T],
    shape_dhw: [usize; 3],
}

impl<'a, T> AxialSlices<'a, T> {
    /// A view of `voxels` in D H W order; `None` where there are not as many as the shape has.
    pub fn new(voxels: &'a [T], shape_dhw: [usize; 3]) -> Option<Self> {
        (voxels.len() == shape_dhw.iter().product::<usize>()).then_some(AxialSlices { voxels, shape_dhw })
    }

    /// Number of slices.
    pub fn len(&self) -> usize {
        self.shape_dhw[0]
    }

    /// Whether there is no slice.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rows and columns of a slice.
    pub fn shape_hw(&self) -> [usize; 2] {
        [self.shape_dhw[1], self.shape_dhw[2]]
    }

    /// The H x W pixels of slice `index`, row by row.
    ///
    /// # Panics
    /// Where `index` is not below [`len`](Self::len).
    pub fn slice(&self, index: usize) -> &'a [T] {
        let pixels = self.shape_dhw[1] * self.shape_dhw[2];
        &self.voxels[index * pixels..][..pixels]
    }

    /// The slices in order, H x W pixels each.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [T]> + use<'a, T> {
        let view = AxialSlices { voxels: self.voxels, shape_dhw: self.shape_dhw };
        (0..self.shape_dhw[0]).map(move |index| view.slice(index))
    }

    /// `count` evenly spaced slice indices: the middle of each of `count` equal parts of the volume.
    ///
    /// Figure 4 of the paper shows 8 of 32 slices in this way. Indices repeat where `count` is larger than the number
    /// of slices; a volume without slices gives none.
    pub fn evenly(&self, count: usize) -> impl Iterator<Item = usize> + use<T> {
        let slices = self.shape_dhw[0];
        (0..if slices == 0 { 0 } else { count }).map(move |part| (2 * part + 1) * slices / (2 * count))
    }
}

/// Several slices arranged in one 2D image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Montage {
    /// Rows and columns of the image.
    pub shape_hw: [usize; 2],
    /// Grey levels, 0 black to 255 white, row by row.
    pub pixels: Vec<u8>,
}

impl AxialSlices<'_, u8> {
    /// The given slices in a grid of at most `columns` columns, from left to right and top to bottom; empty cells are
    /// black.
    ///
    /// # Panics
    /// Where a slice index is not below [`len`](Self::len), or `columns` is 0.
    pub fn montage(&self, slices: impl IntoIterator<Item = usize>, columns: usize) -> Montage {
        let slices: Vec<usize> = slices.into_iter().collect();
        let [height, width] = self.shape_hw();
        let columns = columns.min(slices.len().max(1));
        let shape_hw = [slices.len().div_ceil(columns) * height, columns * width];
        let mut pixels = vec![0; shape_hw[0] * shape_hw[1]];
        for (cell, &slice) in slices.iter().enumerate() {
            let corner = (cell / columns) * height * shape_hw[1] + (cell % columns) * width;
            for (row, line) in self.slice(slice).chunks_exact(width.max(1)).enumerate() {
                pixels[corner + row * shape_hw[1]..][..width].copy_from_slice(line);
            }
        }
        Montage { shape_hw, pixels }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_montage_is_filled_from_left_to_right() {
        let voxels: Vec<u8> = (0..3).flat_map(|slice| [10 * slice, 10 * slice + 1]).collect();
        let slices = AxialSlices::new(&voxels, [3, 1, 2]).unwrap();
        let montage = slices.montage([2, 0, 1], 2);
        assert_eq!(montage, Montage { shape_hw: [2, 4], pixels: vec![20, 21, 0, 1, 10, 11, 0, 0] });
    }

    #[test]
    fn slices_are_views_in_order() {
        let voxels = (0..24).collect::<Vec<u8>>();
        let slices = AxialSlices::new(&voxels, [4, 2, 3]).unwrap();
        assert_eq!(slices.slice(2), [12, 13, 14, 15, 16, 17]);
        assert_eq!(slices.iter().flatten().copied().collect::<Vec<_>>(), voxels);
        assert_eq!(slices.shape_hw(), [2, 3]);
        assert!(AxialSlices::new(&voxels, [4, 2, 2]).is_none());
    }

    #[test]
    fn eight_of_32_are_the_middles_of_groups_of_four() {
        let voxels = [0.0; 32];
        let slices = AxialSlices::new(&voxels, [32, 1, 1]).unwrap();
        assert_eq!(slices.evenly(8).collect::<Vec<_>>(), [2, 6, 10, 14, 18, 22, 26, 30]);
    }
}
