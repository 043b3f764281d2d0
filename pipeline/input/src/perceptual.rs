//! A perceptual hash of a volume: 256 bits that stay nearly the same when the volume is windowed, stored or compressed
//! differently, so that copies are found even where no byte is equal.

/// Cells along D, H and W whose means are compared, each with the next cell along W.
const GRID_DHW: [usize; 3] = [4, 8, 9];

/// Largest [`distance`] of two hashes of copies: a recompressed or rewindowed copy differs in few of the 256 bits, an
/// unrelated volume in about half.
pub const NEAR_BITS: u32 = 16;

/// The hash of prepared voxels in 0..1, D H W. The volume is divided into 4 x 8 x 9 cells; each bit is set where the
/// mean of the next cell along W is higher by more than 0.01.
///
/// # Panics
/// Where `values` has not as many values as the shape has voxels, or an axis has length 0.
pub fn perceptual_hash(values: &[f32], shape_dhw: [usize; 3]) -> [u8; 32] {
    let [depth, height, width] = shape_dhw;
    assert_eq!(values.len(), depth * height * width, "values are a volume of the shape");
    let [gd, gh, gw] = GRID_DHW;
    let mut sums = [[0f64; GRID_DHW[2]]; GRID_DHW[0] * GRID_DHW[1]];
    let mut counts = [[0u32; GRID_DHW[2]]; GRID_DHW[0] * GRID_DHW[1]];
    // About four rows and planes of a cell are enough for its mean.
    let step = |length: usize, cells: usize| (length / (cells * 4)).max(1);
    for d in (0..depth).step_by(step(depth, gd)) {
        for h in (0..height).step_by(step(height, gh)) {
            let row = &values[(d * height + h) * width..][..width];
            let cell_row = (d * gd / depth) * gh + h * gh / height;
            for cell in 0..gw {
                // Axes shorter than the grid repeat their voxels.
                let start = cell * width / gw;
                let stop = ((cell + 1) * width / gw).max(start + 1);
                sums[cell_row][cell] += row[start..stop].iter().map(|value| f64::from(*value)).sum::<f64>();
                counts[cell_row][cell] += (stop - start) as u32;
            }
        }
    }
    let mut hash = [0; 32];
    for (cell_row, (sums, counts)) in sums.iter().zip(&counts).enumerate() {
        let mean = |cell: usize| sums[cell] / f64::from(counts[cell].max(1));
        for cell in 0..gw - 1 {
            // In flat regions such as air, noise must not change the bits.
            if mean(cell + 1) > mean(cell) + 0.01 {
                hash[cell_row] |= 1 << cell;
            }
        }
    }
    hash
}

/// Hamming distance of two hashes: the number of bits that differ, 0 to 256.
pub fn distance(a: &[u8; 32], b: &[u8; 32]) -> u32 {
    a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ball(shape: [usize; 3], center: [f32; 3], radius: f32) -> Vec<f32> {
        let mut values = Vec::new();
        for d in 0..shape[0] {
            for h in 0..shape[1] {
                for w in 0..shape[2] {
                    let voxel = [d, h, w];
                    let far: f32 =
                        (0..3).map(|i| ((voxel[i] as f32 + 0.5) / shape[i] as f32 - center[i]).powi(2)).sum();
                    values.push(if far.sqrt() < radius { 0.8 - 0.4 * far } else { 0.1 });
                }
            }
        }
        values
    }

    #[test]
    fn copies_have_a_small_distance_and_other_volumes_a_large_one() {
        let shape = [32, 64, 64];
        let original = ball(shape, [0.5, 0.45, 0.55], 0.35);
        let hash = perceptual_hash(&original, shape);
        let rewindowed: Vec<f32> = original.iter().map(|v| (v * 1.2).min(1.0)).collect();
        let noisy: Vec<f32> = original.iter().enumerate().map(|(i, v)| v + ((i * 37) % 11) as f32 * 0.001).collect();
        for copy in [rewindowed, noisy] {
            assert!(distance(&hash, &perceptual_hash(&copy, shape)) <= NEAR_BITS);
        }
        // The same body at a finer sampling.
        let finer = perceptual_hash(&ball([64, 96, 96], [0.5, 0.45, 0.55], 0.35), [64, 96, 96]);
        assert!(distance(&hash, &finer) <= NEAR_BITS, "{}", distance(&hash, &finer));
        let other = perceptual_hash(&ball(shape, [0.3, 0.6, 0.3], 0.25), shape);
        assert!(distance(&hash, &other) > NEAR_BITS, "{}", distance(&hash, &other));
    }

    #[test]
    fn volumes_smaller_than_the_grid_have_a_hash() {
        assert_eq!(perceptual_hash(&[0.5], [1, 1, 1]), [0; 32]);
        assert_ne!(perceptual_hash(&[0.0, 0.5, 1.0], [1, 1, 3]), [0; 32]);
    }
}
