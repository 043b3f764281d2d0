//! How a volume looks, in 64 bytes: which of two neighbouring regions is brighter, at 256 places, so that copies that were
//! windowed, compressed or resampled are found though no byte is equal.
//!
//! - It is taken from the whole volume as it was read, before any crop: the box around a body moves where compression
//!   leaves a trace on black, the frame of an image does not. A copy whose frame was cut has another look.
//! - A region counts by its median, so that any increasing mapping of values, such as a window, leaves the order of two
//!   regions as it is, or makes them equal.
//! - Each place has a second bit: whether the two regions differ at all. Places that are flat in one of two volumes tell
//!   nothing and are not compared, so a volume without structure is like no other.

use crate::volume::{Grid, Sample, Volume, with_samples};

/// Regions along D, H and W.
const REGIONS: [usize; 3] = [6, 16, 16];

/// Samples of a region along D, H and W.
const SAMPLES: [usize; 3] = [3, 5, 5];

/// Regions along H and W that are left out at each side: there is little but air.
const MARGIN: usize = 2;

/// Places where two neighbours are compared.
const PLACES: usize = 256;

/// Two regions differ where their medians do by more than this share of the range of all medians, from the twentieth
/// part up to the twentieth part down.
const DIFFERENCE: f32 = 0.02;

/// How many places two volumes must be expected to differ at if their looks had nothing to do with each other: fewer are
/// no evidence.
const LEAST_EXPECTED: u32 = 32;

/// Copies differ at no more than one in so many of the expected places.
const COPY: u32 = 9;

/// How a volume looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    // Bit n: the second region of place n is brighter than the first.
    brighter: [u64; PLACES / 64],
    // Bit n: the regions of place n differ.
    differs: [u64; PLACES / 64],
}

impl Look {
    /// The look of a volume, from 64,800 of its samples at most.
    pub fn of(volume: &Volume) -> Look {
        with_samples!(&volume.samples, samples => Look::of_grid(&volume.grid(samples), volume.rescale.slope < 0.0))
    }

    fn of_grid<T: Sample>(grid: &Grid<'_, T>, falling: bool) -> Look {
        let medians = medians(grid, falling);
        let mut sorted = medians.clone();
        sorted.sort_unstable_by(f32::total_cmp);
        let least = DIFFERENCE * (sorted[sorted.len() - 1 - sorted.len() / 20] - sorted[sorted.len() / 20]);
        let mut look = Look { brighter: [0; 4], differs: [0; 4] };
        for (place, (first, second)) in places().into_iter().enumerate() {
            let step = medians[second] - medians[first];
            look.brighter[place / 64] |= u64::from(step > least) << (place % 64);
            look.differs[place / 64] |= u64::from(step.abs() > least) << (place % 64);
        }
        look
    }

    /// The bytes of `perceptual_hash`: what is brighter, then what differs, each 256 bits, lowest first.
    pub fn to_bytes(&self) -> [u8; 64] {
        let mut bytes = [0; 64];
        let words = self.brighter.iter().chain(&self.differs);
        bytes.chunks_exact_mut(8).zip(words).for_each(|(bytes, word)| bytes.copy_from_slice(&word.to_le_bytes()));
        bytes
    }

    /// The look that [`Look::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8; 64]) -> Look {
        let (words, _) = bytes.as_chunks::<8>();
        let word = |n: usize| u64::from_le_bytes(words[n]);
        Look { brighter: std::array::from_fn(word), differs: std::array::from_fn(|n| word(n + 4)) }
    }

    /// Whether the volume has enough structure to be like any other.
    pub fn tells(&self) -> bool {
        // Of the places compared at most half are expected to differ.
        self.differs.iter().map(|word| word.count_ones()).sum::<u32>() >= 2 * LEAST_EXPECTED
    }

    /// Whether two volumes look like copies of one image.
    ///
    /// Of the places where both have a difference, looks that have nothing to do with each other would disagree at an
    /// expected number, which follows from how often each has the brighter region second. Copies disagree at no more than
    /// a ninth of it; where it is below 32 nothing is claimed.
    pub fn is_like(&self, other: &Look) -> bool {
        let (mut both, mut unequal) = (0, 0);
        for word in 0..PLACES / 64 {
            let compared = self.differs[word] & other.differs[word];
            both += compared.count_ones();
            unequal += (compared & (self.brighter[word] ^ other.brighter[word])).count_ones();
        }
        // The expected number is at most half of the places compared: most pairs end here.
        if both < 2 * LEAST_EXPECTED || 2 * COPY * unequal > both {
            return false;
        }
        let ones = |a: &Look, b: &Look| -> u32 {
            (0..PLACES / 64).map(|word| (a.brighter[word] & a.differs[word] & b.differs[word]).count_ones()).sum()
        };
        let (mine, theirs) = (ones(self, other), ones(other, self));
        // Times `both`.
        let expected = mine * (both - theirs) + theirs * (both - mine);
        expected >= LEAST_EXPECTED * both && COPY * unequal * both <= expected
    }
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
