//! Limits: how much memory the reading of one input may take. Every reader asks here before it allocates.
//!
//! - The samples of a volume: [`ReadLimits::max_decoded_bytes`]. A compressed file may be as large, and 1 MiB.
//! - One slice, while it is decoded: [`MAX_SLICE_BYTES`], with all that its decoder works in. What a decoder takes a pixel is
//!   stated beside its use.
//! - A compressed file may be of any ratio up to [`ANY_RATIO`] bytes, and beyond it of [`MOST_EXPANSION`].
//! - A header may not promise more than its compressed data can hold: each codec has a highest ratio.
//! - Where a length comes from a file, an allocation that fails within the limits is a fault of the machine, not an abort.

use std::io;

use crate::reading;

/// Memory limit for reading one input.
///
/// A reading takes at most the decoded samples of the volume, the bytes of its file (or of one slice's), and for one slice
/// [`MAX_SLICE_BYTES`]. Threads that read at the same time each take as much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimits {
    /// Maximum size in bytes of the decoded samples of one volume.
    pub max_decoded_bytes: u64,
}

impl Default for ReadLimits {
    /// 4 GiB: 2048 slices of 1024 x 1024 numbers of 16 bits, more than any CT has.
    fn default() -> Self {
        ReadLimits { max_decoded_bytes: 4 << 30 }
    }
}

/// Most bytes that decoding one compressed slice may take: its samples and what its decoder works in. Enough for 7500 x 7500
/// samples of 16 bits in JPEG-LS, lossless JPEG or run lengths, for 5000 x 5000 colors of 16 bits in PNG, and for 4100 x 4100
/// samples in JPEG 2000; slices of CTs have 512 x 512 to 2048 x 2048.
pub const MAX_SLICE_BYTES: u64 = 216 << 20;

/// Most bytes of a PNG's data and of all else that its file keeps, such as color profiles, which are inflated too.
pub(super) const MAX_PICTURE_EXTRAS: u64 = 32 << 20;

/// Decoded bytes up to which compressed data may be of any ratio: what reading them takes is a matter of two seconds.
const ANY_RATIO: u64 = 1 << 30;

/// Highest ratio of decoded to compressed bytes beyond that. Noise keeps that of CTs below 10; a volume of a higher ratio than
/// this has next to one value everywhere, and a small file of it would take gigabytes.
const MOST_EXPANSION: u64 = 200;

/// Most decoded bytes that compressed data of this length may have, within a limit.
pub(super) fn most_decoded(limit: u64, compressed: u64) -> u64 {
    limit.min(compressed.saturating_mul(MOST_EXPANSION).max(ANY_RATIO))
}

/// `count` zeros. Pages that are never written take no memory.
///
/// # Errors
/// [`io::ErrorKind::OutOfMemory`], a fault of the machine.
pub(super) fn zeros<T: bytemuck::Zeroable>(count: usize) -> io::Result<Vec<T>> {
    bytemuck::allocation::try_zeroed_vec(count).map_err(|()| reading::no_memory())
}

/// Makes room for exactly `more` values.
///
/// # Errors
/// [`io::ErrorKind::OutOfMemory`], a fault of the machine.
pub(super) fn reserve<T>(values: &mut Vec<T>, more: usize) -> io::Result<()> {
    values.try_reserve_exact(more).map_err(|_| reading::no_memory())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_volumes_of_few_bytes_are_no_cts() {
        let limit = ReadLimits::default().max_decoded_bytes;
        // 4 GiB of zeros in 4 MB, a CT of 1 GB in 100 MB, and what is small.
        assert_eq!(most_decoded(limit, 4_000_000), 1 << 30);
        assert_eq!(most_decoded(limit, 100_000_000), limit);
        assert_eq!(most_decoded(limit, 1000), 1 << 30);
        assert_eq!(most_decoded(64 << 20, 100_000_000), 64 << 20);
    }
}
