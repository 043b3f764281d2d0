//! The published names of weights, and loading that accepts nothing less and nothing more.
//!
//! A part's names are those of the files that transformers and the released checkpoints hold. No other module knows one.

mod m3d_clip_config;
mod names;
mod nearest;
mod strict;

use std::fmt;

use serde::{Deserialize, Serialize};
use tch::Tensor;

pub use m3d_clip_config::PublishedM3dClip;

use super::{M3dClip, Med2e3, ModelError};

/// A separately stored and separately trained piece of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
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

    /// Copies weights into the part, converted to the model's kind and device.
    ///
    /// Tensors that a published file holds beside the part (a text tower, a pooling head, a logit scale) are passed over.
    ///
    /// # Errors
    /// A name is missing or unexpected, or a shape differs; the model is then unchanged.
    pub fn load(&mut self, part: Part, tensors: Vec<(String, Tensor)>) -> Result<(), ModelError> {
        let is_foreign = |name: &str| names::is_foreign(part, name);
        strict::load(part.name(), self.parameters(part), tensors, is_foreign)
    }

    /// Makes exactly these parts trainable. Weights that no result depends on (a published norm that the variant does
    /// not use) are listed as trainable too and simply never get a gradient.
    pub fn set_trainable(&self, parts: &[Part]) {
        for part in Part::ALL {
            for (_, tensor) in self.parameters(part) {
                let _ = tensor.set_requires_grad(parts.contains(&part));
            }
        }
    }

    /// The trainable weights as `part/published name`, in a fixed order.
    pub fn trainable(&self) -> Vec<(String, Tensor)> {
        let of_part = |part: Part| {
            let named = self.parameters(part).into_iter();
            named.map(move |(name, tensor)| (format!("{part}/{name}"), tensor))
        };
        Part::ALL.into_iter().flat_map(of_part).filter(|(_, tensor)| tensor.requires_grad()).collect()
    }
}

impl M3dClip {
    /// All weights by published name, sharing storage with the model.
    pub fn parameters(&self) -> Vec<(String, Tensor)> {
        names::of_m3d_clip(self)
    }

    /// Copies weights into the model, converted to its kind and device.
    ///
    /// Counters that older releases of transformers stored among the text half's weights are passed over.
    ///
    /// # Errors
    /// A name is missing or unexpected, or a shape differs; the model is then unchanged.
    pub fn load(&mut self, tensors: Vec<(String, Tensor)>) -> Result<(), ModelError> {
        strict::load("m3d_clip", self.parameters(), tensors, names::is_bert_counter)
    }
}
