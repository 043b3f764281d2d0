//! What of a model is trained, and how: a part, or a piece of the language model, each with a rate and a decay of its own.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::part::Part;
use crate::words::words;

/// What is trained in a way of its own: the language model in three pieces, any other part as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Piece {
    /// The language model's blocks and the norm after them.
    LlmBlocks,
    /// Its input embeddings, which are the output matrix too where the model has one table for both.
    LlmEmbeddings,
    /// Its output matrix, where that is a table of its own.
    LlmHead,
    /// The 2D encoder.
    Vision2dModel,
    /// The 2D connector.
    Vision2dConnector,
    /// The 3D encoder.
    Vision3dModel,
    /// The 3D connector, and the scorer's weights.
    Vision3dConnector,
}

impl Piece {
    /// Every piece, in the order of a checkpoint.
    pub const ALL: [Piece; 7] = [
        Piece::LlmBlocks,
        Piece::LlmEmbeddings,
        Piece::LlmHead,
        Piece::Vision2dModel,
        Piece::Vision2dConnector,
        Piece::Vision3dModel,
        Piece::Vision3dConnector,
    ];

    /// The key below `model.train`.
    pub fn name(self) -> &'static str {
        match self {
            Piece::LlmBlocks => "llm.blocks",
            Piece::LlmEmbeddings => "llm.embeddings",
            Piece::LlmHead => "llm.head",
            _ => self.part().name(),
        }
    }

    /// The part that it is of.
    pub fn part(self) -> Part {
        match self {
            Piece::LlmBlocks | Piece::LlmEmbeddings | Piece::LlmHead => Part::Llm,
            Piece::Vision2dModel => Part::Vision2dModel,
            Piece::Vision2dConnector => Part::Vision2dConnector,
            Piece::Vision3dModel => Part::Vision3dModel,
            Piece::Vision3dConnector => Part::Vision3dConnector,
        }
    }

    /// The pieces of a part.
    pub fn of_part(part: Part) -> impl Iterator<Item = Piece> {
        Piece::ALL.into_iter().filter(move |piece| piece.part() == part)
    }
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}

words! {
    /// How a piece is trained.
    #[derive(Default)]
    pub enum How {
        /// It stays as it is.
        #[default]
        Frozen = "frozen",
        /// Every weight of it learns.
        Full = "full",
        /// Its adapters learn, its own weights stay.
        Lora = "lora",
    }
}

/// How a piece is trained, with a rate or a decay of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tuning {
    /// How it is trained.
    pub how: How,
    /// Its peak learning rate, in place of the run's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub learning_rate: Option<f64>,
    /// Weight decay of its matrices, in place of the run's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub weight_decay: Option<f64>,
}

impl Tuning {
    /// With the run's rate and decay.
    pub fn of(how: How) -> Tuning {
        Tuning { how, ..Tuning::default() }
    }
}

/// How each piece is trained; one that is not named is frozen.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tunings(BTreeMap<Piece, Tuning>);

impl Tunings {
    /// How a piece is trained.
    pub fn of(&self, piece: Piece) -> Tuning {
        self.get(piece).unwrap_or_default()
    }

    /// How a piece is trained, where that was stated.
    pub fn get(&self, piece: Piece) -> Option<Tuning> {
        self.0.get(&piece).copied()
    }

    /// States how a piece is trained.
    pub fn set(&mut self, piece: Piece, tuning: Tuning) {
        self.0.insert(piece, tuning);
    }

    /// The pieces that are not frozen.
    pub fn learning(&self) -> impl Iterator<Item = (Piece, How)> {
        self.0.iter().map(|(piece, tuning)| (*piece, tuning.how)).filter(|(_, how)| *how != How::Frozen)
    }

    /// What is trained, in words: `llm` where all its pieces are, `llm.blocks by adapters`.
    pub fn names(&self) -> Vec<String> {
        let is_full = |piece: &Piece| self.of(*piece).how == How::Full;
        let is_whole = Piece::of_part(Part::Llm).all(|piece| is_full(&piece));
        let mut names = Vec::new();
        for (piece, how) in self.learning() {
            let name = match how {
                How::Lora => format!("{piece} by adapters"),
                _ if is_whole && piece.part() == Part::Llm => Part::Llm.name().to_owned(),
                _ => piece.name().to_owned(),
            };
            if names.last() != Some(&name) {
                names.push(name);
            }
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_trained_is_said_in_few_words() {
        let mut tunings = Tunings::default();
        for piece in Piece::of_part(Part::Llm) {
            tunings.set(piece, Tuning::of(How::Full));
        }
        tunings.set(Piece::Vision2dModel, Tuning::of(How::Frozen));
        assert_eq!(tunings.names(), ["llm"]);
        tunings.set(Piece::LlmBlocks, Tuning::of(How::Lora));
        tunings.set(Piece::Vision3dConnector, Tuning::of(How::Full));
        assert_eq!(tunings.names(), ["llm.blocks by adapters", "llm.embeddings", "llm.head", "vision3d_connector"]);
    }
}
