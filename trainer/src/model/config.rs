//! The choices of a model, each a named value.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::connector::ConnectorKind;
use super::encoder2d::{SiglipVisionConfig, SliceNorm};
use super::encoder3d::M3dClipVisionConfig;
use super::error::ModelError;
use super::language_model::LanguageModelConfig;
use super::layers::Initializer;
use super::lora::LoraConfig;
use super::preset::Preset;
use super::sizes;
use super::text_encoder::BertConfig;

/// A whole model: the sizes of its parts and the choices between them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Med2e3Config {
    /// Language model.
    pub llm: LanguageModelConfig,
    /// 2D encoder.
    pub vision2d: SiglipVisionConfig,
    /// 3D encoder.
    pub vision3d: M3dClipVisionConfig,
    /// M3D-CLIP's text encoder, where the question's feature comes from it; fresh weights are of its published sizes where
    /// none are stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_encoder: Option<BertConfig>,
    /// Everything between them: each choice, or a preset's name for all of them.
    #[serde(deserialize_with = "choices_or_preset")]
    #[schemars(schema_with = "schema_of_choices_or_preset")]
    pub variant: Variant,
    /// First values of weights that no checkpoint holds.
    pub initializer: Initializer,
    /// Adapters in the language model; none where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraConfig>,
}

/// Written by hand: the message of serde's `untagged` names neither the unknown key nor the valid names.
fn choices_or_preset<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Variant, D::Error> {
    struct ChoicesOrPreset;

    impl<'de> Visitor<'de> for ChoicesOrPreset {
        type Value = Variant;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the choices of a variant, or a preset's name")
        }

        fn visit_str<E: de::Error>(self, name: &str) -> Result<Variant, E> {
            Preset::deserialize(StrDeserializer::new(name)).map(Preset::variant)
        }

        fn visit_map<A: MapAccess<'de>>(self, choices: A) -> Result<Variant, A::Error> {
            Variant::deserialize(MapAccessDeserializer::new(choices))
        }
    }
    deserializer.deserialize_any(ChoicesOrPreset)
}

fn schema_of_choices_or_preset(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({ "anyOf": [generator.subschema_for::<Preset>(), generator.subschema_for::<Variant>()] })
}

/// The choices of the paper's ablations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// Where the question's feature comes from.
    pub text_feature: TextFeature,
    /// The feature of a slice that is scored.
    pub local_feature: LocalFeature,
    /// How a slice is scored.
    pub scorer: Scorer,
    /// How the slices' 2D tokens become those of one slice.
    pub aggregate: Aggregate,
    /// Which tokens the language model gets.
    pub visual_tokens: VisualTokens,
    /// Divides the relevance of a text-guided scorer before the softmax.
    pub temperature: f64,
    /// Dropout on the scores after the softmax, in training only; drawn from libtorch's global generator.
    pub score_dropout: f64,
    /// Take 3D features after the encoder's last norm (M3D-LaMed) instead of before it (Med-2E3).
    pub final_norm: bool,
    /// What a slice goes through before the 2D encoder.
    pub slice_norm: SliceNorm,
    /// From the 3D encoder to the language model.
    pub connector3d: ConnectorKind,
    /// From the 2D encoder to the language model.
    pub connector2d: ConnectorKind,
    /// Tokens of a training sequence after splicing; the rest is cut off.
    pub max_length: usize,
}

/// The question's feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TextFeature {
    /// Mean of the language model's input embeddings over the question (paper).
    LlmEmbedding,
    /// Pooled output of M3D-CLIP's BERT for the question, projected by a trained map (released code).
    M3dClip,
}

/// The feature of a slice that is scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LocalFeature {
    /// Mean over the 3D tokens of its depth layer and its own 2D tokens together; over its 2D tokens where the language model
    /// gets no others.
    Both,
    /// Mean over the 3D tokens of its depth layer.
    Vision3d,
    /// Mean over its 2D tokens.
    Vision2d,
}

/// How a slice is scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scorer {
    /// Dot product of the question's and the slice's feature.
    TextGuided,
    /// A learned map of the slice's feature, without text.
    Linear,
    /// The same for every slice.
    Uniform,
    /// Softmax of normal draws from each row's key: new ones at every step of training, the same at each evaluation.
    Random,
    /// A Gaussian over the slice index with a sixth of the slices as its deviation.
    Gauss,
}

/// How the slices' 2D tokens become those of one slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    /// Sum weighed by the scores.
    Scores,
    /// Mean at each position; scores are not used.
    Mean,
    /// Maximum at each position; scores are not used.
    Max,
    /// Mean of the k slices with the highest scores.
    TopK(usize),
}

/// Which tokens the language model gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VisualTokens {
    /// 3D tokens, then 2D tokens.
    Both,
    /// 3D tokens.
    Vision3d,
    /// 2D tokens.
    Vision2d,
}

impl Variant {
    /// With another variant's choices of the paper's ablations: what tokens there are and how slices count. Norms, connectors and length
    /// stay.
    pub(crate) fn counting_as(&self, other: &Variant) -> Variant {
        Variant {
            final_norm: self.final_norm,
            slice_norm: self.slice_norm,
            connector3d: self.connector3d,
            connector2d: self.connector2d,
            max_length: self.max_length,
            ..other.clone()
        }
    }

    /// Whether any result depends on 2D tokens.
    pub(crate) fn needs_2d(&self) -> bool {
        self.visual_tokens != VisualTokens::Vision3d
    }

    /// Whether any result depends on 3D tokens.
    pub(crate) fn needs_3d(&self) -> bool {
        self.visual_tokens != VisualTokens::Vision2d
            || (self.uses_slice_features() && self.slice_feature() == LocalFeature::Vision3d)
    }

    /// The feature of a slice that is scored: of a variant whose language model gets 2D tokens alone, a slice's own.
    pub(crate) fn slice_feature(&self) -> LocalFeature {
        match (self.local_feature, self.visual_tokens) {
            (LocalFeature::Both, VisualTokens::Vision2d) => LocalFeature::Vision2d,
            (feature, _) => feature,
        }
    }

    /// Whether scores are made from the slices' features.
    pub(crate) fn uses_slice_features(&self) -> bool {
        self.needs_2d() && self.uses_scores() && matches!(self.scorer, Scorer::TextGuided | Scorer::Linear)
    }

    /// Whether scores depend on the question.
    pub(crate) fn uses_question(&self) -> bool {
        self.needs_2d() && self.uses_scores() && self.scorer == Scorer::TextGuided
    }

    /// Whether the text encoder is built.
    pub(crate) fn needs_text_encoder(&self) -> bool {
        self.uses_question() && self.text_feature == TextFeature::M3dClip
    }

    /// Whether the aggregate uses the scores.
    pub(crate) fn uses_scores(&self) -> bool {
        matches!(self.aggregate, Aggregate::Scores | Aggregate::TopK(_))
    }
}

impl Med2e3Config {
    /// Slices of a volume.
    pub fn slice_count(&self) -> i64 {
        self.vision3d.img_size[0]
    }

    /// Visual tokens of one volume in a sequence.
    pub fn visual_token_count(&self) -> i64 {
        let tokens3d: i64 = self.pooled_grid().iter().product();
        let tokens2d: i64 = self.variant.connector2d.pooled(self.vision2d.grid()).iter().product();
        match self.variant.visual_tokens {
            VisualTokens::Both => tokens3d + tokens2d,
            VisualTokens::Vision3d => tokens3d,
            VisualTokens::Vision2d => tokens2d,
        }
    }

    /// 3D tokens that the language model gets of a volume.
    pub(crate) fn visual_tokens_3d(&self) -> i64 {
        if self.variant.visual_tokens == VisualTokens::Vision2d { 0 } else { self.pooled_grid().iter().product() }
    }

    /// The 3D tokens' grid after pooling, D H W.
    pub(crate) fn pooled_grid(&self) -> [i64; 3] {
        self.variant.connector3d.pooled(self.vision3d.grid())
    }

    /// With M3D-CLIP's published text encoder, where the variant needs one and no sizes are stated.
    pub(crate) fn completed(&self) -> Med2e3Config {
        let mut config = self.clone();
        if config.variant.needs_text_encoder() && config.text_encoder.is_none() {
            config.text_encoder = Some(BertConfig::base_uncased());
        }
        config
    }

    /// With an embedding table of so many rows, where none are stated.
    pub(crate) fn for_vocabulary(mut self, rows: i64) -> Med2e3Config {
        if self.llm.vocab_size == 0 {
            self.llm.vocab_size = rows;
        }
        self
    }

    /// Checks what concerns several parts.
    ///
    /// # Errors
    /// The first field out of range.
    pub(crate) fn check(&self) -> Result<(), ModelError> {
        sizes::check(self)?;
        self.lora.as_ref().map_or(Ok(()), LoraConfig::check)?;
        let variant = &self.variant;
        let [_, height, width] = self.vision3d.img_size;
        let size = self.vision2d.image_size;
        if variant.needs_2d() && [height, width] != [size; 2] {
            let expected = format!("{height} = {width}, the volume's slice");
            return Err(ModelError::config("vision2d.image_size", expected, size));
        }
        if !(f64::MIN_POSITIVE..f64::INFINITY).contains(&variant.temperature) {
            return Err(ModelError::config("variant.temperature", "above 0", variant.temperature));
        }
        if !(0.0..1.0).contains(&variant.score_dropout) {
            return Err(ModelError::config("variant.score_dropout", "0 to below 1", variant.score_dropout));
        }
        if variant.needs_text_encoder() && self.text_encoder.is_none() {
            return Err(ModelError::config("text_encoder", "the sizes of M3D-CLIP's text encoder", "nothing"));
        }
        if let Aggregate::TopK(k) = variant.aggregate
            && !(1..=self.slice_count() as usize).contains(&k)
        {
            return Err(ModelError::config("variant.aggregate.top_k", format!("1 to {}", self.slice_count()), k));
        }
        Ok(())
    }
}
