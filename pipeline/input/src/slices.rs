//! Axial slices: views into a D H W volume, without a copy.

/// The slices of a volume along D.
#[derive(Clone, Copy, Debug)]
pub struct AxialSlices<'a, T> {
    voxels: &'a [T],
    shape_dhw: [usize; 3],
}

impl<'a, T> AxialSlices<'a, T> {
    /// A view of `voxels` in D H W order; `None` where their number is not the shape's.
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

    /// Slice `index`, rows then columns.
    ///
    /// # Panics
    /// Where `index` is not below [`len`](Self::len).
    pub fn slice(&self, index: usize) -> &'a [T] {
        let pixels = self.shape_dhw[1] * self.shape_dhw[2];
        &self.voxels[index * pixels..][..pixels]
    }

    /// The slices in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [T]> + use<'a, T> {
        let view = AxialSlices { voxels: self.voxels, shape_dhw: self.shape_dhw };
        (0..self.shape_dhw[0]).map(move |index| view.slice(index))
    }

    /// `count` slice indices spread evenly, for a picture: the middle of each of `count` equal parts.
    ///
    /// Figure 4 of the paper shows 8 of 32 slices so. Indices repeat where `count` is larger than the stack.
    pub fn evenly(&self, count: usize) -> impl Iterator<Item = usize> + use<T> {
        let slices = self.shape_dhw[0];
        (0..if slices == 0 { 0 } else { count }).map(move |part| (2 * part + 1) * slices / (2 * count))
    }
}

/// Several slices as one picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Montage {
    /// Rows and columns of the picture.
    pub shape_hw: [usize; 2],
    /// Grey levels, row by row.
    pub pixels: Vec<u8>,
}

impl AxialSlices<'_, u8> {
    /// The given slices side by side, `columns` a row, from left to right and top to bottom; black where none is left.
    ///
    /// # Panics
    /// A slice that is not there, no columns.
    pub fn montage(&self, slices: impl IntoIterator<Item = usize>, columns: usize) -> Montage {
        let slices: Vec<usize> = slices.into_iter().collect();
        let [height, width] = self.shape_hw();
        let columns = columns.min(slices.len().max(1));
        let shape_hw = [slices.len().div_ceil(columns) * height, columns * width];
        let mut pixels = vec![0; shape_hw[0] * shape_hw[1]];
        for (place, &slice) in slices.iter().enumerate() {
            let corner = (place / columns) * height * shape_hw[1] + (place % columns) * width;
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
    fn a_montage_reads_from_left_to_right() {
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
