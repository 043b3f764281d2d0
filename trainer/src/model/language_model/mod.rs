//! Phi-3: a pre-norm decoder with rotary positions, fused projections and a gated MLP.

mod block;
mod cache;
mod config;
mod rope;

use tch::{Device, Tensor};

pub use cache::KvCache;
pub use config::{Phi3Config, RopeScaling};

use super::config::Initializer;
use super::error::ModelError;
use super::layers::{Init, Linear, RmsNorm};
use block::Block;
use rope::Rope;

/// The language model.
pub struct Phi3 {
    config: Phi3Config,
    pub(crate) embedding: Tensor,
    pub(crate) blocks: Vec<Block>,
    pub(crate) norm: RmsNorm,
    pub(crate) head: Linear,
    rope: Rope,
}

impl Phi3 {
    /// Fresh weights from a seed, of deviation 0.02 as Phi-3's own.
    ///
    /// # Errors
    /// The config's sizes do not fit together.
    pub fn new(config: &Phi3Config, device: Device, seed: u64) -> Result<Phi3, ModelError> {
        Phi3::from_init(config, &Init::new(device, Initializer::Normal(0.02), seed), device)
    }

    pub(crate) fn from_init(config: &Phi3Config, init: &Init, device: Device) -> Result<Phi3, ModelError> {
        config.check()?;
        Ok(Phi3 {
            embedding: init.table(&[config.vocab_size, config.hidden_size]),
            blocks: (0..config.num_hidden_layers).map(|_| Block::new(config, init)).collect(),
            norm: RmsNorm::new(init, config.hidden_size, config.rms_norm_eps),
            head: Linear::without_bias(init, config.hidden_size, config.vocab_size),
            rope: Rope::new(config, device),
            config: config.clone(),
        })
    }

    /// The sizes it was built with.
    pub fn config(&self) -> &Phi3Config {
        &self.config
    }

    /// Input embeddings of ids of any shape, (.., E).
    pub fn embed(&self, ids: &Tensor) -> Tensor {
        Tensor::embedding(&self.embedding, ids, -1, false, false)
    }

    /// Embeddings (B, T, E) to final hidden states (B, T, E), each position seeing itself and those before it. Padding
    /// on the right needs no mask: no real token ever looks at it.
    ///
    /// # Errors
    /// The sequence is longer than [`Phi3Config::longest_sequence`].
    pub fn forward(&self, embeddings_bte: &Tensor) -> Result<Tensor, ModelError> {
        self.read(embeddings_bte, None)
    }

    /// As [`Phi3::forward`], and leaves keys and values in a fresh cache.
    ///
    /// # Errors
    /// As [`Phi3::forward`].
    pub fn prefill(&self, embeddings_bte: &Tensor, cache: &mut KvCache) -> Result<Tensor, ModelError> {
        self.read(embeddings_bte, Some(cache))
    }

    /// One more token a row: embeddings (B, 1, E) at each row's own position, final hidden states (B, 1, E) back.
    ///
    /// # Errors
    /// A position lies past [`Phi3Config::longest_sequence`].
    pub fn step(
        &self,
        embeddings_b1e: &Tensor,
        positions_b: &[i64],
        cache: &mut KvCache,
    ) -> Result<Tensor, ModelError> {
        self.check_length(positions_b.iter().max().map_or(0, |position| *position as usize + 1))?;
        cache.begin_step(positions_b);
        let positions_b1 = Tensor::from_slice(positions_b).to_device(embeddings_b1e.device()).unsqueeze(1);
        let angles = self.rope.angles(&positions_b1, embeddings_b1e.kind());
        let mut hidden_b1e = embeddings_b1e.shallow_clone();
        for (block, layer) in self.blocks.iter().zip(&mut cache.layers) {
            hidden_b1e = block.forward(hidden_b1e, &angles, Some(layer));
        }
        Ok(self.norm.forward(&hidden_b1e))
    }

    /// Final hidden states (.., E) to logits (.., V).
    pub fn logits(&self, hidden: &Tensor) -> Tensor {
        self.head.forward(hidden)
    }

    fn read(&self, embeddings_bte: &Tensor, cache: Option<&mut KvCache>) -> Result<Tensor, ModelError> {
        let length = embeddings_bte.size()[1];
        self.check_length(length as usize)?;
        let angles = self.rope.angles_from_zero(length, embeddings_bte.kind());
        let mut layers = cache.map(|cache| cache.layers.iter_mut());
        let mut hidden_bte = embeddings_bte.shallow_clone();
        for block in &self.blocks {
            hidden_bte = block.forward(hidden_bte, &angles, layers.as_mut().and_then(Iterator::next));
        }
        Ok(self.norm.forward(&hidden_bte))
    }

    fn check_length(&self, found: usize) -> Result<(), ModelError> {
        let expected = self.config.longest_sequence();
        if found <= expected { Ok(()) } else { Err(ModelError::TooLong { what: "sequence", expected, found }) }
    }
}
