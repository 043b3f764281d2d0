//! What a page of numbers of dictionary texts unfolds to, counted before it is unfolded: five bytes may stand for the same
//! text a billion times.

/// Lengths of the texts of a dictionary.
pub(crate) struct PlainTexts(Vec<u32>);

impl PlainTexts {
    /// The texts of a dictionary page; `None` where it holds other than it states.
    pub(crate) fn of(page: &[u8], count: u32) -> Option<PlainTexts> {
        let mut rest = page;
        let mut lengths = Vec::new();
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let length = u32::from_le_bytes(*length);
            rest = after.get(length as usize..)?;
            lengths.push(length);
        }
        (rest.is_empty() && lengths.len() == count as usize).then_some(PlainTexts(lengths))
    }
}

/// Bytes of the texts that a data page's numbers stand for; `None` where it holds other than numbers of texts.
///
/// `levels` of the kinds of level come before the numbers, each with its length.
pub(crate) fn bytes_of_runs(page: &[u8], levels: usize, values: u32, texts: &PlainTexts) -> Option<u64> {
    let mut rest = page;
    for _ in 0..levels {
        let (length, after) = rest.split_first_chunk::<4>()?;
        rest = after.get(u32::from_le_bytes(*length) as usize..)?;
    }
    // A page of nulls alone may end here.
    let Some((&width, mut rest)) = rest.split_first() else { return Some(0) };
    if width > 32 {
        return None;
    }
    let text = |number: u64| texts.0.get(usize::try_from(number).ok()?).map(|length| u64::from(*length));
    let (mut bytes, mut left) = (0u64, u64::from(values));
    while left > 0 && !rest.is_empty() {
        let (head, after) = varint(rest)?;
        rest = after;
        if head & 1 == 0 {
            // One number, repeated.
            let length = usize::from(width.div_ceil(8));
            let number = rest.get(..length)?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
            rest = &rest[length..];
            let count = (head >> 1).min(left);
            if count > 0 {
                bytes = bytes.checked_add(text(number)?.checked_mul(count)?)?;
            }
            left -= count;
        } else {
            // Groups of eight numbers, packed; the last may be cut.
            let count = (head >> 1).checked_mul(8)?;
            let length = usize::try_from((head >> 1).checked_mul(width.into())?).ok()?.min(rest.len());
            let packed = &rest[..length];
            rest = &rest[length..];
            let (mut buffer, mut bits, mut next) = (0u64, 0u32, packed.iter());
            for _ in 0..count.min(left) {
                while bits < u32::from(width) {
                    let Some(byte) = next.next() else { break };
                    buffer |= u64::from(*byte) << bits;
                    bits += 8;
                }
                if bits < u32::from(width) {
                    return Some(bytes);
                }
                let mask = (1u64 << width) - 1;
                // Padding of the last group may be any number.
                bytes = bytes.checked_add(text(buffer & mask).unwrap_or(0))?;
                buffer >>= width;
                bits -= u32::from(width);
                left -= 1;
            }
        }
    }
    Some(bytes)
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (at, byte) in bytes.iter().take(9).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if *byte < 0x80 {
            return Some((value, &bytes[at + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_packed_numbers_are_counted() {
        let texts = PlainTexts::of(&[1, 0, 0, 0, b'a', 3, 0, 0, 0, b'b', b'c', b'd'], 2).unwrap();
        assert!(PlainTexts::of(&[9, 0, 0, 0, b'a'], 1).is_none());
        assert!(PlainTexts::of(&[1, 0, 0, 0, b'a'], 2).is_none());
        // Definition levels of two bytes; then width 1: the second text a hundred times; then eight numbers 0b00001101.
        let page = [2, 0, 0, 0, 0xc8, 1, 1, 0xc8, 1, 1, 3, 0b0000_1101];
        assert_eq!(bytes_of_runs(&page, 1, 108, &texts), Some(300 + 3 * 3 + 5));
        // The page's header states fewer.
        assert_eq!(bytes_of_runs(&page, 1, 101, &texts), Some(303));
        // Two billion times.
        let many = [1, 0x80, 0xa8, 0xd6, 0xb9, 0x0f, 1];
        assert_eq!(
            bytes_of_runs(&many, 0, u32::MAX, &texts),
            Some(3 * ((0x0f << 28 | 0x39 << 21 | 0x56 << 14 | 0x28 << 7) >> 1))
        );
        // No text of that number; levels beyond the end.
        assert_eq!(bytes_of_runs(&[2, 8, 3], 0, 4, &texts), None);
        assert_eq!(bytes_of_runs(&[9, 0, 0, 0], 1, 4, &texts), None);
        assert_eq!(bytes_of_runs(&[0, 0, 0, 0], 1, 4, &texts), Some(0));
    }
}
