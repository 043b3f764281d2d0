//! Variants by name: the rows of the paper's tables, and the released code's.

use serde::{Deserialize, Serialize};

use super::config::{Aggregate, LocalFeature, Scorer, SliceNorm, TextFeature, Variant, VisualTokens};
use super::connector::ConnectorKind;

/// A named variant. Table 3 is `vision3d_only`, `vision2d_only`, `paper`; table 4 `mean`, `max`, `random`, `gauss`; table 5
/// `linear_*`, `text_*`, `paper`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Preset {
    /// The paper's first version: dot product with the mean embedding of the question, no projection.
    Paper,
    /// The released code: M3D-CLIP's text feature, projected, divided by 5.
    Released,
    /// 3D tokens alone.
    Vision3dOnly,
    /// 2D tokens alone, slices scored by the question and their own tokens.
    Vision2dOnly,
    /// The mean of all slices at each place.
    Mean,
    /// The maximum of all slices at each place.
    Max,
    /// Slices weighed by the softmax of normal draws.
    Random,
    /// Slices weighed by a bell over their index.
    Gauss,
    /// The mean of the three slices that the question scores highest.
    Top3,
    /// A learned score of a slice's 3D and 2D tokens, without the question.
    LinearBoth,
    /// A learned score of its 3D tokens.
    #[serde(rename = "linear_3d")]
    #[value(name = "linear_3d")]
    Linear3d,
    /// A learned score of its 2D tokens.
    #[serde(rename = "linear_2d")]
    #[value(name = "linear_2d")]
    Linear2d,
    /// As `paper`, slices seen by their 3D tokens alone.
    #[serde(rename = "text_3d")]
    #[value(name = "text_3d")]
    Text3d,
    /// As `paper`, slices seen by their 2D tokens alone.
    #[serde(rename = "text_2d")]
    #[value(name = "text_2d")]
    Text2d,
    /// As `released`, slices seen by their 3D tokens alone.
    #[serde(rename = "released_3d")]
    #[value(name = "released_3d")]
    Released3d,
    /// As `released`, slices seen by their 2D tokens alone.
    #[serde(rename = "released_2d")]
    #[value(name = "released_2d")]
    Released2d,
    /// M3D-LaMed: 3D tokens alone, after the encoder's last norm.
    M3dLamed,
}

impl Preset {
    /// What the name stands for.
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
