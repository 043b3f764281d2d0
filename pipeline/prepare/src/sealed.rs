//! Sealed files: what a run notes for the next one, as JSON and a hash of it. A bit that flips on a disk would otherwise be
//! read as another note, and become other rows.

use serde::Serialize;
use serde::de::DeserializeOwned;

use med2e3_schemas::index::xxh3_hex;

/// The value's JSON, a line break, and the JSON's hash.
pub(crate) fn seal<T: Serialize>(value: &T) -> Vec<u8> {
    let json = serde_json::to_string(value).expect("a note is plain data");
    format!("{json}\n{}\n", xxh3_hex(json.as_bytes())).into_bytes()
}

/// The value, where its bytes are as they were written.
pub(crate) fn open<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (json, hash) = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?.rsplit_once('\n')?;
    (xxh3_hex(json.as_bytes()) == hash).then_some(())?;
    serde_json::from_str(json).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bit_that_flips_breaks_the_seal() {
        let sealed = seal(&vec![Some("a\nb"), None, Some("ü")]);
        assert_eq!(open::<Vec<Option<String>>>(&sealed).unwrap().len(), 3);
        for bit in 0..8 * sealed.len() {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open::<Vec<Option<String>>>(&flipped), None, "bit {bit}");
        }
        assert_eq!(open::<Vec<Option<String>>>(b""), None);
    }
}
