//! Gzip and zlib in memory: libdeflate inflates files whole, member by member, into a buffer whose size the decoded
//! header states.

use std::path::Path;

use libdeflater::{DecompressionError, Decompressor};

use super::buffers::{Buffer, Buffers, Purpose};
use super::stage::{self, Stage};
use crate::error::InputError;

/// The highest compression ratio of DEFLATE: 258 bytes from 2 bits.
const MAX_EXPANSION: u64 = 1032;

/// The longest run of bytes that DEFLATE writes at once: a stored block.
pub(super) const LONGEST_RUN: usize = 1 << 16;

/// Bytes of a member's header without its optional fields.
const HEADER: usize = 10;

/// Empty data: the fewest bytes of DEFLATE.
const LEAST_DATA: usize = 2;

/// Decoded bytes that are allocated at first for each compressed byte. Voxels compress less well. Where a stream needs
/// more, the buffer grows, so that memory follows the data and not the size that a header states.
const USUAL_EXPANSION: usize = 64;

/// Bytes beyond the size that the header states which are always tolerated.
const SLACK: usize = 1 << 20;

/// Whether the bytes start with gzip's magic.
pub(super) fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b])
}

/// Most bytes that a gzip file of `len` bytes can hold.
pub(super) fn max_decoded_bytes(len: u64) -> u64 {
    len.saturating_mul(MAX_EXPANSION)
}

/// The first `len` decoded bytes, or fewer where the stream holds fewer; zeros where damage hides them.
///
/// libdeflate writes in order and gives up at the first run that does not fit, so a buffer of `len` and one run more is
/// filled up to `len` at least when it runs out of space.
pub(super) fn head(bytes: &[u8], len: usize) -> Vec<u8> {
    let mut out = vec![0; len + LONGEST_RUN];
    let (mut filled, mut at) = (0, 0);
    let mut decompressor = Decompressor::new();
    while filled < len && is_gzip(&bytes[at..]) {
        match decompressor.gzip_decompress(&bytes[at..], &mut out[filled..]) {
            Ok(decoded) => {
                at = next_member(bytes, at, &out[filled..filled + decoded]);
                filled += decoded;
            }
            Err(_) => filled = len,
        }
    }
    out.truncate(filled.min(len));
    out
}

/// What an inflation has to return.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    /// Decoded bytes up to the last voxel.
    pub(super) expected: usize,
    /// Unused bytes before the first decoded byte, which align the voxels.
    pub(super) pad: usize,
    /// The limit on decoded samples; data beyond `expected` counts too.
    pub(super) limit: u64,
}

impl Request {
    /// Most decoded bytes that are tolerated.
    fn most(&self) -> usize {
        let within_limit = usize::try_from(self.limit).unwrap_or(usize::MAX).max(self.expected).saturating_add(SLACK);
        self.expected.saturating_mul(2).saturating_add(SLACK).min(within_limit)
    }

    /// The next size of a buffer of `capacity` bytes that was too small.
    fn larger(&self, capacity: usize) -> usize {
        let enough = if capacity < self.expected { self.expected } else { self.most() };
        capacity.saturating_mul(2).saturating_add(LONGEST_RUN).min(enough)
    }
}

/// Inflates the members of a gzip file until at least `expected` bytes are decoded, after `pad` unused bytes.
///
/// Data beyond `expected` is tolerated up to the same size again and 1 MiB, within the limit. Bytes after the member
/// that completes `expected` are not read. The checksum of each member that is read is verified.
///
/// # Errors
/// [`InputError::TruncatedGzip`], [`InputError::CorruptGzip`], or [`InputError::LyingHeader`] where the valid stream
/// holds fewer than `expected` bytes or far more.
pub(super) fn inflate(path: &Path, bytes: &[u8], request: Request, buffers: &Buffers) -> Result<Buffer, InputError> {
    stage::enter(Stage::Inflate);
    let inflated = inflate_members(path, bytes, request, buffers);
    stage::enter(Stage::Decode);
    inflated
}

fn inflate_members(path: &Path, bytes: &[u8], request: Request, buffers: &Buffers) -> Result<Buffer, InputError> {
    let Request { expected, pad, .. } = request;
    let no_memory = |e| InputError::io(path, e);
    let wrong_length = |found: usize| {
        let (expected, found, offset) = (expected as u64, found as u64, Some(bytes.len() as u64));
        InputError::LyingHeader { path: path.to_owned(), expected, found, offset }
    };
    let most = request.most();
    let mut capacity = expected.min(bytes.len().saturating_mul(USUAL_EXPANSION).max(SLACK));
    let mut out = buffers.take(Purpose::Samples, pad + capacity).map_err(no_memory)?;
    let (mut filled, mut at) = (0, 0);
    let mut decompressor = Decompressor::new();
    while filled < expected {
        if !is_gzip(&bytes[at..]) {
            return Err(wrong_length(filled));
        }
        match decompressor.gzip_decompress(&bytes[at..], &mut out.bytes_mut()[pad + filled..pad + capacity]) {
            Ok(decoded) if filled + decoded >= expected => filled += decoded,
            Ok(decoded) => {
                at = next_member(bytes, at, &out.bytes()[pad + filled..pad + filled + decoded]);
                filled += decoded;
            }
            Err(DecompressionError::InsufficientSpace) if capacity < most => {
                capacity = request.larger(capacity);
                out.grow(pad + capacity).map_err(no_memory)?;
            }
            Err(DecompressionError::InsufficientSpace) => return Err(wrong_length(capacity)),
            Err(DecompressionError::BadData) if trailer_fits(bytes, expected - filled, most) => {
                return Err(InputError::CorruptGzip { path: path.to_owned(), offset: at as u64 });
            }
            Err(DecompressionError::BadData) => {
                let (expected, found) = (expected as u64, bytes.len() as u64);
                return Err(InputError::TruncatedGzip { path: path.to_owned(), expected, found });
            }
        }
    }
    Ok(out)
}

/// Inflates a zlib stream of at least `expected` bytes, after `pad` unused bytes; as [`inflate`].
///
/// # Errors
/// As [`inflate`].
pub(super) fn inflate_zlib(
    path: &Path,
    bytes: &[u8],
    request: Request,
    buffers: &Buffers,
) -> Result<Buffer, InputError> {
    stage::enter(Stage::Inflate);
    let inflated = inflate_one(path, bytes, request, buffers);
    stage::enter(Stage::Decode);
    inflated
}

fn inflate_one(path: &Path, bytes: &[u8], request: Request, buffers: &Buffers) -> Result<Buffer, InputError> {
    let Request { expected, pad, .. } = request;
    let no_memory = |e| InputError::io(path, e);
    let most = request.most();
    let mut capacity = expected.min(bytes.len().saturating_mul(USUAL_EXPANSION).max(SLACK));
    let mut out = buffers.take(Purpose::Samples, pad + capacity).map_err(no_memory)?;
    let mut decompressor = Decompressor::new();
    loop {
        let found = match decompressor.zlib_decompress(bytes, &mut out.bytes_mut()[pad..pad + capacity]) {
            Ok(decoded) if decoded >= expected => return Ok(out),
            Ok(decoded) => decoded,
            Err(DecompressionError::InsufficientSpace) if capacity < most => {
                capacity = request.larger(capacity);
                out.grow(pad + capacity).map_err(no_memory)?;
                continue;
            }
            Err(DecompressionError::InsufficientSpace) => capacity,
            Err(DecompressionError::BadData) => {
                return Err(InputError::CorruptGzip { path: path.to_owned(), offset: 0 });
            }
        };
        let (expected, found) = (expected as u64, found as u64);
        return Err(InputError::LyingHeader { path: path.to_owned(), expected, found, offset: None });
    }
}

/// Offset of the member after the one that starts at `at` and decodes to `decoded`, or of what else follows it. Zeros
/// between members are padding, as for Python's `gzip`; other bytes end the data, as for `gunzip`.
///
/// libdeflate does not report how long a member is, so its trailer (checksum and length, 8 bytes) is searched for.
/// Where the same bytes occur twice, the trailer is the one before another member or before the end of the data.
fn next_member(bytes: &[u8], at: usize, decoded: &[u8]) -> usize {
    let mut crc = libdeflater::Crc::new();
    crc.update(decoded);
    let mut trailer = [0; 8];
    trailer[..4].copy_from_slice(&crc.sum().to_le_bytes());
    trailer[4..].copy_from_slice(&(decoded.len() as u32).to_le_bytes());
    let first = data_start(bytes, at) + LEAST_DATA;
    let windows = bytes.get(first..).unwrap_or_default().windows(trailer.len()).enumerate();
    let ends = windows.filter(|(_, window)| *window == trailer).map(|(n, _)| first + n + trailer.len());
    // An empty member's trailer is all zeros: in zeros that follow it, every offset would be an end.
    let mut ends = ends.take(if decoded.is_empty() { 1 } else { usize::MAX });
    let after_padding = |end: usize| end + bytes[end..].iter().take_while(|byte| **byte == 0).count();
    let Some(earliest) = ends.next().map(after_padding) else {
        return bytes.len();
    };
    let is_next = |next: &usize| *next == bytes.len() || is_gzip(&bytes[*next..]);
    std::iter::once(earliest).chain(ends.map(after_padding)).find(is_next).unwrap_or(earliest)
}

/// Offset of a member's compressed data, after its header and the optional fields: extra data, name, comment, checksum.
fn data_start(bytes: &[u8], at: usize) -> usize {
    let flags = bytes.get(at + 3).copied().unwrap_or_default();
    let mut start = at + HEADER;
    if flags & 4 != 0 {
        let length = bytes.get(start..start + 2).map_or(0, |length| u16::from_le_bytes([length[0], length[1]]));
        start += 2 + usize::from(length);
    }
    for flag in [8, 16] {
        if flags & flag != 0 {
            let text = bytes.get(start..).unwrap_or_default();
            start += text.iter().position(|byte| *byte == 0).map_or(text.len(), |end| end + 1);
        }
    }
    if flags & 2 != 0 { start + 2 } else { start }
}

/// Whether the file's last four bytes, the length field of a gzip trailer, agree with the data still expected. If so,
/// the stream is not cut but damaged inside.
fn trailer_fits(bytes: &[u8], missing: usize, most: usize) -> bool {
    let Some(length) = bytes.last_chunk::<4>().map(|length| u32::from_le_bytes(*length)) else {
        return false;
    };
    // The field counts modulo 2^32.
    length == missing as u32 || (missing..=most).contains(&(length as usize))
}
