//! `[step]`: what one optimizer step is made of.

use std::borrow::Cow;
use std::fmt;

use med2e3_feed::{Budget, LossGroup};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{RecomputeConfig, check_positive, is_default};
use crate::TrainerError;
use crate::augmentation::Augmentation;
use crate::fit::expect;

/// What one optimizer step is made of.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepConfig {
    /// Samples of one step.
    #[schemars(range(min = 1))]
    pub batch: usize,
    /// Which targets share a mean: `"all"` of the step alike, or those of so many samples in a row; the loss is then the mean of the
    /// groups' means. The released training has groups of 32. `"all"` where absent.
    #[serde(
        default = "all",
        skip_serializing_if = "is_all",
        serialize_with = "write_group",
        deserialize_with = "read_group"
    )]
    #[schemars(schema_with = "schema_of_group")]
    pub loss_group: LossGroup,
    /// What is computed at once; the gradients of a step's micro-batches are added. It changes no result but for rounding and
    /// the draws of adapters' dropout.
    #[serde(default, skip_serializing_if = "is_default")]
    pub micro_batch: MicroBatch,
    /// What is computed again in the backward pass, so that less is kept for it; no result depends on it. Nothing where absent.
    #[serde(default, skip_serializing_if = "is_default")]
    pub recompute: RecomputeConfig,
    /// How volumes are changed in training.
    #[serde(default, skip_serializing_if = "is_default")]
    pub augmentation: Augmentation,
    /// The text encoder's dropout: 0.1 in the released training, which left the frozen BERT in training mode. 0 where absent.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(range(min = 0, max = 1))]
    pub text_encoder_dropout: f64,
}

/// How much of a step is computed at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MicroBatch {
    /// The whole step.
    #[default]
    Whole,
    /// What the model of costs finds fastest within the device's memory.
    Auto,
    /// As many texts as fit.
    Within(Within),
}

/// The most that is computed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Within {
    /// Tokens: texts times the width of the longest, visual tokens included; on a GPU widths are rounded up to 64.
    #[schemars(range(min = 1))]
    pub tokens: usize,
    /// Distinct volumes.
    #[schemars(range(min = 1))]
    pub volumes: usize,
}

impl StepConfig {
    /// # Errors
    /// The first key whose value is out of range.
    pub(super) fn check(&self) -> Result<(), TrainerError> {
        check_positive([("step.batch", self.batch)])?;
        if let LossGroup::Of(group) = self.loss_group {
            check_positive([("step.loss_group", group)])?;
            let divides = self.batch.is_multiple_of(group);
            let expected = format!("all, or a divisor of step.batch = {}", self.batch);
            expect("step.loss_group", divides, expected, group.to_string())?;
        }
        if let MicroBatch::Within(Within { tokens, volumes }) = self.micro_batch {
            check_positive([("step.micro_batch.tokens", tokens), ("step.micro_batch.volumes", volumes)])?;
        }
        let dropout = self.text_encoder_dropout;
        let expected = "a probability, 0 to below 1".into();
        expect("step.text_encoder_dropout", (0.0..1.0).contains(&dropout), expected, dropout.to_string())
    }
}

impl MicroBatch {
    /// The budget that it states; `None` where it is to be found.
    pub(crate) fn stated(self) -> Option<Budget> {
        match self {
            MicroBatch::Whole => Some(Budget::WHOLE),
            MicroBatch::Auto => None,
            MicroBatch::Within(Within { tokens, volumes }) => Some(Budget { tokens, volumes }),
        }
    }
}

fn all() -> LossGroup {
    LossGroup::All
}

fn is_all(group: &LossGroup) -> bool {
    *group == LossGroup::All
}

fn write_group<S: Serializer>(group: &LossGroup, serializer: S) -> Result<S::Ok, S::Error> {
    match group {
        LossGroup::All => serializer.serialize_str("all"),
        LossGroup::Of(samples) => serializer.serialize_u64(*samples as u64),
    }
}

fn read_group<'de, D: Deserializer<'de>>(deserializer: D) -> Result<LossGroup, D::Error> {
    struct Group;

    impl Visitor<'_> for Group {
        type Value = LossGroup;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("\"all\" or a number of samples")
        }

        fn visit_str<E: de::Error>(self, word: &str) -> Result<LossGroup, E> {
            if word == "all" { Ok(LossGroup::All) } else { Err(E::invalid_value(de::Unexpected::Str(word), &self)) }
        }

        fn visit_i64<E: de::Error>(self, samples: i64) -> Result<LossGroup, E> {
            let group = usize::try_from(samples).map(LossGroup::Of);
            group.map_err(|_| E::invalid_value(de::Unexpected::Signed(samples), &self))
        }

        fn visit_u64<E: de::Error>(self, samples: u64) -> Result<LossGroup, E> {
            let group = usize::try_from(samples).map(LossGroup::Of);
            group.map_err(|_| E::invalid_value(de::Unexpected::Unsigned(samples), &self))
        }
    }
    deserializer.deserialize_any(Group)
}

fn schema_of_group(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "anyOf": [
        { "const": "all", "description": "All targets of a step count the same." },
        { "type": "integer", "minimum": 1, "description": "Samples of a group; it divides the batch." },
    ] })
}

impl Serialize for MicroBatch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            MicroBatch::Whole => serializer.serialize_str("whole"),
            MicroBatch::Auto => serializer.serialize_str("auto"),
            MicroBatch::Within(within) => within.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for MicroBatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<MicroBatch, D::Error> {
        struct WordOrTable;

        impl<'de> Visitor<'de> for WordOrTable {
            type Value = MicroBatch;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"whole\", \"auto\" or { tokens, volumes }")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<MicroBatch, E> {
                match word {
                    "whole" => Ok(MicroBatch::Whole),
                    "auto" => Ok(MicroBatch::Auto),
                    _ => Err(E::invalid_value(de::Unexpected::Str(word), &self)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<MicroBatch, A::Error> {
                Within::deserialize(MapAccessDeserializer::new(table)).map(MicroBatch::Within)
            }
        }
        deserializer.deserialize_any(WordOrTable)
    }
}

impl JsonSchema for MicroBatch {
    fn schema_name() -> Cow<'static, str> {
        "MicroBatch".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "const": "whole", "description": "The whole step." },
            { "const": "auto", "description": "What is found fastest within the device's memory." },
            generator.subschema_for::<Within>(),
        ] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<StepConfig, String> {
        toml::from_str::<StepConfig>(text).map_err(|error| error.to_string())
    }

    #[test]
    fn words_numbers_and_tables_are_read_and_written() {
        for text in [
            "batch = 128\n",
            "batch = 128\nloss_group = 32\n",
            "batch = 128\nmicro_batch = \"auto\"\nrecompute = \"auto\"\n",
            "batch = 8\nloss_group = 2\n\n[micro_batch]\ntokens = 4096\nvolumes = 3\n",
        ] {
            let step = parse(text).unwrap();
            step.check().unwrap();
            assert_eq!(toml::to_string(&step).unwrap(), text);
        }
        let stated = parse("batch = 2\nloss_group = \"all\"\nmicro_batch = \"whole\"").unwrap();
        assert_eq!((stated.loss_group, stated.micro_batch), (LossGroup::All, MicroBatch::Whole));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (text, word) in [
            ("batch = 8\nloss_group = \"none\"", "all"),
            ("batch = 8\nloss_group = -1", "number of samples"),
            ("batch = 8\nmicro_batch = \"half\"", "tokens"),
            ("batch = 8\nmicro_batch = { tokens = 5 }", "volumes"),
            ("batch = 8\nmicro_batch = { tokens = 5, volume = 1 }", "volume"),
        ] {
            let said = parse(text).unwrap_err();
            assert!(said.contains(word), "{said}");
        }
        for (text, key) in [
            ("batch = 0", "step.batch"),
            ("batch = 8\nloss_group = 3", "step.loss_group"),
            ("batch = 8\nloss_group = 0", "step.loss_group"),
            ("batch = 8\nmicro_batch = { tokens = 0, volumes = 1 }", "step.micro_batch.tokens"),
            ("batch = 8\nmicro_batch = { tokens = 1, volumes = 0 }", "step.micro_batch.volumes"),
        ] {
            let said = parse(text).unwrap().check().unwrap_err().to_string();
            assert!(said.starts_with(key), "{said}");
        }
    }
}
