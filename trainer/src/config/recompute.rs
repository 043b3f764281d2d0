//! `step.recompute`: what is computed again in the backward pass.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::Part;
use crate::model::recompute::Recompute;
use crate::plan::{BlockPolicy, Policy};
use crate::words::Word;

/// What is computed again in the backward pass, so that less is kept for it. No result depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecomputeConfig {
    /// What the model of costs finds fastest within the device's memory.
    Auto,
    /// The same in every block.
    All(Recompute),
    /// Each part's own.
    Parts(PartPolicies),
}

/// What is computed again of each part that has blocks; nothing of one that is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PartPolicies {
    /// Of the language model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub llm: Option<PartPolicy>,
    /// Of the 2D encoder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vision2d_model: Option<PartPolicy>,
    /// Of the 3D encoder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vision3d_model: Option<PartPolicy>,
}

/// What is computed again of one part: a word, or a word and in how many of its first blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartPolicy {
    /// What.
    pub policy: Recompute,
    /// In how many blocks; in all where absent.
    pub blocks: Option<usize>,
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Blocks {
    /// What is computed again.
    policy: Recompute,
    /// In so many of the part's first blocks.
    #[schemars(range(min = 1))]
    blocks: usize,
}

impl Default for RecomputeConfig {
    fn default() -> RecomputeConfig {
        RecomputeConfig::All(Recompute::None)
    }
}

impl RecomputeConfig {
    /// What it states; `None` where it is to be found.
    pub(crate) fn stated(self) -> Option<Policy> {
        let of = |part: Option<PartPolicy>| {
            part.map_or(BlockPolicy::NONE, |PartPolicy { policy, blocks }| BlockPolicy {
                recompute: policy,
                blocks: blocks.map_or(i64::MAX, |blocks| i64::try_from(blocks).unwrap_or(i64::MAX)),
            })
        };
        match self {
            RecomputeConfig::Auto => None,
            RecomputeConfig::All(recompute) => Some(Policy::all(recompute)),
            RecomputeConfig::Parts(parts) => Some(Policy {
                llm: of(parts.llm),
                vision2d: of(parts.vision2d_model),
                vision3d: of(parts.vision3d_model),
            }),
        }
    }
}

/// Parts with blocks, and what a policy states of each.
pub(crate) fn by_part(policy: &Policy) -> [(Part, BlockPolicy); 3] {
    [(Part::Llm, policy.llm), (Part::Vision2dModel, policy.vision2d), (Part::Vision3dModel, policy.vision3d)]
}

impl Serialize for RecomputeConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            RecomputeConfig::Auto => serializer.serialize_str("auto"),
            RecomputeConfig::All(recompute) => recompute.serialize(serializer),
            RecomputeConfig::Parts(parts) => parts.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for RecomputeConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RecomputeConfig, D::Error> {
        struct WordOrTable;

        impl<'de> Visitor<'de> for WordOrTable {
            type Value = RecomputeConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"none\", \"selective\", \"full\", \"auto\" or a table of parts")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<RecomputeConfig, E> {
                match (word, word.parse()) {
                    ("auto", _) => Ok(RecomputeConfig::Auto),
                    (_, Ok(recompute)) => Ok(RecomputeConfig::All(recompute)),
                    (_, Err(_)) => Err(E::invalid_value(de::Unexpected::Str(word), &self)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<RecomputeConfig, A::Error> {
                PartPolicies::deserialize(MapAccessDeserializer::new(table)).map(RecomputeConfig::Parts)
            }
        }
        deserializer.deserialize_any(WordOrTable)
    }
}

impl JsonSchema for RecomputeConfig {
    fn schema_name() -> Cow<'static, str> {
        "RecomputeConfig".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "const": "auto", "description": "What is found fastest within the device's memory." },
            generator.subschema_for::<Recompute>(),
            generator.subschema_for::<PartPolicies>(),
        ] })
    }
}

impl Serialize for PartPolicy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.blocks {
            None => self.policy.serialize(serializer),
            Some(blocks) => Blocks { policy: self.policy, blocks }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for PartPolicy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PartPolicy, D::Error> {
        struct WordOrTable;

        impl<'de> Visitor<'de> for WordOrTable {
            type Value = PartPolicy;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let words: Vec<&str> = Recompute::ALL.iter().map(|recompute| recompute.as_str()).collect();
                write!(f, "one of {}, or {{ policy, blocks }}", words.join(", "))
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<PartPolicy, E> {
                let policy = Recompute::deserialize(StrDeserializer::new(word))?;
                Ok(PartPolicy { policy, blocks: None })
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<PartPolicy, A::Error> {
                let Blocks { policy, blocks } = Blocks::deserialize(MapAccessDeserializer::new(table))?;
                Ok(PartPolicy { policy, blocks: Some(blocks) })
            }
        }
        deserializer.deserialize_any(WordOrTable)
    }
}

impl JsonSchema for PartPolicy {
    fn schema_name() -> Cow<'static, str> {
        "PartPolicy".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [generator.subschema_for::<Recompute>(), generator.subschema_for::<Blocks>()] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, Serialize)]
    struct Holder {
        recompute: RecomputeConfig,
    }

    #[test]
    fn words_and_tables_are_read_and_written() {
        for text in [
            "recompute = \"auto\"\n",
            "recompute = \"selective\"\n",
            "[recompute]\nllm = \"full\"\n\n[recompute.vision2d_model]\npolicy = \"selective\"\nblocks = 12\n",
        ] {
            let read: Holder = toml::from_str(text).unwrap();
            assert_eq!(toml::to_string(&read).unwrap(), text);
        }
        let read: Holder = toml::from_str("recompute = { llm = { policy = \"full\", blocks = 3 } }").unwrap();
        let expected = Policy {
            llm: BlockPolicy { recompute: Recompute::Full, blocks: 3 },
            vision2d: BlockPolicy::NONE,
            vision3d: BlockPolicy::NONE,
        };
        assert_eq!(read.recompute.stated(), Some(expected));
        assert_eq!(RecomputeConfig::Auto.stated(), None);
    }

    #[test]
    fn what_is_no_policy_is_named() {
        for (text, word) in [
            ("recompute = \"some\"", "selective"),
            ("recompute = { llm = \"some\" }", "some"),
            ("recompute = { llm = { policy = \"full\" } }", "blocks"),
            ("recompute = { text_encoder = \"full\" }", "text_encoder"),
        ] {
            let said = toml::from_str::<Holder>(text).unwrap_err().to_string();
            assert!(said.contains(word), "{said}");
        }
    }
}
