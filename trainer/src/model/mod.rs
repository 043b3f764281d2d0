//! Med-2E3: one CT volume encoded in 3D and, slice by slice, in 2D; slices weighed by the question; both kinds of tokens
//! spliced into a language model.
//!
//! # Layout
//! - [`config`]: the choices, as named values; [`preset`]: the paper's and the released code's choices of them; sizes
//!   come from the parts' own config.json
//! - [`med2e3`]: the whole model: volume and ids in, loss and scores out
//! - [`encoder3d`], [`encoder2d`], [`connector`]: voxels to visual tokens
//! - [`input`]: what it takes; [`batch_plan`], `mentions`, `draws`: what follows from the ids alone
//! - [`scorer`], `slice_tokens`: 32 slices to the tokens of one
//! - [`splice`]: visual tokens into text
//! - [`language_model`]: Phi-3, Llama, Mistral, Qwen2; [`lora`]: adapters in it
//! - [`text_encoder`] is BERT and RoBERTa; [`m3d_clip`] joins it and the 3D encoder for retrieval, [`contrastive`] trains both
//! - `layers`: the small layers of all parts
//! - [`loss`]: next-token cross-entropy; [`logits`]: the logits themselves, to compare them
//! - `probe`: how likely stated answers are with other scores, and where they look
//! - [`recompute`]: what blocks keep for their backward pass, and what they make again
//! - `sizes`: the range of every number; `limits`: the numbers of it that schemas state too
//! - [`part`]: the parts that are stored separately; [`piece`]: what is trained in a way of its own, and how
//! - [`weights`]: published names and strict loading; [`published`]: published sizes
//!
//! Nothing here knows of files. Shapes are checked where tensors enter; past that, an operation that libtorch rejects
//! is a bug and panics.

pub mod batch_plan;
pub mod config;
pub mod connector;
pub mod contrastive;
pub(crate) mod draws;
pub mod encoder2d;
pub mod encoder3d;
pub mod error;
pub mod input;
pub mod language_model;
mod layers;
mod limits;
pub mod logits;
pub mod lora;
pub mod loss;
pub mod m3d_clip;
pub mod med2e3;
mod mentions;
pub mod part;
pub mod piece;
pub mod preset;
pub(crate) mod probe;
pub mod published;
pub mod recompute;
pub mod scorer;
mod sizes;
mod slice_tokens;
pub mod splice;
pub mod text_encoder;
pub mod weights;

pub use config::{Aggregate, LocalFeature, Med2e3Config, Scorer, TextFeature, Variant, VisualTokens};
pub use connector::ConnectorKind;
pub use encoder2d::{SiglipVisionConfig, SliceNorm};
pub use encoder3d::M3dClipVisionConfig;
pub use error::ModelError;
pub use input::{ModelInput, PaddedTexts, TargetWeights, TextInput};
pub use language_model::LanguageModelConfig;
pub use layers::Initializer;
pub use lora::{LoraConfig, LoraScale};
pub use m3d_clip::{M3dClip, M3dClipConfig};
pub use med2e3::{Med2e3, ModelOutput, VisualFeatures};
pub use part::Part;
pub use preset::Preset;
pub use recompute::Recompute;
pub use text_encoder::{Bert, BertConfig, Embedder, TextArchitecture, TextFeatures};
