//! What a PNG promises and what it has: its header and the length of its image data, without decoding anything.
//!
//! Source: the PNG specification (W3C), sections 5.3 (chunks) and 11.2.1 (IHDR).

/// Bytes before the first chunk.
const SIGNATURE: usize = 8;

/// Length and type before a chunk's data, and the checksum behind it.
const CHUNK: usize = 12;

/// The header of a PNG.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Width and height.
    pub(super) size: [u32; 2],
    /// Bits of a sample: 1, 2, 4, 8 or 16.
    depth: u8,
    /// Samples of a pixel, as they are stored.
    channels: u64,
    /// Samples of a pixel once a palette is applied, with its transparency.
    channels_unpacked: u64,
    /// Bytes of compressed image data that the file holds.
    pub(super) data_bytes: u64,
}

impl Header {
    /// The header of a file that starts with a PNG's signature; `None` where it has none that is possible.
    pub(super) fn of(bytes: &[u8]) -> Option<Header> {
        let [0, 0, 0, 13, b'I', b'H', b'D', b'R', w0, w1, w2, w3, h0, h1, h2, h3, depth, color] =
            *bytes.get(SIGNATURE..)?.first_chunk::<18>()?
        else {
            return None;
        };
        let size = [[w0, w1, w2, w3], [h0, h1, h2, h3]].map(u32::from_be_bytes);
        // A chunk of transparent colors may add a channel.
        let (channels, channels_unpacked) = match color {
            0 => (1, 2),
            2 => (3, 4),
            3 => (1, 4),
            4 => (2, 2),
            6 => (4, 4),
            _ => return None,
        };
        let has_transparency = chunks(bytes).any(|(kind, _)| kind == b"tRNS");
        let added = color != 4 && color != 6 && !has_transparency;
        let channels_unpacked = channels_unpacked - u64::from(added);
        let data_bytes = chunks(bytes).filter(|(kind, _)| *kind == b"IDAT").map(|(_, length)| length).sum();
        Some(Header { size, depth, channels, channels_unpacked, data_bytes })
    }

    /// Whether its samples are 16-bit grey without transparency.
    pub(super) fn is_deep_grey(&self) -> bool {
        self.depth == 16 && self.channels == 1 && self.channels_unpacked == 1
    }

    fn pixels(&self) -> u64 {
        // No overflow: two numbers of 32 bits.
        u64::from(self.size[0]) * u64::from(self.size[1])
    }

    /// The fewest bytes that the image data decodes to: without the byte before each row.
    pub(super) fn decoded_bytes(&self) -> u64 {
        let bits = u128::from(self.pixels()) * u128::from(self.channels) * u128::from(self.depth);
        u64::try_from(bits / 8).unwrap_or(u64::MAX)
    }

    /// Bytes of the decoded picture, in samples of 8 or 16 bits.
    pub(super) fn unpacked_bytes(&self) -> u64 {
        self.pixels().saturating_mul(self.channels_unpacked * u64::from(self.depth.div_ceil(8)))
    }
}

/// Type and length of each chunk, of the last no more than what is there.
fn chunks(bytes: &[u8]) -> impl Iterator<Item = (&[u8; 4], u64)> {
    let mut at = SIGNATURE;
    std::iter::from_fn(move || {
        let length = u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?) as usize;
        let kind: &[u8; 4] = bytes.get(at + 4..)?.first_chunk()?;
        let there = length.min(bytes.len() - at - 8);
        at = at.saturating_add(length).saturating_add(CHUNK);
        Some((kind, there as u64))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(width: u32, height: u32, depth: u8, color: u8, chunks: &[(&[u8; 4], u32, usize)]) -> Vec<u8> {
        let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
        bytes.extend([width.to_be_bytes(), height.to_be_bytes()].concat());
        bytes.extend([depth, color, 0, 0, 0, 0, 0, 0, 0]);
        for (kind, length, there) in chunks {
            bytes.extend(length.to_be_bytes());
            bytes.extend(*kind);
            bytes.resize(bytes.len() + there, 0);
        }
        bytes
    }

    #[test]
    fn promised_and_stored_bytes_are_told_without_decoding() {
        let header =
            Header::of(&png(60000, 60000, 16, 6, &[(b"iTXt", 5, 9), (b"IDAT", 7, 11), (b"IDAT", 900, 3)])).unwrap();
        assert_eq!((header.size, header.data_bytes), ([60000, 60000], 10));
        assert_eq!((header.decoded_bytes(), header.unpacked_bytes()), (28_800_000_000, 28_800_000_000));
        let header = Header::of(&png(9, 2, 1, 3, &[(b"tRNS", 1, 5)])).unwrap();
        assert_eq!((header.decoded_bytes(), header.unpacked_bytes(), header.data_bytes), (2, 72, 0));
        assert_eq!(Header::of(&png(9, 2, 1, 3, &[])).unwrap().unpacked_bytes(), 54);
        let huge = Header::of(&png(u32::MAX, u32::MAX, 16, 6, &[(b"IDAT", u32::MAX, 0)])).unwrap();
        assert_eq!((huge.decoded_bytes(), huge.unpacked_bytes()), (u64::MAX, u64::MAX));
        assert_eq!(Header::of(&png(1, 1, 8, 5, &[])), None);
        assert_eq!(Header::of(b"\x89PNG\r\n\x1a\n"), None);
    }
}
