//! What a JPEG 2000 stream makes its decoder allocate. `hayro-jpeg2000` has no limit of its own, and a stream of some hundred
//! bytes can state billions of code-blocks, so the markers are read before, and a stream that costs too much is refused.
//!
//! Source: ITU-T T.800, annex A (markers) and B (tiles, precincts, code-blocks); sizes are those of `hayro-jpeg2000` 0.5 on
//! machines of 64 bits.

use super::error::DicomError;
use crate::volume::limits::MAX_SLICE_BYTES;

const EXPECTED: &str = "a JPEG 2000 stream's markers";

/// Bytes a sample: samples, coefficients and the two buffers of the wavelet transform, the second a quarter as large.
const SAMPLE: u64 = 13;

/// Bytes a tile, with its copy of the coding parameters; a tile-part takes at least 14 bytes of the stream.
const TILE: u64 = 1024;
const SHORTEST_TILE: u64 = 14;

/// Bytes a code-block: itself and its nodes in two trees, and for each layer.
const BLOCK: u64 = 192;
const LAYER: u64 = 24;

/// Bytes a segment of a code-block; its length takes at least 3 bits of the stream.
const SEGMENT: u64 = 40;
const SHORTEST_SEGMENT_BITS: u64 = 3;

/// Most coding passes of a code-block, each of which may be a segment.
const MOST_PASSES: u64 = 94;

/// Bytes a precinct of one sub-band, and its place in an order by position.
const PRECINCT: u64 = 256;

/// Most changes of the progression in a tile, the limit of OpenJPEG, and most packets that all of them may go through: each
/// change goes through all packets again.
const MOST_CHANGES: u64 = 32;
const MOST_PACKETS_CHANGED: u64 = 1 << 22;

/// Size and position of the picture and of its tiles, on the reference grid: along x, then along y.
#[derive(Clone, Copy)]
pub(super) struct Grid {
    pub(super) end: [u32; 2],
    pub(super) start: [u32; 2],
    pub(super) tile: [u32; 2],
    pub(super) tile_start: [u32; 2],
}

impl Grid {
    /// Tiles along an axis.
    fn tiles(&self, axis: usize) -> u64 {
        u64::from(self.end[axis].saturating_sub(self.tile_start[axis])).div_ceil(u64::from(self.tile[axis].max(1)))
    }

    /// Length of the longest tile along an axis.
    fn longest(&self, axis: usize) -> u64 {
        u64::from(self.tile[axis].min(self.end[axis] - self.start[axis]))
    }

    /// Length of the first tile along an axis, or of the second where that is whole: no longer than the longest.
    fn sure(&self, axis: usize) -> u64 {
        let [end, start, tile, from] = [self.end, self.start, self.tile, self.tile_start].map(|n| u64::from(n[axis]));
        let first = end.min(from + tile).saturating_sub(start);
        let second = end.min(from + 2 * tile).saturating_sub(from + tile);
        first.max(second)
    }
}

/// How tiles are coded, as a COD or COC marker states it.
struct Style {
    layers: u64,
    levels: u32,
    /// log2 of a code-block's width and height.
    block: [u32; 2],
    /// Whether each coding pass, or every third, may be a segment.
    splits: bool,
    /// log2 of the precincts' width and height, lowest resolution first; empty where they have the greatest size.
    precincts: Vec<u8>,
}

impl Style {
    /// From the number of decomposition levels on.
    fn of(bytes: &[u8], layers: u64, has_precincts: bool) -> Option<Style> {
        let [levels, width, height, style, _, precincts @ ..] = bytes else { return None };
        // Greater numbers are refused by the decoder, and by the standard.
        if *levels > 32 || *width > 8 || *height > 8 || (has_precincts && precincts.len() <= usize::from(*levels)) {
            return None;
        }
        Some(Style {
            layers,
            levels: u32::from(*levels),
            block: [u32::from(*width) + 2, u32::from(*height) + 2],
            // Bypass of arithmetic coding, and an end after each pass.
            splits: style & 5 != 0,
            precincts: if has_precincts { precincts.to_vec() } else { Vec::new() },
        })
    }

    /// log2 of the precincts' width and height at a resolution.
    fn precinct(&self, resolution: u32) -> [u32; 2] {
        self.precincts.get(resolution as usize).map_or([15, 15], |byte| [u32::from(byte & 15), u32::from(byte >> 4)])
    }

    /// The fewest packets of a tile that is at least so large.
    fn packets(&self, tile: [u64; 2]) -> u64 {
        let precincts = |resolution: u32| {
            let [along_x, along_y] = self.precinct(resolution);
            let of_axis = |length: u64, exponent: u32| (length >> (self.levels - resolution)).div_ceil(1 << exponent);
            of_axis(tile[0], along_x) * of_axis(tile[1], along_y)
        };
        self.layers * (0..=self.levels).map(precincts).sum::<u64>()
    }

    /// The most bytes that the decoder allocates for the parts of a tile that is at most so large.
    fn bytes(&self, tile: [u64; 2], stream: u64, changes: u64) -> u64 {
        let (mut blocks, mut precincts) = (0u64, 0u64);
        for resolution in 0..=self.levels {
            let exponents = self.precinct(resolution);
            let (bands, below) = if resolution == 0 { (1, self.levels) } else { (3, self.levels - resolution + 1) };
            let of_axis = |axis: usize| {
                let whole = (tile[axis] >> (self.levels - resolution)) + 1;
                let precincts = (whole >> exponents[axis]) + 2;
                let block = self.block[axis].min(exponents[axis].saturating_sub(u32::from(resolution > 0)));
                let band = (tile[axis] >> below) + 1;
                // A precinct holds whole code-blocks; one beyond the sub-band's edge may be given one more.
                [precincts, (band >> block) + 4]
            };
            let [x, y] = [of_axis(0), of_axis(1)];
            precincts += bands * x[0] * y[0];
            blocks += bands * x[1] * y[1];
        }
        let passes = if self.splits { MOST_PASSES } else { 0 };
        let segments = (blocks * (self.layers + passes)).min(stream * 8 / SHORTEST_SEGMENT_BITS);
        let ordered = precincts * self.layers * if changes > 0 { 2 + changes } else { 0 };
        blocks * (BLOCK + LAYER * self.layers) + precincts * PRECINCT + segments * SEGMENT + ordered * LAYER
    }
}

/// Refuses a stream of one component whose decoding would take more than [`MAX_SLICE_BYTES`], or that states more packets than
/// it has bytes. `stream` starts with its SIZ marker's segment behind the start marker.
pub(super) fn check(stream: &[u8], grid: &Grid) -> Result<(), DicomError> {
    let length = stream.len() as u64;
    let tiles = grid.tiles(0) * grid.tiles(1);
    // A tile's number has 16 bits.
    if tiles > 1 << 16 || tiles * SHORTEST_TILE > length {
        return Err(DicomError::LyingHeader { expected: tiles * SHORTEST_TILE, found: length, offset: None });
    }
    let found = Markers::of(stream, tiles)?;
    let (longest, sure) = ([0, 1].map(|axis| grid.longest(axis)), [0, 1].map(|axis| grid.sure(axis)));
    let packets = found.styles.iter().map(|style| style.packets(sure)).max().unwrap_or(0);
    if packets > length {
        return Err(DicomError::LyingHeader { expected: packets, found: length, offset: None });
    }
    if found.changes > MOST_CHANGES || found.changes * packets > MOST_PACKETS_CHANGED {
        let found = format!("{} changes of the progression of {packets} packets", found.changes);
        return Err(DicomError::damaged("a JPEG 2000 stream in one progression, or few", found));
    }
    let picture = [0, 1].map(|axis| u64::from(grid.end[axis] - grid.start[axis]));
    let parts = found.styles.iter().map(|style| style.bytes(longest, length, found.changes)).max().unwrap_or(0);
    // Samples of the whole picture, and of a tile whatever else takes memory by its size.
    let samples = picture[0] * picture[1] * 4 + longest[0] * longest[1] * (SAMPLE - 4);
    let bytes = samples + parts + tiles * TILE + length * 8;
    if bytes > MAX_SLICE_BYTES {
        return Err(DicomError::TooLarge { limit: MAX_SLICE_BYTES, found: bytes });
    }
    Ok(())
}

/// What the markers state.
struct Markers {
    /// Of the picture, and those of single tiles.
    styles: Vec<Style>,
    /// Most changes of the progression in one tile.
    changes: u64,
}

impl Markers {
    fn of(stream: &[u8], tiles: u64) -> Result<Markers, DicomError> {
        let cut = || DicomError::damaged(EXPECTED, format!("others in {} bytes", stream.len()));
        let mut markers = Markers { styles: Vec::new(), changes: 0 };
        let mut layers = 1;
        let (mut at, common) = markers.segments(stream, 2, &mut layers).ok_or_else(cut)?;
        let mut of_tile = vec![common; tiles as usize];
        // Start of a tile-part: length 10, number of the tile, length of the part from its marker on.
        while let Some([0xff, 0x90, 0, 10, high, low, a, b, c, d]) = stream.get(at..).and_then(<[u8]>::first_chunk) {
            let tile = usize::from(u16::from_be_bytes([*high, *low]));
            let part = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
            let mut layers = layers;
            let (_, changes) = markers.segments(stream, at + 12, &mut layers).ok_or_else(cut)?;
            let of_tile = of_tile.get_mut(tile).ok_or_else(cut)?;
            *of_tile += changes;
            markers.changes = markers.changes.max(*of_tile);
            // 0: up to the end.
            at = if part == 0 { stream.len() } else { at + part.max(12) };
        }
        markers.changes = markers.changes.max(common);
        if markers.styles.is_empty() { Err(cut()) } else { Ok(markers) }
    }

    /// Reads segments from byte `at` on up to the start of a tile-part or of its data; that offset, and the changes of the
    /// progression. `layers` are those of the last COD marker.
    fn segments(&mut self, stream: &[u8], mut at: usize, layers: &mut u64) -> Option<(usize, u64)> {
        let mut changes = 0;
        loop {
            match *stream.get(at..)?.first_chunk()? {
                [0xff, 0x90 | 0x93 | 0xd9] => return Some((at, changes)),
                // Markers without a segment.
                [0xff, 0x30..=0x3f] => at += 2,
                [0xff, marker] => {
                    let length = usize::from(u16::from_be_bytes(*stream.get(at + 2..)?.first_chunk()?));
                    let segment = stream.get(at + 4..at + 2 + length)?;
                    match (marker, segment) {
                        (0x52, [coding, _, high, low, _, rest @ ..]) => {
                            *layers = u64::from(u16::from_be_bytes([*high, *low]));
                            self.styles.push(Style::of(rest, *layers, coding & 1 != 0)?);
                        }
                        (0x53, [_, coding, rest @ ..]) => {
                            self.styles.push(Style::of(rest, *layers, coding & 1 != 0)?);
                        }
                        (0x52 | 0x53, _) => return None,
                        // Seven bytes a change where there are few components.
                        (0x5f, changed) => changes += changed.len().div_ceil(7) as u64,
                        _ => {}
                    }
                    at += 2 + length;
                }
                _ => return None,
            }
        }
    }
}
