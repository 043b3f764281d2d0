//! Trilinear resampling with the semantics of torch's `interpolate(mode="trilinear", align_corners=False)`: no
//! antialiasing, edges repeated.
//!
//! Output voxel `n` of an axis is at source coordinate `(n + 0.5) * in / out - 0.5`, clamped at 0. For each axis a
//! table holds two source indices and a weight for each output. For each output row the four source rows around it are
//! blended in memory order, and the blend is then sampled along W, so that no other row is read and each sample is
//! converted once per use.

use super::Crop;
use crate::intensity::MinMax;
use crate::volume::{Grid, Sample};

/// Resamples the crop of a volume to `target_dhw`, min-max mapped to 0..1, into `out`, which is cleared first and then
/// holds the voxels in D H W order.
///
/// The crop must be inside the grid, and every length at least 1. Agrees with torch within 1e-6. In addition to `out`
/// the call allocates one row of floats, and two slices of the crop where display rows are not contiguous in the stored
/// order.
pub fn trilinear<T: Sample>(
    grid: &Grid<'_, T>,
    crop: &Crop,
    map: MinMax<T>,
    target_dhw: [usize; 3],
    out: &mut Vec<f32>,
) {
    let source = crop.shape();
    let [along_d, along_h, mut along_w] = [0, 1, 2].map(|axis| AxisTable::new(source[axis], target_dhw[axis]));
    if grid.rows_flipped() == Some(true) {
        along_w.flip(source[2]);
    }
    let mut slices = SlicePair::new(grid, crop);
    let mut blend = vec![0.0; source[2]];
    out.clear();
    out.reserve(target_dhw.iter().product());
    for d in &along_d.taps {
        slices.select(d.low, d.high);
        for h in &along_h.taps {
            let [near, far] = [h.low, h.high].map(|h| slices.rows(h));
            blend_rows([near[0], far[0], near[1], far[1]], map.zero, d.weight, h.weight, &mut blend);
            sample_row(&along_w, &blend, map.scale, out);
        }
    }
}

fn blend_rows<T: Sample>([a, b, c, d]: [&[T]; 4], zero: T, weight_d: f32, weight_h: f32, out: &mut [f32]) {
    let (near_d, near_h) = (1.0 - weight_d, 1.0 - weight_h);
    for ((((out, a), b), c), d) in out.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        let near = near_h * a.minus(zero) + weight_h * b.minus(zero);
        let far = near_h * c.minus(zero) + weight_h * d.minus(zero);
        *out = near_d * near + weight_d * far;
    }
}

fn sample_row(along_w: &AxisTable, blend: &[f32], scale: f32, out: &mut Vec<f32>) {
    out.extend(along_w.taps.iter().map(|w| {
        let value = (1.0 - w.weight) * blend[w.low] + w.weight * blend[w.high];
        // Weights add up to 1 only within rounding.
        (value * scale).clamp(0.0, 1.0)
    }));
}

/// The two source slices around an output slice: the stored samples where display rows are contiguous, else copies in
/// display order.
struct SlicePair<'a, T> {
    grid: &'a Grid<'a, T>,
    crop: &'a Crop,
    /// Indices of the slices within the crop.
    indices: [usize; 2],
    /// Copies of the slices; empty where rows are read from the stored samples.
    copies: [Vec<T>; 2],
}

impl<'a, T: Sample> SlicePair<'a, T> {
    fn new(grid: &'a Grid<'a, T>, crop: &'a Crop) -> SlicePair<'a, T> {
        SlicePair { grid, crop, indices: [usize::MAX; 2], copies: [Vec::new(), Vec::new()] }
    }

    fn select(&mut self, low: usize, high: usize) {
        let wanted = [low, high];
        if self.grid.rows_flipped().is_none() {
            if self.indices[1] == low {
                self.indices.swap(0, 1);
                self.copies.swap(0, 1);
            }
            let ([_, h0, w0], [_, h1, w1]) = (self.crop.start, self.crop.stop);
            for ((copy, index), wanted) in self.copies.iter_mut().zip(self.indices).zip(wanted) {
                if index != wanted {
                    copy.clear();
                    self.grid.append_slice(self.crop.start[0] + wanted, [h0, w0], [h1, w1], copy);
                }
            }
        }
        self.indices = wanted;
    }

    /// Row `h` of the crop in both slices.
    fn rows(&self, h: usize) -> [&[T]; 2] {
        let Crop { start, stop } = self.crop;
        if self.grid.rows_flipped().is_some() {
            self.indices.map(|d| self.grid.row(start[0] + d, start[1] + h, start[2], stop[2]))
        } else {
            let columns = stop[2] - start[2];
            [0, 1].map(|slice| &self.copies[slice][h * columns..][..columns])
        }
    }
}

/// For each output index of one axis: the two source indices around it and the weight.
struct AxisTable {
    taps: Vec<Tap>,
}

struct Tap {
    low: usize,
    high: usize,
    /// Weight of `high`, 0 to 1; that of `low` is `1 - weight`.
    weight: f32,
}

impl AxisTable {
    fn new(source: usize, target: usize) -> AxisTable {
        // In f32 as torch computes it: rounding changes the weights of long axes.
        let scale = source as f32 / target as f32;
        let taps = (0..target).map(|n| {
            // Rounded once, by a fused multiply-add, as in torch's kernels.
            let coordinate = scale.mul_add(n as f32 + 0.5, -0.5).max(0.0);
            let low = (coordinate as usize).min(source - 1);
            Tap { low, high: (low + 1).min(source - 1), weight: (coordinate - low as f32).min(1.0) }
        });
        AxisTable { taps: taps.collect() }
    }

    /// For a source in reverse order.
    fn flip(&mut self, source: usize) {
        for tap in &mut self.taps {
            (tap.low, tap.high) = (source - 1 - tap.low, source - 1 - tap.high);
        }
    }
}
