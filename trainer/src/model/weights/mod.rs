//! The published names of weights, and loading that accepts nothing less and nothing more.
//!
//! A part's names are those in the files of transformers and of the released checkpoints. No other module knows one.
//!
//! # Layout
//! - `names`: the names of every part; `roles`: of the maps of a block
//! - `strict`: loading; `nearest`: the name that was probably meant
//! - `adapt`: adapters by name; `m3d_clip_config`: sizes that the weights of M3D-CLIP show

pub(crate) mod adapt;
mod m3d_clip_config;
mod names;
mod nearest;
pub(crate) mod roles;
mod strict;

use tch::{Device, Kind, Tensor, no_grad};

use super::layers::Init;
pub use super::lora::Table;
use super::piece::{How, Piece, Tuning, Tunings};
use super::scorer::ScorerLayer;
use super::{Embedder, M3dClip, Med2e3, Med2e3Config, ModelError, Part};
use crate::words::words;
pub use names::{connector_kind, is_idle, preset_of};
use strict::Names;

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

    /// Gives the part the weights of a file: `given` are its tensors' names and shapes, `read` returns one of them, which the
    /// model keeps, converted to its own kind and device. One tensor is read at a time.
    ///
    /// Returns the names that were passed over: what a published file holds in addition to the part (a text tower, a
    /// pooling head, a logit scale, the copy of a tied table).
    ///
    /// # Errors
    /// A name is missing or unexpected, or a shape differs: nothing is read then. Or a tensor can't be read; the part is
    /// then unusable.
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

    /// Converts every weight to a kind of floats, in place.
    pub fn to_kind(&mut self, kind: Kind) {
        self.convert(kind, |_| true);
    }

    /// Converts every weight that is not trained to a kind of floats, in place.
    pub fn frozen_to_kind(&mut self, kind: Kind) {
        self.convert(kind, |tensor| !tensor.requires_grad());
    }

    fn convert(&mut self, kind: Kind, is_wanted: impl Fn(&Tensor) -> bool) {
        let parts = Part::ALL.into_iter().flat_map(|part| self.parameters(part));
        for (_, tensor) in parts.chain(self.adapters()).filter(|(_, tensor)| is_wanted(tensor)) {
            let converted = no_grad(|| tensor.to_kind(kind));
            strict::adopt(tensor, &converted);
        }
    }

    /// Makes exactly these parts trainable. Where the language model has adapters, they are trained instead of it. Weights
    /// that no result depends on (a published norm that the variant does not use) are listed as trainable too and simply
    /// never get a gradient.
    pub fn set_trainable(&self, parts: &[Part]) {
        let mut tunings = Tunings::default();
        for piece in parts.iter().flat_map(|part| Piece::of_part(*part)) {
            let how = match piece.part() {
                Part::Llm if self.config().lora.is_some() && piece == Piece::LlmBlocks => How::Lora,
                Part::Llm if self.config().lora.is_some() => How::Frozen,
                _ => How::Full,
            };
            tunings.set(piece, Tuning::of(how));
        }
        self.tune(&tunings);
    }

    /// Makes exactly these pieces trainable, each by its own weights or by its adapters.
    pub fn tune(&self, tunings: &Tunings) {
        for part in Part::ALL {
            for (name, tensor) in self.parameters(part) {
                let _ = tensor.set_requires_grad(tunings.of(names::piece_of(part, &name)).how == How::Full);
            }
        }
        for (_, tensor) in self.adapters() {
            let _ = tensor.set_requires_grad(tunings.of(Piece::LlmBlocks).how == How::Lora);
        }
    }

    /// The trainable weights in the order of [`Med2e3::trainable`], each with how its piece is trained.
    pub fn trained(&self, tunings: &Tunings) -> Vec<(String, Tensor, Tuning)> {
        let with_own = |(name, tensor): (String, Tensor)| {
            let of =
                Part::ALL.into_iter().find_map(|part| Some((part, name.strip_prefix(part.name())?.strip_prefix('/')?)));
            let piece = of.map_or(Piece::LlmBlocks, |(part, name)| names::piece_of(part, name));
            (name, tensor, tunings.of(piece))
        };
        self.trainable().into_iter().map(with_own).collect()
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

words! {
    /// What becomes of the map that a released checkpoint's scorer applies to its text feature. Its authors trained and saved
    /// it, but their own evaluation never loads it and scores slices through a random one (`connector/base.py`).
    pub enum TextProjection {
        /// The trained one, as saved.
        Restored = "restored",
        /// A new one from the seed, as in the released evaluation.
        Fresh = "fresh",
    }
}

impl Med2e3 {
    /// First values for every weight of a model built in name and shape, drawn on its device by libtorch's global generator: fast at
    /// any size, and other values on another kind of device. Matrices and tables are N(0, `deviation`), norms 1, biases 0.
    pub fn draw_on_device(&mut self, deviation: f64) {
        let options = (self.kind(), self.device());
        for (name, weight) in Part::ALL.into_iter().flat_map(|part| self.parameters(part)) {
            let size = weight.size();
            let values = match (size.len() > 1, name.ends_with("weight")) {
                (true, _) => no_grad(|| Tensor::empty(&size, options).normal_(0.0, deviation)),
                (false, is_norm) => Tensor::full(&size, f64::from(u8::from(is_norm)), options),
            };
            strict::adopt(weight, &values);
        }
    }

    /// First values for a connector without a file, and for its scorer's layer: the config's initializer and zeros.
    pub fn draw_connector(&mut self, part: Part, seed: u64) {
        let tensors = self.parameters(part).into_iter().map(|(_, tensor)| tensor).collect();
        self.draw(tensors, seed);
    }

    /// First values for the map of the text feature, where the scorer has one.
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

    /// The tables that are stored with the adapters ([`LoraConfig::tables`](super::LoraConfig)), as
    /// [`Med2e3::adapters`].
    pub fn adapter_tables(&self) -> Vec<(String, Tensor)> {
        self.config().lora.as_ref().map_or(Vec::new(), |lora| names::adapter_tables(&self.llm, &lora.tables))
    }

    /// Gives the adapters the weights of a file in PEFT's layout, and the language model the tables that were saved with
    /// them.
    ///
    /// # Errors
    /// A name is missing or unexpected, or a shape differs; the model is then unchanged.
    pub fn load_adapters(&mut self, tensors: &[(String, Tensor)]) -> Result<(), ModelError> {
        let is_table = |name: &str| Table::of_weight(name).is_some();
        let names = Names { part: "adapters", published: &names::as_it_is, is_foreign: &is_table };
        let own = self.parameters(Part::Llm);
        let mut tables: Vec<(&Tensor, Tensor)> = Vec::new();
        for (name, tensor) in tensors {
            let Some(table) = Table::of_weight(name) else { continue };
            // A model with one table for both has it under the embedding's name.
            let wanted = [table.name(), Table::Embeddings.name()];
            let found = wanted.iter().find_map(|name| own.iter().find(|(own, _)| own == name));
            let (_, weight) = found.expect("every language model has an embedding");
            if weight.size() != tensor.size() {
                let (expected, found) = (weight.size(), tensor.size());
                return Err(ModelError::WeightShape { part: "adapters", name: name.clone(), expected, found });
            }
            let is_same =
                |(other, values): &(&Tensor, Tensor)| other.data_ptr() != weight.data_ptr() || values.equal(tensor);
            if !tables.iter().all(is_same) {
                let expected = "one table, as the model has for embedding and head";
                return Err(ModelError::config("adapters", expected, "two that differ"));
            }
            tables.push((weight, tensor.shallow_clone()));
        }
        let stored = self.adapter_tables();
        let is_there = |name: &str| tensors.iter().any(|(other, _)| Table::of_weight(other) == Table::of_weight(name));
        if let Some((name, _)) = stored.into_iter().find(|(name, _)| !is_there(name)) {
            let nearest = nearest::nearest(&name, tensors.iter().map(|(name, _)| name));
            return Err(ModelError::MissingWeight { part: "adapters", name, nearest });
        }
        strict::load_tensors(&names, self.adapters(), tensors)?;
        for (weight, values) in tables {
            let values = values.detach().copy().to_device(weight.device()).to_kind(weight.kind());
            strict::adopt(weight.shallow_clone(), &values);
        }
        Ok(())
    }
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

    /// As [`Med2e3::load`] for the text encoder alone, from a published BERT. Its heads for pretraining are passed over.
    ///
    /// # Errors
    /// As [`Med2e3::load`].
    pub fn load_text_encoder<E: From<ModelError>>(
        &mut self,
        given: &[(String, Vec<i64>)],
        read: impl FnMut(&str) -> Result<Tensor, E>,
    ) -> Result<Vec<String>, E> {
        strict::load(&BERT_NAMES, names::of_bert(&self.text), given, read)
    }

    /// As [`Med2e3::load_tensors`].
    ///
    /// # Errors
    /// As [`Med2e3::load_tensors`].
    pub fn load_tensors(&mut self, tensors: &[(String, Tensor)]) -> Result<Vec<String>, ModelError> {
        strict::load_tensors(&CLIP_NAMES, self.parameters(), tensors)
    }
}

impl Embedder {
    /// As [`Med2e3::load`], from a published BERT or RoBERTa. Later blocks, the pooler and heads are passed over.
    ///
    /// # Errors
    /// As [`Med2e3::load`].
    pub fn load<E: From<ModelError>>(
        &mut self,
        given: &[(String, Vec<i64>)],
        read: impl FnMut(&str) -> Result<Tensor, E>,
    ) -> Result<Vec<String>, E> {
        let blocks = self.config().num_hidden_layers;
        let names = Names {
            part: "text_encoder",
            published: &names::in_embedder,
            is_foreign: &|name| names::is_foreign_in_embedder(name, blocks),
        };
        strict::load(&names, names::of_embedder(self), given, read)
    }
}

const BERT_NAMES: Names<'static> =
    Names { part: "text_encoder", published: &names::in_bert, is_foreign: &names::is_foreign_in_bert };

const CLIP_NAMES: Names<'static> =
    Names { part: "m3d_clip", published: &names::as_it_is, is_foreign: &names::is_idle_in_m3d_clip };
