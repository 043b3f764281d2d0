//! Trilinear resampling with the semantics of torch's `interpolate(mode="trilinear", align_corners=False)`: no
//! antialiasing, edges repeated.
//!
//! Output voxel `n` of an axis lies at `(n + 0.5) * in / out - 0.5` of the source, clamped at 0. Each axis is a table of
//! two source indices and a weight, made once. For each output row the four source rows around it are blended in one
//! pass over memory in its own order, and the blend is then sampled along W, so that only the rows that matter are read
//! and each sample is converted once per use.

use super::Crop;
use crate::intensity::MinMax;
use crate::volume::Sample;

/// Resamples the crop of a volume to `target_dhw`, min-max mapped to 0..1, into `out`, which is cleared first.
///
/// `samples` is D H W and as large as `shape_dhw` says; the crop lies in it and every length is at least 1. Agrees with
/// torch within 1e-6. Beside `out` the call keeps one row of floats.
pub fn trilinear<T: Sample>(
    samples: &[T],
    shape_dhw: [usize; 3],
    crop: &Crop,
    map: MinMax<T>,
    target_dhw: [usize; 3],
    out: &mut Vec<f32>,
) {
    let source = crop.shape();
    let [along_d, along_h, along_w] = [0, 1, 2].map(|axis| AxisTable::new(source[axis], target_dhw[axis]));
    let row = |d: usize, h: usize| {
        let start = ((crop.start[0] + d) * shape_dhw[1] + crop.start[1] + h) * shape_dhw[2] + crop.start[2];
        &samples[start..start + source[2]]
    };
    let mut blend = vec![0.0; source[2]];
    out.clear();
    out.reserve(target_dhw.iter().product());
    for d in &along_d.taps {
        for h in &along_h.taps {
            let rows = [row(d.low, h.low), row(d.low, h.high), row(d.high, h.low), row(d.high, h.high)];
            blend_rows(rows, map.zero, d.weight, h.weight, &mut blend);
            out.extend(along_w.taps.iter().map(|w| {
                let value = (1.0 - w.weight) * blend[w.low] + w.weight * blend[w.high];
                // Weights add up to 1 only within rounding.
                (value * map.scale).clamp(0.0, 1.0)
            }));
        }
    }
}

fn blend_rows<T: Sample>([a, b, c, d]: [&[T]; 4], zero: T, weight_d: f32, weight_h: f32, out: &mut [f32]) {
    let (near_d, near_h) = (1.0 - weight_d, 1.0 - weight_h);
    for ((((out, a), b), c), d) in out.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        let near = near_h * a.above(zero) + weight_h * b.above(zero);
        let far = near_h * c.above(zero) + weight_h * d.above(zero);
        *out = near_d * near + weight_d * far;
    }
}

/// For each output index of one axis, where it lies between two source indices.
struct AxisTable {
    taps: Vec<Tap>,
}

struct Tap {
    low: usize,
    high: usize,
    /// Of `high`; `low` has the rest.
    weight: f32,
}

impl AxisTable {
    fn new(source: usize, target: usize) -> AxisTable {
        // In f32 as torch computes it: the rounding shows in the weights of long axes.
        let scale = source as f32 / target as f32;
        let taps = (0..target).map(|n| {
            // One rounding, as torch's own kernels have it: the product and the half are fused.
            let place = scale.mul_add(n as f32 + 0.5, -0.5).max(0.0);
            let low = (place as usize).min(source - 1);
            Tap { low, high: (low + 1).min(source - 1), weight: (place - low as f32).min(1.0) }
        });
        AxisTable { taps: taps.collect() }
    }
}
