//! The language model: a pre-norm decoder with rotary positions and a gated MLP. Phi-3, Llama, Mistral and Qwen2 differ in
//! how their projections are stored, which one trait hides, and in which layers attend to a window.

mod attention_weights;
mod block;
mod cache;
mod config;
mod projections;
mod rope;

use tch::{Device, Kind, Tensor};

pub use cache::KvCache;
pub use config::{Family, LanguageModelConfig, RopeScaling, SpecialIds};
pub(crate) use projections::Role;

use super::error::ModelError;
use super::layers::{Init, Linear, RmsNorm, Tape};
use super::recompute::Recomputation;
use crate::libtorch::upload;
use block::{Block, Pass};
use rope::Rope;

/// The language model.
pub struct LanguageModel {
    config: LanguageModelConfig,
    pub(crate) embedding: Tensor,
    pub(crate) blocks: Vec<Block>,
    pub(crate) norm: RmsNorm,
    /// None where the input embeddings are the output matrix too.
    pub(crate) head: Option<Linear>,
    rope: Rope,
    pub(crate) recomputation: Recomputation,
}

impl LanguageModel {
    pub(crate) fn new(config: &LanguageModelConfig, init: &Init) -> Result<LanguageModel, ModelError> {
        config.check()?;
        let (width, vocabulary) = (config.hidden_size, config.vocab_size);
        Ok(LanguageModel {
            embedding: init.table(&[vocabulary, width]),
            blocks: (0..config.num_hidden_layers).map(|layer| Block::new(config, layer, init)).collect(),
            norm: RmsNorm::new(init, width, config.rms_norm_eps),
            head: (!config.tie_word_embeddings).then(|| Linear::without_bias(init, width, vocabulary)),
            rope: Rope::new(config, init.device()),
            recomputation: Recomputation::default(),
            config: config.clone(),
        })
    }

    /// The sizes it was built with.
    pub fn config(&self) -> &LanguageModelConfig {
        &self.config
    }

    /// The device of the weights.
    pub fn device(&self) -> Device {
        self.embedding.device()
    }

    /// Input embeddings of ids of any shape, (.., E).
    pub fn embed(&self, ids: &Tensor) -> Tensor {
        Tensor::embedding(&self.embedding, ids, -1, false, false)
    }

    /// Embeddings (B, T, E) to final hidden states (B, T, E), each position attending to itself and those before it. Rows are
    /// right-padded after their `lengths`, which needs no mask: no real token ever attends to padding. `train` is the seed from
    /// which the adapters' dropout is drawn, for each map by itself; None outside training.
    ///
    /// # Errors
    /// The sequence is longer than the config's `max_position_embeddings`.
    pub fn forward(
        &self,
        embeddings_bte: &Tensor,
        lengths: &[usize],
        train: Option<u64>,
    ) -> Result<Tensor, ModelError> {
        self.read(embeddings_bte, lengths, None, train)
    }

    /// As [`LanguageModel::forward`] without training, and leaves keys and values in a fresh cache.
    ///
    /// # Errors
    /// As [`LanguageModel::forward`].
    pub fn prefill(
        &self,
        embeddings_bte: &Tensor,
        lengths: &[usize],
        cache: &mut KvCache,
    ) -> Result<Tensor, ModelError> {
        self.read(embeddings_bte, lengths, Some(cache), None)
    }

    /// One more token a row: embeddings (B, 1, E) at each row's own position, final hidden states (B, 1, E) back. A row
    /// that steps past [`LanguageModel::rope_switch`] must have been read again before, see there.
    ///
    /// # Errors
    /// A position is past the config's `max_position_embeddings`.
    pub fn step(
        &self,
        embeddings_b1e: &Tensor,
        positions_b: &[i64],
        cache: &mut KvCache,
    ) -> Result<Tensor, ModelError> {
        let lengths: Vec<usize> = positions_b.iter().map(|position| *position as usize + 1).collect();
        self.check_length(lengths.iter().copied().max().unwrap_or(0))?;
        cache.begin_step(positions_b);
        let positions_b1 = upload(&Tensor::from_slice(positions_b), embeddings_b1e.device()).unsqueeze(1);
        let angles = self.rope.angles(&positions_b1, &lengths, embeddings_b1e.kind());
        let pass = Pass { angles, window_mask: None, dropout_seed: None };
        Ok(self.pass(embeddings_b1e, &pass, Some(cache)))
    }

    /// The length past which all positions of a sequence turn by other angles (LongRoPE), so that keys in a cache are no
    /// longer valid: a row that grows past it is read again, as transformers does.
    pub fn rope_switch(&self) -> Option<usize> {
        self.config.rope_switch()
    }

    /// Reads rows again into their rows of a running cache: embeddings (R, T, E) of everything they hold. Returns their
    /// final hidden states (R, T, E).
    ///
    /// # Errors
    /// As [`LanguageModel::forward`].
    pub fn reread(
        &self,
        embeddings_rte: &Tensor,
        lengths: &[usize],
        rows: &[i64],
        cache: &mut KvCache,
    ) -> Result<Tensor, ModelError> {
        let (batch, slots, _) = embeddings_rte.size3().expect("embeddings have three axes");
        let mut fresh = KvCache::new(&self.config, batch, slots, embeddings_rte.kind(), embeddings_rte.device());
        let hidden_rte = self.prefill(embeddings_rte, lengths, &mut fresh)?;
        cache.replace_rows(&upload(&Tensor::from_slice(rows), embeddings_rte.device()), &fresh);
        Ok(hidden_rte)
    }

    /// Final hidden states (.., E) to logits (.., V).
    pub fn logits(&self, hidden: &Tensor) -> Tensor {
        hidden.linear(self.output_embedding(), None::<&Tensor>)
    }

    /// The matrix (V, E) that maps hidden states to logits.
    pub fn output_embedding(&self) -> &Tensor {
        self.head.as_ref().map_or(&self.embedding, |head| &head.weight)
    }

    fn read(
        &self,
        embeddings_bte: &Tensor,
        lengths: &[usize],
        cache: Option<&mut KvCache>,
        dropout_seed: Option<u64>,
    ) -> Result<Tensor, ModelError> {
        let width = embeddings_bte.size()[1];
        self.check_length(width as usize)?;
        let angles = self.rope.angles_from_zero(width, lengths, embeddings_bte.kind());
        let pass = Pass { angles, window_mask: self.window_mask(width), dropout_seed };
        Ok(self.pass(embeddings_bte, &pass, cache))
    }

    fn pass(&self, embeddings_bte: &Tensor, pass: &Pass, cache: Option<&mut KvCache>) -> Tensor {
        let mut hidden_bte = embeddings_bte.shallow_clone();
        match cache {
            Some(cache) => {
                for (block, layer) in self.blocks.iter().zip(&mut cache.layers) {
                    hidden_bte = block.forward(&hidden_bte, pass, &mut Tape::Computed, Some(layer));
                }
            }
            None => {
                for (index, block) in self.blocks.iter().enumerate() {
                    let (is_trained, block, pass) = (block.is_trained(), block.shallow_clone(), pass.shallow_clone());
                    let forward =
                        move |hidden_bte: &Tensor, tape: &mut Tape| block.forward(hidden_bte, &pass, tape, None);
                    hidden_bte = self.recomputation.run(index, &hidden_bte, is_trained, forward);
                }
            }
        }
        self.norm.forward(&hidden_bte)
    }

    /// (T, T), true where a query attends to a key; None where plain causal attention is the same.
    fn window_mask(&self, width: i64) -> Option<Tensor> {
        let window = self.config.sliding_window.filter(|window| *window < width as usize)?;
        let all = Tensor::ones([width, width], (Kind::Bool, self.device()));
        Some(all.tril(0).logical_and(&all.triu(1 - window as i64)))
    }

    fn check_length(&self, found: usize) -> Result<(), ModelError> {
        let expected = self.config.max_position_embeddings;
        if found <= expected { Ok(()) } else { Err(ModelError::TooLong { what: "sequence", expected, found }) }
    }
}
