//! Foreground: the box around everything that is not background, as MONAI's `CropForeground` with its defaults.

use super::Crop;

/// The smallest box that holds every sample other than `background`; `None` where there is none.
///
/// With the smallest value's sample as background this is the box of voxels above zero after min-max, which is what the
/// official preparation keeps (margin 0). `samples` is D H W and as large as `shape_dhw` says.
pub fn foreground<T: Copy + PartialEq>(samples: &[T], shape_dhw: [usize; 3], background: T) -> Option<Crop> {
    let [_, height, width] = shape_dhw;
    let mut start = shape_dhw;
    let mut stop = [0; 3];
    for (d, slice) in samples.chunks_exact(height * width).enumerate() {
        for (h, row) in slice.chunks_exact(width).enumerate() {
            let Some(first) = row.iter().position(|sample| *sample != background) else {
                continue;
            };
            let last = row.iter().rposition(|sample| *sample != background).unwrap_or(first);
            for (axis, (low, high)) in [(d, d), (h, h), (first, last)].into_iter().enumerate() {
                start[axis] = start[axis].min(low);
                stop[axis] = stop[axis].max(high + 1);
            }
        }
    }
    (stop[0] > 0).then_some(Crop { start, stop })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_voxel_is_a_box() {
        let mut samples = [0; 3 * 4 * 5];
        samples[4 * 5 + 2 * 5 + 3] = 9;
        assert_eq!(foreground(&samples, [3, 4, 5], 0), Some(Crop { start: [1, 2, 3], stop: [2, 3, 4] }));
        assert_eq!(foreground(&[7; 60], [3, 4, 5], 7), None);
    }

    #[test]
    fn the_box_spans_distant_voxels_and_keeps_holes() {
        let mut samples = [1; 3 * 4 * 5];
        samples[5] = 0; // d 0, h 1, w 0
        samples[2 * 20 + 2 * 5 + 4] = 0; // d 2, h 2, w 4
        assert_eq!(foreground(&samples, [3, 4, 5], 1), Some(Crop { start: [0, 1, 0], stop: [3, 3, 5] }));
    }
}
