//! Antialiased linear resampling: a triangle as wide as the step between output voxels, at least one source voxel, along
//! each axis in turn.
//!
//! Along an axis that shrinks, every source voxel has its share of the output, so that thin structures fade instead of
//! vanishing between samples as they do in plain [`trilinear`](super::trilinear()); an axis that grows is interpolated
//! linearly. Weights beyond the edge fall away and the rest add up to 1. These are the semantics of torch's
//! `interpolate(mode="bilinear", antialias=True, align_corners=False)`, here for three axes.

use super::Crop;

/// For each output index of one axis, which source indices it blends and with what weights.
#[derive(Clone, Debug, PartialEq)]
pub struct AxisFilter {
    taps: Vec<Taps>,
    weights: Vec<f32>,
}

#[derive(Clone, Debug, PartialEq)]
struct Taps {
    /// First source index.
    first: usize,
    /// First weight in the filter's list.
    weight: usize,
    /// Source indices from `first` on; none where the output lies outside the source.
    count: usize,
}

impl AxisFilter {
    /// Fits `source` voxels into `target` voxels, edge to edge.
    pub fn resize(source: usize, target: usize) -> AxisFilter {
        AxisFilter::with_step(source, target, source as f64 / target as f64, 0..target)
    }

    /// Resamples `source` voxels that are `source_mm` apart to `target_mm` apart, around the same middle, and then cuts
    /// or pads that evenly to `target` voxels.
    ///
    /// The resampled axis has as many voxels as its length holds, rounded. Where voxels to cut or to pad are odd, the
    /// padding has its extra voxel at the end, and the cut keeps voxel `n / 2` as the middle (MONAI's
    /// `ResizeWithPadOrCrop`).
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
        let outside = Taps { first: 0, weight: 0, count: 0 };
        let before = (target - filter.taps.len()) / 2;
        filter.taps.splice(0..0, std::iter::repeat_n(outside.clone(), before));
        filter.taps.resize(target, outside);
        filter
    }

    /// The outputs `range` of `resampled` voxels, `step` source voxels apart, around the middle of the source.
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
            filter.taps.push(Taps { first, weight: filter.weights.len(), count: stop - first });
            filter.weights.extend((first..stop).map(|index| (share(index) / total) as f32));
        }
        filter
    }

    /// Output voxels.
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

/// Resamples the crop of a volume by one filter an axis, made for the crop's shape, into `out`, which is cleared first.
///
/// `values` is D H W and as large as `shape_dhw` says; the crop lies in it. Voxels outside the source become `outside`.
/// Agrees with torch within 1e-5 of the values' range. Beside `out` the call keeps two slices of floats.
pub fn triangle(
    values: &[f32],
    shape_dhw: [usize; 3],
    crop: &Crop,
    [along_d, along_h, along_w]: &[AxisFilter; 3],
    outside: f32,
    out: &mut Vec<f32>,
) {
    let [_, height, width] = crop.shape();
    let [_, volume_h, volume_w] = shape_dhw;
    let row = |d: usize, h: usize| {
        &values[((crop.start[0] + d) * volume_h + crop.start[1] + h) * volume_w + crop.start[2]..][..width]
    };
    let slice_pixels = along_h.len() * along_w.len();
    let mut slice = vec![0.0; height * width];
    let mut blend = vec![0.0; width];
    out.clear();
    out.reserve(along_d.len() * slice_pixels);
    for (first_d, weights_d) in along_d.iter() {
        if weights_d.is_empty() {
            out.resize(out.len() + slice_pixels, outside);
            continue;
        }
        // Along D and H whole rows are added up in memory's order; only W needs single voxels.
        for (h, line) in slice.chunks_exact_mut(width).enumerate() {
            add_up(line, weights_d, |d| row(first_d + d, h));
        }
        for (first_h, weights_h) in along_h.iter() {
            if weights_h.is_empty() {
                out.resize(out.len() + along_w.len(), outside);
                continue;
            }
            add_up(&mut blend, weights_h, |h| &slice[(first_h + h) * width..][..width]);
            out.extend(along_w.iter().map(|(first_w, weights_w)| match weights_w {
                [] => outside,
                _ => weights_w.iter().zip(&blend[first_w..]).map(|(weight, value)| weight * value).sum(),
            }));
        }
    }
}

/// The weighted sum of rows.
fn add_up<'a>(sum: &mut [f32], weights: &[f32], row: impl Fn(usize) -> &'a [f32]) {
    sum.fill(0.0);
    for (index, weight) in weights.iter().enumerate() {
        sum.iter_mut().zip(row(index)).for_each(|(sum, value)| *sum += weight * value);
    }
}
