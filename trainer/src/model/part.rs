//! The parts of a model that are stored and trained separately.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A separately stored and separately trained part of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
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
