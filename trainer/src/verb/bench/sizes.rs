//! The models that are measured.

use crate::model::{
    LanguageModelConfig, LoraConfig, M3dClipVisionConfig, Med2e3Config, Part, Preset, SiglipVisionConfig,
};
use crate::words::words;

words! {
    /// Sizes of a model.
    pub enum Sizes {
        /// Some hundred thousand weights: what a processor does in a second.
        Tiny = "tiny",
        /// The paper's: Phi-3-mini, SigLIP large, M3D-CLIP; 4.24 billion weights.
        Published = "published",
    }
}

words! {
    /// Which weights learn.
    pub enum Stage {
        /// The connectors.
        First = "1",
        /// The connectors, the language model and the 2D encoder.
        Second = "2",
    }
}

words! {
    /// How the language model learns in the second stage.
    pub enum Tune {
        /// By all its weights.
        Full = "full",
        /// By adapters of rank 16 on every map of its blocks.
        Lora = "lora",
    }
}

words! {
    /// What is computed again in the backward pass, and how many texts go through the model at once.
    pub enum Policy {
        /// Nothing.
        None = "none",
        /// Norms, activations and positions.
        Selective = "selective",
        /// Every block.
        Full = "full",
        /// What the memory model finds fastest.
        Auto = "auto",
    }
}

impl Sizes {
    /// The model.
    pub fn config(self) -> Med2e3Config {
        let published = Med2e3Config::of_preset(Preset::Paper);
        match self {
            Sizes::Published => published,
            Sizes::Tiny => Med2e3Config {
                llm: LanguageModelConfig {
                    hidden_size: 128,
                    intermediate_size: 256,
                    num_hidden_layers: 4,
                    num_attention_heads: 4,
                    num_key_value_heads: 4,
                    vocab_size: 512,
                    sliding_window: None,
                    ..published.llm
                },
                vision2d: SiglipVisionConfig {
                    hidden_size: 64,
                    intermediate_size: 128,
                    num_hidden_layers: 4,
                    num_attention_heads: 4,
                    image_size: 32,
                    patch_size: 8,
                    ..published.vision2d
                },
                vision3d: M3dClipVisionConfig {
                    img_size: [8, 32, 32],
                    patch_size: [2, 8, 8],
                    hidden_size: 64,
                    mlp_dim: 128,
                    num_layers: 2,
                    num_heads: 4,
                    ..published.vision3d
                },
                ..published
            },
        }
    }

    /// What tokens of a text beyond the visual ones are divided by.
    pub(super) fn shorter(self) -> usize {
        match self {
            Sizes::Tiny => 4,
            Sizes::Published => 1,
        }
    }
}

impl Stage {
    /// The parts that learn.
    pub fn parts(self) -> &'static [Part] {
        match self {
            Stage::First => &[Part::Vision2dConnector, Part::Vision3dConnector],
            Stage::Second => &[Part::Llm, Part::Vision2dModel, Part::Vision2dConnector, Part::Vision3dConnector],
        }
    }
}

impl Tune {
    /// The adapters, where there are any.
    pub fn lora(self) -> Option<LoraConfig> {
        match self {
            Tune::Full => None,
            Tune::Lora => Some(LoraConfig::plain(16, 32.0, 0.05, vec!["all-linear".into()])),
        }
    }
}
