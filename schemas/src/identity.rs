//! Identities: hashes of values, from canonical bytes that do not change when code is renamed.
//!
//! The bytes of an identity are [`FORMAT`] and the kind of the value, then its parts in the order in which the kind lists
//! them. A part is one tag byte and its contents:
//!
//! | part | tag | contents |
//! |---|---|---|
//! | bytes | `b` | length (u64), bytes |
//! | text | `t` | length in bytes (u64), UTF-8 |
//! | number | `n` | u64 |
//! | float | `f` | the bits of a 32-bit float (u32) |
//! | double | `d` | the bits of a 64-bit float (u64) |
//! | flag | `0`, `1` | none |
//! | nothing | `-` | none |
//! | something | `+` | the part |
//! | list | `l` | length (u64), the parts of each item |
//!
//! Numbers are little-endian. No two different lists of parts have the same bytes. `pipeline/prepare/tests/golden/identities.py`
//! is an independent implementation.

use std::fmt;

/// Version of the format, the first bytes of every identity.
pub const FORMAT: &str = "med2e3 identity 1";

/// An identity that is being made.
pub struct Identity {
    hasher: blake3::Hasher,
}

/// A value with an identity.
pub trait Identify {
    /// Adds the value's parts.
    fn identify(&self, identity: &mut Identity);
}

impl Identity {
    /// The identity of a value of some kind, without parts yet.
    pub fn of_kind(kind: &str) -> Identity {
        let mut identity = Identity { hasher: blake3::Hasher::new() };
        identity.text(FORMAT).text(kind);
        identity
    }

    /// Adds bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Identity {
        self.tagged(b'b', &(bytes.len() as u64).to_le_bytes());
        self.hasher.update(bytes);
        self
    }

    /// Adds a text.
    pub fn text(&mut self, text: &str) -> &mut Identity {
        self.tagged(b't', &(text.len() as u64).to_le_bytes());
        self.hasher.update(text.as_bytes());
        self
    }

    /// Adds a whole number.
    pub fn number(&mut self, number: u64) -> &mut Identity {
        self.tagged(b'n', &number.to_le_bytes())
    }

    /// Adds a float, bit for bit.
    pub fn float(&mut self, value: f32) -> &mut Identity {
        self.tagged(b'f', &value.to_bits().to_le_bytes())
    }

    /// Adds a double, bit for bit.
    pub fn double(&mut self, value: f64) -> &mut Identity {
        self.tagged(b'd', &value.to_bits().to_le_bytes())
    }

    /// Adds yes or no.
    pub fn flag(&mut self, flag: bool) -> &mut Identity {
        self.tagged(if flag { b'1' } else { b'0' }, &[])
    }

    /// Adds a value that may be absent.
    pub fn maybe<T>(&mut self, value: Option<T>, add: impl FnOnce(&mut Identity, T)) -> &mut Identity {
        match value {
            None => self.tagged(b'-', &[]),
            Some(value) => {
                self.tagged(b'+', &[]);
                add(self, value);
                self
            }
        }
    }

    /// Adds a list.
    pub fn list<T>(&mut self, items: &[T], add: impl Fn(&mut Identity, &T)) -> &mut Identity {
        self.tagged(b'l', &(items.len() as u64).to_le_bytes());
        items.iter().for_each(|item| add(self, item));
        self
    }

    /// The identity as 32 hex digits: the first 16 bytes of blake3.
    pub fn finish(&self) -> String {
        self.hasher.finalize().to_hex()[..32].to_owned()
    }

    fn tagged(&mut self, tag: u8, contents: &[u8]) -> &mut Identity {
        self.hasher.update(&[tag]);
        self.hasher.update(contents);
        self
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_parts_have_different_identities() {
        let of = |add: &dyn Fn(&mut Identity)| {
            let mut identity = Identity::of_kind("test");
            add(&mut identity);
            identity.finish()
        };
        let all = [
            of(&|_| {}),
            of(&|i| {
                i.text("ab").text("c");
            }),
            of(&|i| {
                i.text("a").text("bc");
            }),
            of(&|i| {
                i.bytes(b"ab").text("c");
            }),
            of(&|i| {
                i.number(1);
            }),
            of(&|i| {
                i.float(1.0);
            }),
            of(&|i| {
                i.flag(true);
            }),
            of(&|i| {
                i.flag(false);
            }),
            of(&|i| {
                i.maybe(None::<u64>, |i, n| {
                    i.number(n);
                });
            }),
            of(&|i| {
                i.maybe(Some(1), |i, n| {
                    i.number(n);
                });
            }),
            of(&|i| {
                i.list(&[1, 2], |i, n| {
                    i.number(*n);
                });
            }),
            of(&|i| {
                i.list(&[1], |i, n| {
                    i.number(*n);
                })
                .number(2);
            }),
            Identity::of_kind("other").finish(),
        ];
        for (i, one) in all.iter().enumerate() {
            assert!(all[..i].iter().all(|other| other != one), "{i}");
        }
    }
}
