//! The published names of weights, and loading that accepts nothing less and nothing more.
//!
//! A part's names are those of the files that transformers and the released checkpoints hold. No other module knows one.

mod m3d_clip_config;
mod names;
mod nearest;
mod strict;

use std::fmt;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor, no_grad};

use super::language_model::LanguageModel;
use super::layers::Init;
use super::lora::ALL_LINEAR;
use super::scorer::ScorerLayer;
use super::{LoraConfig, M3dClip, Med2e3, Med2e3Config, ModelError};
pub use names::{connector_kind, preset_of};
use nearest::nearest;
use strict::Names;

/// A separately stored and separately trained piece of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The language model.
    Llm,
    /// The 2D encoder.
    Vision2dModel,
    /// The 2D connector.
    Vision2dConnector,
    /// The 3D encoder.
    Vision3dModel,
    /// The 3D connector, and the scorer's weights where it has any.
    Vision3dConnector,
}

impl Part {
    /// Every part, in the order of a checkpoint.
    pub const ALL: [Part; 5] =
        [Part::Llm, Part::Vision2dModel, Part::Vision2dConnector, Part::Vision3dModel, Part::Vision3dConnector];

    /// The name in configs and checkpoint folders.
    pub fn name(self) -> &'static str {
        match self {
            Part::Llm => "llm",
            Part::Vision2dModel => "vision2d_model",
            Part::Vision2dConnector => "vision2d_connector",
            Part::Vision3dModel => "vision3d_model",
            Part::Vision3dConnector => "vision3d_connector",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Med2e3 {
    /// The part's weights by published name, sharing storage with the model. Empty for a part that the variant does not
    /// build.
    pub fn parameters(&self, part: Part) -> Vec<(String, Tensor)> {
        names::of(self, part)
    }

    /// Weights of the part, counted by element.
    pub fn parameter_count(&self, part: Part) -> u64 {
        self.parameters(part).iter().map(|(_, tensor)| tensor.numel() as u64).sum()
    }

    /// Gives the part the weights of a file: `given` are its tensors' names and shapes, `read` hands out one of them,
    /// which the model keeps, turned to its own kind and device. One tensor is read at a time.
    ///
    /// Returns the names that were passed over: what a published file holds beside the part (a text tower, a pooling
    /// head, a logit scale, the copy of a tied table).
    ///
    /// # Errors
    /// A name is missing or unexpected, or a shape differs: nothing is read then. Or a tensor can't be read; the part is
    /// then spoiled.
    pub fn load<E: From<ModelError>>(
        &mut self,
        part: Part,
        given: &[(String, Vec<i64>)],
        read: impl FnMut(&str) -> Result<Tensor, E>,
    ) -> Result<Vec<String>, E> {
        self.with_names(part, |names| strict::load(names, self.parameters(part), given, read))
    }

    /// [`Med2e3::load`] from tensors in memory, which are copied.
    ///
    /// # Errors
    /// As [`Med2e3::load`]; the model is then unchanged.
    pub fn load_tensors(&mut self, part: Part, tensors: &[(String, Tensor)]) -> Result<Vec<String>, ModelError> {
        self.with_names(part, |names| strict::load_tensors(names, self.parameters(part), tensors))
    }

    fn with_names<R>(&self, part: Part, body: impl FnOnce(&Names<'_>) -> R) -> R {
        let llm = &self.config().llm;
        body(&Names {
            part: part.name(),
            published: &|name, own| names::published(part, name, own),
            is_foreign: &|name| names::is_foreign(part, name, llm),
        })
    }

    /// Turns every weight to a kind of floats, in place.
    pub fn to_kind(&mut self, kind: Kind) {
        let parts = Part::ALL.into_iter().flat_map(|part| self.parameters(part));
        for (_, tensor) in parts.chain(self.adapters()) {
            let turned = no_grad(|| tensor.to_kind(kind));
            strict::adopt(tensor, &turned);
        }
    }

    /// Makes exactly these parts trainable. Where the language model has adapters, they are trained in its stead. Weights
    /// that no result depends on (a published norm that the variant does not use) are listed as trainable too and simply
    /// never get a gradient.
    pub fn set_trainable(&self, parts: &[Part]) {
        let adapters = self.adapters();
        for part in Part::ALL {
            let is_base = part == Part::Llm && !adapters.is_empty();
            for (_, tensor) in self.parameters(part) {
                let _ = tensor.set_requires_grad(parts.contains(&part) && !is_base);
            }
        }
        for (_, tensor) in adapters {
            let _ = tensor.set_requires_grad(parts.contains(&Part::Llm));
        }
    }

    /// The trainable weights as `part/published name`, adapters as `adapters/published name`, in a fixed order.
    pub fn trainable(&self) -> Vec<(String, Tensor)> {
        let of_part = |part: Part| {
            let named = self.parameters(part).into_iter();
            named.map(move |(name, tensor)| (format!("{part}/{name}"), tensor))
        };
        let adapters = self.adapters().into_iter().map(|(name, tensor)| (format!("adapters/{name}"), tensor));
        let all = Part::ALL.into_iter().flat_map(of_part).chain(adapters);
        all.filter(|(_, tensor)| tensor.requires_grad()).collect()
    }
}

/// What becomes of the map that a released checkpoint's scorer puts behind its text feature. Its authors trained and saved
/// it, but their own evaluation never loads it and scores slices through a random one (`connector/base.py`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum TextProjection {
    /// The trained one, as saved.
    Restored,
    /// A new one from the seed, as in the released evaluation.
    Fresh,
}

impl Med2e3 {
    /// First values for a connector that no file brings, and for its scorer's layer: the config's initializer and zeros.
    pub fn draw_connector(&mut self, part: Part, seed: u64) {
        let tensors = self.parameters(part).into_iter().map(|(_, tensor)| tensor).collect();
        self.draw(tensors, seed);
    }

    /// First values for the map behind the text feature, where the scorer has one.
    pub fn draw_text_projection(&mut self, seed: u64) {
        let layer = self.scorer.layer().filter(|(layer, _)| *layer == ScorerLayer::TextProjection);
        let tensors = layer.into_iter().flat_map(|(_, linear)| std::iter::once(&linear.weight).chain(&linear.bias));
        self.draw(tensors.map(Tensor::shallow_clone).collect(), seed);
    }

    /// Matrices by the initializer, in this order from the seed; biases zero.
    fn draw(&mut self, tensors: Vec<Tensor>, seed: u64) {
        let init = Init::drawn(self.device(), self.kind(), self.config().initializer, seed);
        for tensor in tensors {
            let values = if tensor.dim() > 1 { init.matrix(&tensor.size()) } else { init.zeros(&tensor.size()) };
            strict::adopt(tensor, &values);
        }
    }

    /// The adapters' weights by PEFT's names, sharing storage with the model. Empty where there are none.
    pub fn adapters(&self) -> Vec<(String, Tensor)> {
        names::adapters(&self.llm)
    }

    /// Gives the adapters the weights of a file in PEFT's layout.
    ///
    /// # Errors
    /// A name is missing or unexpected, or a shape differs; the model is then unchanged.
    pub fn load_adapters(&mut self, tensors: &[(String, Tensor)]) -> Result<(), ModelError> {
        let names = Names { part: "adapters", published: &names::as_it_is, is_foreign: &|_| false };
        strict::load_tensors(&names, self.adapters(), tensors).map(drop)
    }
}

/// Puts fresh adapters beside the maps that the config's targets name.
pub(super) fn adapt(llm: &mut LanguageModel, lora: &LoraConfig, init: &Init) -> Result<(), ModelError> {
    let known: Vec<String> = llm.blocks.first().map_or(Vec::new(), |block| {
        block.linears().into_iter().map(|(role, _)| names::role_name(role).to_owned()).collect()
    });
    let targets = if lora.targets == [ALL_LINEAR] { &known } else { &lora.targets };
    if let Some(unknown) = targets.iter().find(|target| !known.contains(target)) {
        let expected = format!("some of {} (did you mean {}?)", known.join(", "), nearest(unknown, known.iter()));
        return Err(ModelError::config("lora.targets", expected, unknown));
    }
    llm.adapt(lora, init, |role| targets.iter().any(|target| target == names::role_name(role)))
}

impl Med2e3Config {
    /// Names and shapes of a part's weights, without making any: what [`Med2e3::load`] accounts against.
    ///
    /// # Errors
    /// The config's sizes do not fit together.
    pub fn parameter_shapes(&self, part: Part) -> Result<Vec<(String, Vec<i64>)>, ModelError> {
        let model = Med2e3::unloaded(self, Device::Cpu, Kind::Float)?;
        Ok(model.parameters(part).into_iter().map(|(name, tensor)| (name, tensor.size())).collect())
    }
}

impl M3dClip {
    /// All weights by published name, sharing storage with the model.
    pub fn parameters(&self) -> Vec<(String, Tensor)> {
        names::of_m3d_clip(self)
    }

    /// As [`Med2e3::load`]. Counters of older releases of transformers and idle weights of newer ones of MONAI are passed
    /// over.
    ///
    /// # Errors
    /// As [`Med2e3::load`].
    pub fn load<E: From<ModelError>>(
        &mut self,
        given: &[(String, Vec<i64>)],
        read: impl FnMut(&str) -> Result<Tensor, E>,
    ) -> Result<Vec<String>, E> {
        strict::load(&CLIP_NAMES, self.parameters(), given, read)
    }

    /// As [`Med2e3::load_tensors`].
    ///
    /// # Errors
    /// As [`Med2e3::load_tensors`].
    pub fn load_tensors(&mut self, tensors: &[(String, Tensor)]) -> Result<Vec<String>, ModelError> {
        strict::load_tensors(&CLIP_NAMES, self.parameters(), tensors)
    }
}

const CLIP_NAMES: Names<'static> =
    Names { part: "m3d_clip", published: &names::as_it_is, is_foreign: &names::is_idle_in_m3d_clip };
