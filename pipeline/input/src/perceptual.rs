//! How a volume looks ([`Look`]): which of two neighbouring regions is brighter, at 256 places.
//!
//! - It is taken from the whole volume as it was read, before any crop: the box around a body moves where compression
//!   leaves a trace on black, the frame of an image does not. A copy whose frame was cut has another look.
//! - A region counts by its median, so that any increasing mapping of values, such as a window, leaves the order of two
//!   regions as it is, or makes them equal.
//! - Each place has a second bit: whether the two regions differ at all. Places that are flat in one of two volumes tell
//!   nothing and are not compared, so a volume without structure is like no other.

use med2e3_schemas::look::{Look, PLACES};

use crate::volume::{Grid, Sample, Volume, with_samples};

/// Regions along D, H and W.
const REGIONS: [usize; 3] = [6, 16, 16];

/// Samples of a region along D, H and W.
const SAMPLES: [usize; 3] = [3, 5, 5];

/// Regions along H and W that are left out at each side: there is little but air.
const MARGIN: usize = 2;

/// Two regions differ where their medians do by more than this share of the range of all medians, from the twentieth
/// part up to the twentieth part down.
const DIFFERENCE: f32 = 0.02;

/// The look of a volume, from 64,800 of its samples at most.
pub fn look_of(volume: &Volume) -> Look {
    with_samples!(&volume.samples, samples => look_of_grid(&volume.grid(samples), volume.rescale.slope < 0.0))
}

fn look_of_grid<T: Sample>(grid: &Grid<'_, T>, falling: bool) -> Look {
    let medians = medians(grid, falling);
    let mut sorted = medians.clone();
    sorted.sort_unstable_by(f32::total_cmp);
    let least = DIFFERENCE * (sorted[sorted.len() - 1 - sorted.len() / 20] - sorted[sorted.len() / 20]);
    let (mut brighter, mut differs) = ([false; PLACES], [false; PLACES]);
    for (place, (first, second)) in places().into_iter().enumerate() {
        let step = medians[second] - medians[first];
        (brighter[place], differs[place]) = (step > least, step.abs() > least);
    }
    Look::new(&brighter, &differs)
}

/// The median of each region that is not at the margin, D H W; negated where larger samples are smaller values.
fn medians<T: Sample>(grid: &Grid<'_, T>, falling: bool) -> Vec<f32> {
    let shape = grid.shape_dhw();
    // Sample k of n along an axis is at the middle of the k-th of n equal parts.
    let position = |axis: usize, k: usize| {
        let n = REGIONS[axis] * SAMPLES[axis];
        (2 * k + 1) * shape[axis] / (2 * n)
    };
    let mut medians = Vec::with_capacity(inner(0) * inner(1) * inner(2));
    let mut samples = [0f32; SAMPLES[0] * SAMPLES[1] * SAMPLES[2]];
    for d in 0..REGIONS[0] {
        for h in MARGIN..REGIONS[1] - MARGIN {
            for w in MARGIN..REGIONS[2] - MARGIN {
                let mut next = samples.iter_mut();
                for kd in d * SAMPLES[0]..(d + 1) * SAMPLES[0] {
                    for kh in h * SAMPLES[1]..(h + 1) * SAMPLES[1] {
                        for kw in w * SAMPLES[2]..(w + 1) * SAMPLES[2] {
                            let voxel = [position(0, kd), position(1, kh), position(2, kw)];
                            let value = grid.stored()[grid.index(voxel)].to_f64() as f32;
                            *next.next().expect("as many samples as a region has") = value;
                        }
                    }
                }
                let middle = samples.len() / 2;
                let (_, median, _) = samples.select_nth_unstable_by(middle, f32::total_cmp);
                medians.push(if falling { -*median } else { *median });
            }
        }
    }
    medians
}

/// Regions along an axis that are not at the margin.
const fn inner(axis: usize) -> usize {
    if axis == 0 { REGIONS[0] } else { REGIONS[axis] - 2 * MARGIN }
}

/// The places: pairs of neighbours by their number in [`medians`], the same for every volume, drawn without replacement.
fn places() -> [(usize, usize); PLACES] {
    let number = |[d, h, w]: [usize; 3]| (d * inner(1) + h) * inner(2) + w;
    let mut all = Vec::new();
    for d in 0..inner(0) {
        for h in 0..inner(1) {
            for w in 0..inner(2) {
                for axis in 0..3 {
                    let mut next = [d, h, w];
                    next[axis] += 1;
                    if next[axis] < inner(axis) {
                        all.push((number([d, h, w]), number(next)));
                    }
                }
            }
        }
    }
    // A linear congruential generator is enough to spread them.
    let mut state = 1u64;
    std::array::from_fn(|place| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let other = place + (state >> 33) as usize % (all.len() - place);
        all.swap(place, other);
        all[place]
    })
}
