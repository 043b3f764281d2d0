//! The parts of a `tokenizer.json` as far as they are checked: sections whole but small, tables as counts, so that a check costs
//! little memory whatever the file holds.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Most values of one section.
const VALUES: usize = 4096;

/// A section of rules: null where it is absent.
#[derive(Default)]
pub(super) struct Section(pub(super) Value);

impl<'de> Deserialize<'de> for Section {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Section, D::Error> {
        Few(&mut VALUES.clone()).deserialize(deserializer).map(Section)
    }
}

/// A value of at most as many values as are left.
struct Few<'l>(&'l mut usize);

impl<'de> DeserializeSeed<'de> for Few<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        *self.0 =
            self.0.checked_sub(1).ok_or_else(|| D::Error::custom(format!("a section of more than {VALUES} values")))?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Few<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(member) = members.next_element_seed(Few(self.0))? {
            list.push(member);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = fields.next_key::<String>()? {
            let value = fields.next_value_seed(Few(self.0))?;
            if map.contains_key(&key) {
                return Err(A::Error::custom(format!("the key `{key}` twice")));
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

/// A vocabulary: from entries to ids, or a list of entries with their scores.
#[derive(Default)]
pub(super) struct Vocabulary {
    pub(super) entries: usize,
    pub(super) largest: u64,
    /// The longest entry in bytes.
    pub(super) longest: usize,
    /// What an entry has in place of an id.
    pub(super) no_id: Option<String>,
}

impl Vocabulary {
    fn note(&mut self, entry: &str) {
        self.entries += 1;
        self.longest = self.longest.max(entry.len());
    }
}

impl<'de> Deserialize<'de> for Vocabulary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Vocabulary, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Vocabulary;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a vocabulary")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Vocabulary, A::Error> {
                let mut found = Vocabulary::default();
                while let Some((entry, id)) = fields.next_entry::<String, Number>()? {
                    found.note(&entry);
                    match id.as_u64() {
                        Some(id) => found.largest = found.largest.max(id),
                        None => found.no_id = Some(id.to_string()),
                    }
                }
                Ok(found)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut members: A) -> Result<Vocabulary, A::Error> {
                let mut found = Vocabulary::default();
                while let Some((entry, _)) = members.next_element::<(String, f64)>()? {
                    found.largest = found.entries as u64;
                    found.note(&entry);
                }
                Ok(found)
            }
        }
        deserializer.deserialize_any(Entries)
    }
}

/// How many merges there are.
#[derive(Default)]
pub(super) struct Merges(pub(super) usize);

impl<'de> Deserialize<'de> for Merges {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Merges, D::Error> {
        struct Count;

        impl<'de> Visitor<'de> for Count {
            type Value = Merges;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of merges")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut members: A) -> Result<Merges, A::Error> {
                let mut count = 0;
                while members.next_element::<Merge>()?.is_some() {
                    count += 1;
                }
                Ok(Merges(count))
            }
        }
        deserializer.deserialize_seq(Count)
    }
}

/// Two entries in one text, or each in its own.
struct Merge;

impl<'de> Deserialize<'de> for Merge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Merge, D::Error> {
        struct Pair;

        impl<'de> Visitor<'de> for Pair {
            type Value = Merge;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("two entries")
            }

            fn visit_str<E>(self, _: &str) -> Result<Merge, E> {
                Ok(Merge)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut members: A) -> Result<Merge, A::Error> {
                let mut count = 0;
                while members.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                if count == 2 { Ok(Merge) } else { Err(A::Error::custom(format!("a merge of {count} entries"))) }
            }
        }
        deserializer.deserialize_any(Pair)
    }
}
