//! Resampling and the `m3d` recipe: compared with torch (golden files) and with a naive implementation.

use std::path::Path;

use med2e3_input::intensity::MinMax;
use med2e3_input::recipe;
use med2e3_input::resample::{self, Crop};
use med2e3_input::volume::{Arrangement, Grid, Rescale, Samples, Volume};
use proptest::prelude::*;

/// The sources of tests/golden/trilinear.py.
fn noise(count: usize, seed: u64) -> Vec<f32> {
    (0..count as u64).map(|n| (((n + seed * 1_000_003) * 2_654_435_761 % (1 << 32)) >> 20) as f32).collect()
}

fn shape(text: &str) -> [usize; 3] {
    text.split('x').map(|dim| dim.parse().unwrap()).collect::<Vec<_>>().try_into().unwrap()
}

fn volume(samples: impl Into<Samples>, shape_dhw: [usize; 3], rescale: Rescale) -> Volume {
    Volume::plain(Path::new("made"), shape_dhw, samples, rescale)
}

fn farthest(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn equals_torch_within_a_millionth() {
    let golden = include_bytes!("golden/trilinear.bin");
    let mut expected = golden.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()));
    let mut out = Vec::new();
    let (mut plain, mut full) = (0, 100);
    for line in include_str!("golden/trilinear.txt").lines().filter(|line| !line.starts_with('#')) {
        let fields = line.split(' ').collect::<Vec<_>>();
        let (source, target) = (shape(fields[1]), shape(fields[2]));
        let count = source.iter().product();
        if fields[0] == "plain" {
            let samples = noise(count, plain).into_iter().map(|value| value as u16).collect::<Vec<_>>();
            let map = MinMax::new(0, 4095, Rescale::IDENTITY);
            let grid = Grid::new(&samples, source, Arrangement::DHW).unwrap();
            resample::trilinear(&grid, &Crop::whole(source), map, target, &mut out);
            plain += 1;
        } else {
            let values = noise(count, full);
            let inside = |n: usize, size: usize| size <= 3 || (n > 0 && n < size - 1);
            let samples = (0..count).map(|n| {
                let voxel = [n / (source[1] * source[2]), n / source[2] % source[1], n % source[2]];
                if (0..3).all(|axis| inside(voxel[axis], source[axis])) { values[n] as u32 as u8 } else { 0 }
            });
            let rescale = Rescale { slope: 1.0 / 255.0, intercept: 0.0 };
            let info = recipe::m3d(&volume(samples.collect::<Vec<u8>>(), source, rescale), target, &mut out).unwrap();
            assert_eq!(info.source_shape_dhw, source);
            assert!(info.crop.shape()[1] <= source[1] - 2);
            full += 1;
        }
        let expected = expected.by_ref().take(out.len()).collect::<Vec<_>>();
        let difference = farthest(&out, &expected);
        assert!(difference <= 1e-6, "{line}: off by {difference}");
    }
    assert!(expected.next().is_none());
}

/// The definition, voxel by voxel, in f64: 8 neighbors with their weights.
fn naive(values: &[f64], source: [usize; 3], target: [usize; 3]) -> Vec<f32> {
    let taps = |axis: usize, n: usize| {
        let coordinate = ((n as f64 + 0.5) * source[axis] as f64 / target[axis] as f64 - 0.5).max(0.0);
        let low = coordinate as usize;
        [(low, 1.0 - coordinate.fract()), ((low + 1).min(source[axis] - 1), coordinate.fract())]
    };
    let mut out = Vec::new();
    for d in 0..target[0] {
        for h in 0..target[1] {
            for w in 0..target[2] {
                let mut sum = 0.0;
                for (d, wd) in taps(0, d) {
                    for (h, wh) in taps(1, h) {
                        for (w, ww) in taps(2, w) {
                            sum += wd * wh * ww * values[(d * source[1] + h) * source[2] + w];
                        }
                    }
                }
                out.push(sum as f32);
            }
        }
    }
    out
}

/// The recipe by its definition: rescale, min-max, crop above zero, resample.
fn naive_recipe(values: &[f64], source: [usize; 3], target: [usize; 3]) -> Option<Vec<f32>> {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mapped = values.iter().map(|value| (value - low) / (high - low).max(1e-8)).collect::<Vec<_>>();
    let inside = (0..mapped.len())
        .filter(|n| mapped[*n] > 0.0)
        .map(|n| [n / (source[1] * source[2]), n / source[2] % source[1], n % source[2]]);
    let inside = inside.collect::<Vec<_>>();
    let start: [usize; 3] = std::array::from_fn(|axis| inside.iter().map(|voxel| voxel[axis]).min().unwrap_or(0));
    let stop: [usize; 3] = std::array::from_fn(|axis| inside.iter().map(|voxel| voxel[axis] + 1).max().unwrap_or(0));
    if inside.is_empty() {
        return None;
    }
    let mut cropped = Vec::new();
    for d in start[0]..stop[0] {
        for h in start[1]..stop[1] {
            cropped.extend((start[2]..stop[2]).map(|w| mapped[(d * source[1] + h) * source[2] + w]));
        }
    }
    Some(naive(&cropped, std::array::from_fn(|axis| stop[axis] - start[axis]), target))
}

fn small_shape() -> impl Strategy<Value = [usize; 3]> {
    [1..9_usize, 1..12, 1..12]
}

proptest! {
    #[test]
    fn the_recipe_equals_a_naive_implementation(
        (source, samples) in small_shape().prop_flat_map(|source| {
            let count = source.iter().product::<usize>();
            // Mostly background, so that crops are real.
            (Just(source), prop::collection::vec(prop_oneof![3 => Just(-1024_i16), 1 => -1024..3000_i16], count))
        }),
        target in small_shape(),
        slope in prop_oneof![Just(1.0_f32), Just(-0.5), Just(2.25)],
        intercept in -1024.0..1024.0_f32,
    ) {
        let rescale = Rescale { slope, intercept };
        let values = samples.iter().map(|sample| f64::from(*sample) * f64::from(slope) + f64::from(intercept)).collect::<Vec<_>>();
        let mut out = Vec::new();
        let made = recipe::m3d(&volume(samples, source, rescale), target, &mut out);
        match naive_recipe(&values, source, target) {
            Some(expected) => {
                prop_assert!(made.is_ok());
                prop_assert!(farthest(&out, &expected) <= 2e-6);
                prop_assert!(out.iter().all(|value| (0.0..=1.0).contains(value)));
            }
            None => prop_assert_eq!(made.unwrap_err().reason().as_str(), "all_zero"),
        }
    }
}

#[test]
fn constant_and_not_finite_volumes_are_refused() {
    let mut out = Vec::new();
    let constant = volume(vec![-1024_i16; 24], [2, 3, 4], Rescale::IDENTITY);
    assert_eq!(recipe::m3d(&constant, [2, 2, 2], &mut out).unwrap_err().reason().as_str(), "all_zero");
    let mut samples = vec![0.5_f32; 24];
    samples[7] = f32::NAN;
    let broken = volume(samples, [2, 3, 4], Rescale::IDENTITY);
    let error = recipe::m3d(&broken, [2, 2, 2], &mut out).unwrap_err();
    assert_eq!(error.reason().as_str(), "not_finite");
    assert!(error.to_string().contains("voxel 7"), "{error}");
}

#[test]
fn values_whose_difference_may_overflow_f32_are_refused() {
    let mut out = Vec::new();
    let with = |value: f64| {
        let mut samples = vec![-700.0; 24];
        samples[7] = value;
        samples
    };
    let single = with(1e38).into_iter().map(|value| value as f32).collect::<Vec<_>>();
    for samples in [Samples::from(with(-7.7e269)), Samples::from(with(8.6e37)), Samples::from(single)] {
        let error = recipe::m3d(&volume(samples, [2, 3, 4], Rescale::IDENTITY), [2, 3, 4], &mut out).unwrap_err();
        assert!(error.reason().as_str() == "not_finite" && error.to_string().contains("voxel 7"), "{error}");
    }
    // The greatest that are taken, and differences so small that their inverse is too great.
    let (mut wide, mut narrow) = (with(8.5e37), vec![0.0; 24]);
    wide[3] = -8.5e37;
    narrow[7] = 1e-300;
    for (samples, slope) in [(wide, 1.0), (narrow, f32::MAX)] {
        let rescale = Rescale { slope, intercept: 0.0 };
        recipe::m3d(&volume(samples, [2, 3, 4], rescale), [2, 2, 3], &mut out).unwrap();
        assert!(out.iter().all(|value| (0.0..=1.0).contains(value)), "{out:?}");
    }
}

#[test]
fn the_reported_range_is_that_of_rescaled_values() {
    let mut out = Vec::new();
    let samples = (0..24).collect::<Vec<u16>>();
    let info =
        recipe::m3d(&volume(samples, [2, 3, 4], Rescale { slope: -2.0, intercept: 5.0 }), [1, 1, 1], &mut out).unwrap();
    assert_eq!((info.value_min, info.value_max), (-41.0, 5.0));
}
