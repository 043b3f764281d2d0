//! Antialiased linear resampling along one axis after the other, with a triangle filter. Half the filter's width is the
//! step between output voxels, at least one source voxel.
//!
//! Along an axis that shrinks, every source voxel contributes to the output, so that thin structures become fainter,
//! while plain [`trilinear`](super::trilinear()) may skip them; an axis that grows is interpolated linearly. Weights
//! outside the source are dropped and the others normalized to a sum of 1. These are the semantics of torch's
//! `interpolate(mode="bilinear", antialias=True, align_corners=False)`, here for three axes.

use super::Crop;
use crate::volume::values::{Values, band_rows};
use crate::volume::{Grid, Rescale, Sample};

/// For each output index of one axis: the source indices that contribute, and their weights.
#[derive(Clone, Debug, PartialEq)]
pub struct AxisFilter {
    taps: Vec<Taps>,
    weights: Vec<f32>,
}

#[derive(Clone, Debug, PartialEq)]
struct Taps {
    /// First source index.
    first: usize,
    /// Index of the first weight in the filter's list.
    weight: usize,
    /// Number of source indices from `first` on; 0 where the output is outside the source.
    count: usize,
    /// The middle of the output, in source voxels from the centre of the first.
    center: f64,
}

impl AxisFilter {
    /// Resamples `source` voxels to `target` voxels over the same extent. Both are at least 1.
    pub fn resize(source: usize, target: usize) -> AxisFilter {
        AxisFilter::with_step(source, target, source as f64 / target as f64, 0..target)
    }

    /// Resamples `source` voxels with a spacing of `source_mm` to a spacing of `target_mm`, around the same center, and
    /// then crops or pads evenly to `target` voxels. Spacings are in mm and above 0.
    ///
    /// The resampled axis has `source * source_mm / target_mm` voxels, rounded, at least 1. Where the number of voxels
    /// to crop or to pad is odd, the padding has its extra voxel at the end, and the crop keeps voxel `n / 2` as the
    /// center (MONAI's `ResizeWithPadOrCrop`).
    pub fn spaced(source: usize, source_mm: f32, target: usize, target_mm: f32) -> AxisFilter {
        let step = f64::from(target_mm) / f64::from(source_mm);
        let resampled = ((source as f64 / step).round() as usize).max(1);
        let range = if resampled >= target {
            let start = resampled / 2 - target / 2;
            start..start + target
        } else {
            0..resampled
        };
        let mut filter = AxisFilter::with_step(source, resampled, step, range);
        let outside = Taps { first: 0, weight: 0, count: 0, center: 0.0 };
        let before = (target - filter.taps.len()) / 2;
        filter.taps.splice(0..0, std::iter::repeat_n(outside.clone(), before));
        filter.taps.resize(target, outside);
        filter
    }

    /// Outputs `range` of `resampled` voxels with a step of `step` source voxels, around the center of the source.
    fn with_step(source: usize, resampled: usize, step: f64, range: std::ops::Range<usize>) -> AxisFilter {
        let reach = step.max(1.0);
        let mut filter = AxisFilter { taps: Vec::with_capacity(range.len()), weights: Vec::new() };
        for n in range {
            // In source voxels from the outer edge of the first one.
            let center = source as f64 / 2.0 + (n as f64 + 0.5 - resampled as f64 / 2.0) * step;
            let first = ((center - reach + 0.5).max(0.0) as usize).min(source - 1);
            let stop = ((center + reach + 0.5).max(0.0) as usize).clamp(first + 1, source);
            let share = |index: usize| (1.0 - (index as f64 + 0.5 - center).abs() / reach).max(0.0);
            let total: f64 = (first..stop).map(share).sum();
            filter.taps.push(Taps { first, weight: filter.weights.len(), count: stop - first, center: center - 0.5 });
            filter.weights.extend((first..stop).map(|index| (share(index) / total) as f32));
        }
        filter
    }

    /// The middle of each output voxel, in source voxels from the centre of the first; `None` outside the source.
    pub fn centers(&self) -> Vec<Option<f64>> {
        self.taps.iter().map(|taps| (taps.count > 0).then_some(taps.center)).collect()
    }

    /// Number of output voxels.
    pub fn len(&self) -> usize {
        self.taps.len()
    }

    /// Whether there is no output voxel.
    pub fn is_empty(&self) -> bool {
        self.taps.is_empty()
    }

    /// First source index and weights of each output.
    fn iter(&self) -> impl Iterator<Item = (usize, &[f32])> {
        self.taps.iter().map(|taps| (taps.first, &self.weights[taps.weight..][..taps.count]))
    }
}

/// Resamples the crop of a volume with one filter for each axis D, H and W, made for the crop's shape, into `out`,
/// which is cleared first and then holds one value for each output voxel, in D H W order.
///
/// Voxels outside the source become `outside`. Agrees with torch within 1e-5 of the values' range. In addition to `out` the
/// call allocates some rows of the crop as floats, as many as the output has and 512 KiB.
///
/// # Panics
/// Where the crop or the filters do not fit the shapes.
pub fn triangle<T: Sample>(
    grid: &Grid<'_, T>,
    rescale: Rescale,
    crop: &Crop,
    [along_d, along_h, along_w]: &[AxisFilter; 3],
    outside: f32,
    out: &mut Vec<f32>,
) {
    let [_, height, width] = crop.shape();
    let ([d0, h0, w0], w1) = (crop.start, crop.stop[2]);
    let mut values = Values::new(*grid, rescale);
    let band_rows = band_rows(width).min(height);
    let (mut rows, mut sums) = (Vec::new(), vec![0.0; band_rows * width]);
    let mut blends = vec![0.0; along_h.len() * width];
    out.clear();
    out.reserve(along_d.len() * along_h.len() * along_w.len());
    for (first_d, weights_d) in along_d.iter() {
        if weights_d.is_empty() {
            out.resize(out.len() + along_h.len() * along_w.len(), outside);
            continue;
        }
        // Along D and H whole rows are added, in memory order; only W needs single voxels.
        blends.fill(0.0);
        let mut spread = Spread { filter: along_h, next: 0 };
        for first_h in (0..height).step_by(band_rows) {
            let last_h = (first_h + band_rows).min(height);
            let sums = &mut sums[..(last_h - first_h) * width];
            sums.fill(0.0);
            for (n, weight) in weights_d.iter().enumerate() {
                values.rows(d0 + first_d + n, [h0 + first_h, w0], [h0 + last_h, w1], &mut rows);
                add(sums, *weight, &rows);
            }
            for (h, row) in (first_h..last_h).zip(sums.chunks_exact(width)) {
                spread.row(h, row, &mut blends);
            }
        }
        for (blend, (_, weights_h)) in blends.chunks_exact(width).zip(along_h.iter()) {
            if weights_h.is_empty() {
                out.resize(out.len() + along_w.len(), outside);
                continue;
            }
            out.extend(along_w.iter().map(|(first_w, weights_w)| match weights_w {
                [] => outside,
                _ => weights_w.iter().zip(&blend[first_w..]).map(|(weight, value)| weight * value).sum(),
            }));
        }
    }
}

/// Adds source rows, one after the other, to the outputs to which they contribute.
struct Spread<'a> {
    filter: &'a AxisFilter,
    /// The first output that a later row may contribute to: outputs start and end in the order of the source.
    next: usize,
}

impl Spread<'_> {
    fn row(&mut self, index: usize, row: &[f32], blends: &mut [f32]) {
        let outputs = self.filter.iter().zip(blends.chunks_exact_mut(row.len())).skip(self.next);
        let mut done = 0;
        for (n, ((first, weights), blend)) in outputs.enumerate() {
            if first > index {
                break;
            }
            if let Some(weight) = weights.get(index - first) {
                add(blend, *weight, row);
            }
            // What pads the output has no weights.
            if first + weights.len() <= index + 1 && n == done {
                done += 1;
            }
        }
        self.next += done;
    }
}

/// Adds a weighted row to a sum.
fn add(sum: &mut [f32], weight: f32, row: &[f32]) {
    sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += weight * value);
}
