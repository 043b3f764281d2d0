//! A record as TensorFlow frames it: the length, its checksum, the bytes, their checksum.
//!
//! Source: TFRecord format, tensorflow/core/lib/io/record_writer.h; CRC-32C (Castagnoli), RFC 3720 appendix B.4.

/// Bytes of the length and its checksum.
const HEAD: usize = 12;
/// Bytes of a checksum.
const CHECK: usize = 4;

/// An event's bytes as they stand in a file.
pub(super) fn framed(event: &[u8]) -> Vec<u8> {
    let length = (event.len() as u64).to_le_bytes();
    [&length[..], &masked(&length), event, &masked(event)].concat()
}

/// The events of a file with the positions at which each ends, up to the first that is cut or damaged.
pub(super) fn records(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let (event, whole) = first(bytes.get(at..)?)?;
        at += whole;
        Some((at, event))
    })
}

/// The first event of some bytes, and the bytes that it takes.
fn first(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let (length, check) = bytes.get(..HEAD)?.split_at(8);
    let size = usize::try_from(u64::from_le_bytes(length.try_into().ok()?)).ok()?;
    let (event, end) = bytes[HEAD..].get(..size.checked_add(CHECK)?)?.split_at(size);
    (masked(length) == check && masked(event) == end).then_some((event, HEAD + size + CHECK))
}

/// The checksum of bytes, turned and shifted, since a checksum of bytes that hold checksums says little.
fn masked(bytes: &[u8]) -> [u8; CHECK] {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

/// CRC-32C.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| (crc >> 8) ^ TABLE[((crc ^ u32::from(*byte)) & 0xff) as usize])
}

/// What each byte adds: the remainders by the polynomial 0x1EDC6F41, its bits turned around.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut crc, mut bit) = (byte as u32, 0);
        while bit < 8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standard() {
        // RFC 3720, B.4, and the catalogue's check value.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(&(0..32).collect::<Vec<u8>>()), 0x46dd_794e);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn what_is_cut_or_damaged_ends_the_records() {
        let bytes = [framed(b"one"), framed(b""), framed(b"three")].concat();
        let read = |bytes: &[u8]| records(bytes).map(|(_, event)| event.to_vec()).collect::<Vec<_>>();
        assert_eq!(read(&bytes), [b"one".to_vec(), b"".to_vec(), b"three".to_vec()]);
        assert_eq!(records(&bytes).last().unwrap().0, bytes.len());
        for end in 0..bytes.len() {
            assert!(read(&bytes[..end]).len() < 3, "{end}");
        }
        for at in 0..bytes.len() {
            let mut wrong = bytes.clone();
            wrong[at] ^= 0x10;
            assert!(read(&wrong).len() < 3, "{at}");
        }
        let mut huge = bytes;
        huge[..8].fill(0xff);
        assert!(read(&huge).is_empty());
    }
}
