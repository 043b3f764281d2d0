//! Keys: the first 16 bytes of a blake3 hash, so that equal inputs get equal ids on every machine.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use unicode_normalization::UnicodeNormalization;

use crate::SchemaError;

/// The key of a volume or a sample: 16 bytes, shown as 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub [u8; 16]);

impl Id {
    /// The id of a volume: the hash of its manifest path, with `/` as separator and in Unicode's composed form (NFC).
    pub fn of_volume(manifest_path: &str) -> Id {
        let normal: String = manifest_path.replace('\\', "/").nfc().collect();
        Id::of_parts([normal.as_bytes()])
    }

    /// The hash of several byte strings; lengths are hashed too, so that no two lists of parts collide by joining.
    pub fn of_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Id {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        let mut id = [0; 16];
        id.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Id(id)
    }

    /// The id in a FixedSizeBinary(16) cell; `None` for another length.
    pub fn from_bytes(bytes: &[u8]) -> Option<Id> {
        bytes.try_into().ok().map(Id)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Id {
    type Err = SchemaError;

    fn from_str(text: &str) -> Result<Id, SchemaError> {
        let error = || SchemaError::Word { what: "id", expected: "32 hex digits".into(), found: text.into() };
        if text.len() != 32 || !text.is_ascii() {
            return Err(error());
        }
        let mut id = [0; 16];
        for (byte, pair) in id.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(pair).map_err(|_| error())?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| error())?;
        }
        Ok(Id(id))
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Id, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_name_in_either_unicode_form_is_one_volume() {
        assert_eq!(Id::of_volume("a/P\u{f6}schl"), Id::of_volume("a/Po\u{308}schl"));
        assert_ne!(Id::of_volume("a/b"), Id::of_volume("a/c"));
    }

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(Id::of_parts([b"ab".as_slice(), b"c"]), Id::of_parts([b"a".as_slice(), b"bc"]));
    }

    #[test]
    fn text_form_round_trips() {
        let id = Id::of_volume("x");
        assert_eq!(id.to_string().parse::<Id>().unwrap(), id);
        assert!("zz".parse::<Id>().is_err());
    }
}
