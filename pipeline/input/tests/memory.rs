//! Memory: reading stays within its limits for any header and gzip stream. The kernel's figure is for the whole
//! process, so the tests take turns, and each starts the figure anew.

mod made;
mod peak;
mod sample;

use std::fs;
use std::sync::{Mutex, PoisonError};

use made::{gzip, saved};
use med2e3_input::volume::{self, ReadLimits};
use peak::{peak, peak_from_now};
use sample::{put, sample_file};

const MIB: u64 = 1 << 20;

/// Held by the test that measures.
static TURN: Mutex<()> = Mutex::new(());

/// A header that asks for `dims` voxels of 2 bytes.
fn header(dims: [i16; 3]) -> Vec<u8> {
    let mut file = sample_file();
    file.truncate(352);
    dims.into_iter().enumerate().for_each(|(axis, dim)| put(&mut file, 42 + 2 * axis, &dim.to_le_bytes()));
    file
}

#[test]
fn gzip_bombs_and_wrong_headers_stay_within_the_limits() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    // 64 members of 4 MiB: 256 MiB in some 256 KiB.
    let part = gzip(&vec![0; 4 << 20]);
    assert!(part.len() < (4 << 20) / 900);
    let bomb = |dims| [gzip(&header(dims)), part.repeat(64)].concat();
    // The same in one member, which cannot be distinguished from a long volume before it is inflated.
    let whole = |dims: [i16; 3]| gzip(&[header(dims), vec![0; 64 << 20]].concat());
    let huge = [i16::MAX; 3];
    let cases = [
        ("few voxels", whole([2, 3, 4]), "lying_header"),
        ("voxels within the limit", whole([128, 128, 128]), "lying_header"),
        ("members beyond the limit", bomb([256, 256, 1024]), "too_large"),
        ("voxels beyond the limit", whole([256, 256, 512]), "too_large"),
        ("more than any file holds", bomb(huge), "lying_header"),
        ("an uncompressed file without voxels", header(huge), "lying_header"),
    ];
    let (folder, _) = saved("nothing", b"");
    let paths = cases.iter().map(|(name, bytes, _)| {
        let path = folder.path().join(format!("{name}.nii"));
        fs::write(&path, bytes).unwrap();
        path
    });
    let paths = paths.collect::<Vec<_>>();
    let before = peak_from_now();
    let limits = ReadLimits { max_decoded_bytes: 8 * MIB };
    for (path, (name, _, reason)) in paths.iter().zip(&cases) {
        let error = volume::read(path, &limits).unwrap_err();
        assert_eq!(error.reason().as_str(), *reason, "{name}: {error}");
    }
    let grown = peak().zip(before).map(|(after, before)| after - before);
    assert!(grown.is_none_or(|grown| grown <= limits.max_decoded_bytes + 8 * MIB), "{grown:?} bytes more");
}

#[test]
fn memory_follows_the_data_and_not_the_header() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    // Noise, which takes as much packed: enough that it could be 1 GiB, if it were zeros.
    let mut state = 1_u32;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    let file = header([1024, 1024, 512]).into_iter().chain(noise.take(2 << 20)).collect::<Vec<_>>();
    let (_folder, path) = saved("claim.nii.gz", &gzip(&file));
    let before = peak_from_now();
    let error = volume::read(&path, &ReadLimits { max_decoded_bytes: 1 << 30 }).unwrap_err();
    assert_eq!(error.reason().as_str(), "lying_header", "{error}");
    let grown = peak().zip(before).map(|(after, before)| after - before);
    assert!(grown.is_none_or(|grown| grown <= 16 * MIB), "{grown:?} bytes more");
}
