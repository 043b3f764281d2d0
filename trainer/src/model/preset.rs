//! Variants by name: the rows of the paper's tables, and the released code's.

use super::config::{Aggregate, LocalFeature, Med2e3Config, Scorer, TextFeature, Variant, VisualTokens};
use super::connector::ConnectorKind;
use super::encoder2d::{SiglipVisionConfig, SliceNorm};
use super::encoder3d::M3dClipVisionConfig;
use super::language_model::LanguageModelConfig;
use super::layers::Initializer;
use super::text_encoder::BertConfig;
use crate::words::words;

words! {
    /// A named variant. Table 3 is `vision3d_only`, `vision2d_only`, `paper`; table 4 `mean`, `max`, `random`, `gauss`; table 5
    /// `linear_*`, `text_*`, `paper`.
    pub enum Preset {
        /// The paper's first version: dot product with the mean embedding of the question, no projection.
        Paper = "paper",
        /// The released code: M3D-CLIP's text feature, projected, divided by 5.
        Released = "released",
        /// 3D tokens alone.
        Vision3dOnly = "vision3d_only",
        /// 2D tokens alone, slices scored by the question and their own tokens.
        Vision2dOnly = "vision2d_only",
        /// The mean of all slices at each place.
        Mean = "mean",
        /// The maximum of all slices at each place.
        Max = "max",
        /// Slices weighed by the softmax of normal draws.
        Random = "random",
        /// Slices weighed by a bell over their index.
        Gauss = "gauss",
        /// The mean of the three slices that the question scores highest.
        Top3 = "top3",
        /// A learned score of a slice's 3D and 2D tokens, without the question.
        LinearBoth = "linear_both",
        /// A learned score of its 3D tokens.
        Linear3d = "linear_3d",
        /// A learned score of its 2D tokens.
        Linear2d = "linear_2d",
        /// As `paper`, slices seen by their 3D tokens alone.
        Text3d = "text_3d",
        /// As `paper`, slices seen by their 2D tokens alone.
        Text2d = "text_2d",
        /// As `released`, slices seen by their 3D tokens alone.
        Released3d = "released_3d",
        /// As `released`, slices seen by their 2D tokens alone.
        Released2d = "released_2d",
        /// M3D-LaMed: 3D tokens alone, after the encoder's last norm.
        M3dLamed = "m3d_lamed",
    }
}

impl Preset {
    /// The choices of that name.
    pub fn variant(self) -> Variant {
        let paper = Variant {
            text_feature: TextFeature::LlmEmbedding,
            local_feature: LocalFeature::Both,
            scorer: Scorer::TextGuided,
            aggregate: Aggregate::Scores,
            visual_tokens: VisualTokens::Both,
            temperature: 1.0,
            score_dropout: 0.1,
            final_norm: false,
            slice_norm: SliceNorm::None,
            connector3d: ConnectorKind::SPATIAL_POOLING_MLP2X,
            connector2d: ConnectorKind::MLP2X,
            max_length: 768,
        };
        let released = Variant { text_feature: TextFeature::M3dClip, temperature: 5.0, ..paper.clone() };
        // The released code's fixed weights go through no dropout.
        let fixed = |scorer| Variant { scorer, score_dropout: 0.0, ..paper.clone() };
        let linear = |local_feature| Variant { scorer: Scorer::Linear, local_feature, ..paper.clone() };
        match self {
            Preset::Paper => paper,
            Preset::Released => released,
            Preset::Vision3dOnly => Variant { visual_tokens: VisualTokens::Vision3d, ..paper },
            Preset::Vision2dOnly => {
                Variant { visual_tokens: VisualTokens::Vision2d, local_feature: LocalFeature::Vision2d, ..paper }
            }
            Preset::Mean => Variant { aggregate: Aggregate::Mean, ..fixed(Scorer::Uniform) },
            Preset::Max => Variant { aggregate: Aggregate::Max, ..fixed(Scorer::Uniform) },
            Preset::Random => fixed(Scorer::Random),
            Preset::Gauss => fixed(Scorer::Gauss),
            Preset::Top3 => Variant { aggregate: Aggregate::TopK(3), ..paper },
            Preset::LinearBoth => linear(LocalFeature::Both),
            Preset::Linear3d => linear(LocalFeature::Vision3d),
            Preset::Linear2d => linear(LocalFeature::Vision2d),
            Preset::Text3d => Variant { local_feature: LocalFeature::Vision3d, ..paper },
            Preset::Text2d => Variant { local_feature: LocalFeature::Vision2d, ..paper },
            Preset::Released3d => Variant { local_feature: LocalFeature::Vision3d, ..released },
            Preset::Released2d => Variant { local_feature: LocalFeature::Vision2d, ..released },
            Preset::M3dLamed => {
                Variant { visual_tokens: VisualTokens::Vision3d, final_norm: true, max_length: 512, ..paper }
            }
        }
    }
}

impl Med2e3Config {
    /// The published parts, joined as the preset states: about 4.36 billion parameters for the paper's. The language model is
    /// the 4k Phi-3-mini; the 128k one differs in `rope_scaling`, whose factors come from its config.json.
    pub fn of_preset(preset: Preset) -> Med2e3Config {
        let variant = preset.variant();
        Med2e3Config {
            llm: LanguageModelConfig::phi3_mini_4k(),
            vision2d: SiglipVisionConfig::large_patch16_256(),
            vision3d: M3dClipVisionConfig::m3d_clip(),
            text_encoder: variant.needs_text_encoder().then(BertConfig::base_uncased),
            variant,
            initializer: Initializer::Normal(0.02),
            lora: None,
        }
    }
}
