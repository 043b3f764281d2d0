//! Looks are those of numpy (`golden/perceptual.py`), stay through windows, and are like no other.

use std::path::Path;

use med2e3_input::perceptual::look_of;
use med2e3_input::volume::{Arrangement, Rescale, Volume};
use med2e3_schemas::look::Look;

const GOLDEN: &str = include_str!("golden/perceptual.txt");

/// Rounded blocks of several sizes in noise, as `tests/golden/perceptual.py` makes them.
fn blocks([depth, height, width]: [usize; 3], seed: u64) -> Vec<i16> {
    let value = |d: usize, h: usize, w: usize| {
        let part = |n: usize, length: usize, parts: u64| n as u64 * parts / length as u64;
        let noise = |n: u64| (n.wrapping_add(7_000_021 * seed) * 2_654_435_761 % (1 << 32)) >> 20;
        let coarse = (part(d, depth, 5) * 11 + part(h, height, 9)) * 13 + part(w, width, 11);
        let fine = ((d * height + h) * width + w) as u64;
        (noise(coarse) / 4 + noise(fine) / 64) as i16
    };
    let all = (0..depth).flat_map(|d| (0..height).flat_map(move |h| (0..width).map(move |w| (d, h, w))));
    all.map(|(d, h, w)| value(d, h, w)).collect()
}

/// Blocks that have nothing to do with those of another seed.
fn others([depth, height, width]: [usize; 3], seed: u64) -> Vec<i16> {
    let part = |n: usize, length: usize, parts: usize| (n * parts / length) as u64;
    let value = |d: usize, h: usize, w: usize| {
        let block = (part(d, depth, 5) * 11 + part(h, height, 9)) * 13 + part(w, width, 11);
        // The finalizer of splitmix64.
        let mut bits = (seed << 32 | block).wrapping_add(0x9e37_79b9_7f4a_7c15);
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ bits >> 31) & 1023) as i16
    };
    let all = (0..depth).flat_map(|d| (0..height).flat_map(move |h| (0..width).map(move |w| (d, h, w))));
    all.map(|(d, h, w)| value(d, h, w)).collect()
}

fn volume(shape: [usize; 3], samples: Vec<i16>) -> Volume {
    Volume::plain(Path::new("x"), shape, samples, Rescale::IDENTITY)
}

fn hex(look: Look) -> String {
    look.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn looks_are_the_golden_ones() {
    for line in GOLDEN.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |n: usize| words[n].parse::<usize>().unwrap();
        let shape = [number(0), number(1), number(2)];
        let look = look_of(&volume(shape, blocks(shape, number(3) as u64)));
        assert_eq!(hex(look), words[4], "{shape:?}");
        assert_eq!(Look::from_bytes(&look.to_bytes()), look);
    }
    assert!(GOLDEN.lines().count() >= 5);
}

#[test]
fn windows_orders_of_storage_and_slopes_leave_the_look() {
    let shape = [20, 70, 90];
    let samples = blocks(shape, 3);
    let look = look_of(&volume(shape, samples.clone()));
    assert!(look.tells() && look.is_like(&look));
    let windowed = |low: i16, high: i16| -> Vec<i16> { samples.iter().map(|v| (*v).clamp(low, high)).collect() };
    for (low, high) in [(0, 700), (300, 1100), (200, 900)] {
        let other = look_of(&volume(shape, windowed(low, high)));
        assert!(look.is_like(&other) && other.is_like(&look), "{low} to {high}");
    }
    // Falling values, and another order on disk.
    let falling = samples.iter().map(|v| -v).collect();
    let turned = Volume { rescale: Rescale { slope: -1.0, ..Rescale::IDENTITY }, ..volume(shape, falling) };
    assert_eq!(look_of(&turned), look);
    let mut columns = vec![0; samples.len()];
    for (n, value) in samples.iter().enumerate() {
        let [d, h, w] = [n / (70 * 90), n / 90 % 70, n % 90];
        columns[(w * 70 + h) * 20 + d] = *value;
    }
    assert_eq!(look_of(&Volume { arrangement: Arrangement::WHD, ..volume(shape, columns) }), look);
}

#[test]
fn others_and_volumes_without_structure_are_like_none() {
    let shape = [20, 70, 90];
    let looks: Vec<Look> = (0..40).map(|seed| look_of(&volume(shape, others(shape, seed)))).collect();
    for (n, look) in looks.iter().enumerate() {
        assert!(looks[..n].iter().all(|other| !look.is_like(other)), "{n}");
    }
    // Flat, a ramp, one box in a flat ground, and volumes smaller than the regions.
    let size: usize = shape.iter().product();
    let flat = vec![7; size];
    let ramp: Vec<i16> = (0..size).map(|n| (n / 90 % 70) as i16).collect();
    let boxed: Vec<i16> = (0..size).map(|n| i16::from((20..40).contains(&(n % 90))) * 100).collect();
    for samples in [flat, ramp, boxed] {
        let look = look_of(&volume(shape, samples));
        assert!(!look.is_like(&look));
    }
    for shape in [[1, 1, 1], [1, 1, 3], [2, 3, 1]] {
        let look = look_of(&volume(shape, (0..shape.iter().product::<usize>() as i16).collect()));
        assert!(!look.is_like(&look), "{shape:?}");
    }
}
