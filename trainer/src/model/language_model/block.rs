//! One decoder block.

use tch::{Kind, Tensor};

use super::cache::LayerCache;
use super::config::LanguageModelConfig;
use super::projections::{self, Maps, Projections, Role};
use super::rope::Angles;
use crate::model::draws::draw_key;
use crate::model::layers::{AdaptedLinear, AttentionMask, Init, RmsNorm, Tape};

/// Pre-norm causal attention and gated MLP, each added to its input.
pub(crate) struct Block {
    pub(crate) attention_norm: RmsNorm,
    projections: Box<dyn Projections>,
    out: AdaptedLinear,
    pub(crate) mlp_norm: RmsNorm,
    down: AdaptedLinear,
    /// Whether queries attend to the config's window alone.
    is_windowed: bool,
    /// Its number, from 0.
    layer: i64,
}

/// What all blocks of one pass share.
pub(super) struct Pass {
    pub(super) angles: Angles,
    /// (T, T), true where a query of a layer with a window attends to a key; None where plain causal attention is the same.
    /// Not used once a cache holds earlier tokens.
    pub(super) window_mask: Option<Tensor>,
    /// In training: what the adapters' dropout is drawn from.
    pub(super) dropout_seed: Option<u64>,
}

impl Pass {
    /// Another handle of the same tensors.
    pub(super) fn shallow_clone(&self) -> Pass {
        Pass {
            angles: self.angles.shallow_clone(),
            window_mask: self.window_mask.as_ref().map(Tensor::shallow_clone),
            dropout_seed: self.dropout_seed,
        }
    }
}

impl Block {
    pub(super) fn new(config: &LanguageModelConfig, layer: i64, init: &Init) -> Block {
        let heads_width = config.num_attention_heads * config.head_width();
        Block {
            attention_norm: RmsNorm::new(init, config.hidden_size, config.rms_norm_eps),
            projections: projections::build(config, init),
            out: AdaptedLinear::without_bias(init, heads_width, config.hidden_size),
            mlp_norm: RmsNorm::new(init, config.hidden_size, config.rms_norm_eps),
            down: AdaptedLinear::without_bias(init, config.intermediate_size, config.hidden_size),
            is_windowed: config.window_of(layer).is_some(),
            layer,
        }
    }

    /// (B, T, E) to the same. With a cache, keys and values go through it.
    pub(super) fn forward(
        &self,
        hidden_bte: &Tensor,
        pass: &Pass,
        tape: &mut Tape,
        cache: Option<&mut LayerCache>,
    ) -> Tensor {
        let dropout_seed = pass.dropout_seed.map(|seed| draw_key(&[seed, self.layer as u64]));
        let mut maps = Maps { tape, dropout_seed };
        let normed_bte = self.attention_norm.forward(hidden_bte);
        let [q_btae, k_btae, v_btae] = self.projections.heads(&normed_bte, &pass.angles, &mut maps);
        let window_mask = pass.window_mask.as_ref().filter(|_| self.is_windowed);
        let mask = window_mask.map_or(AttentionMask::Causal, AttentionMask::Given);
        let attended_bte = match cache {
            None => maps.tape.attention(&q_btae, &k_btae, &v_btae, mask),
            Some(cache) => cache.attend(&q_btae, &k_btae, &v_btae, mask),
        };
        let hidden_bte = maps.add_to(Role::Out, &self.out, hidden_bte, &attended_bte);
        let gated = self.projections.gated(&self.mlp_norm.forward(&hidden_bte), &mut maps);
        maps.add_to(Role::Down, &self.down, &hidden_bte, &gated)
    }

    /// The turned queries and keys (B, T, A, E of a head) of hidden states (B, T, E), and the mask (T, T) that is true where a query attends
    /// to a key.
    pub(super) fn queries_and_keys(&self, hidden_bte: &Tensor, pass: &Pass) -> [Tensor; 3] {
        let mut maps = Maps { tape: &mut Tape::Computed, dropout_seed: None };
        let normed_bte = self.attention_norm.forward(hidden_bte);
        let [q_btae, k_btae, _] = self.projections.heads(&normed_bte, &pass.angles, &mut maps);
        let width = hidden_bte.size()[1];
        let causal = || Tensor::ones([width, width], (Kind::Bool, hidden_bte.device())).tril(0);
        let window_mask = pass.window_mask.as_ref().filter(|_| self.is_windowed);
        [q_btae, k_btae, window_mask.map_or_else(causal, Tensor::shallow_clone)]
    }

    /// Whether a backward pass stores a gradient of its weights.
    pub(super) fn is_trained(&self) -> bool {
        self.attention_norm.is_trained()
            || self.mlp_norm.is_trained()
            || self.linears().iter().any(|(_, linear)| linear.is_trained())
    }

    /// Another handle of the same weights.
    pub(super) fn shallow_clone(&self) -> Block {
        Block {
            attention_norm: self.attention_norm.shallow_clone(),
            projections: self.projections.shallow_clone(),
            out: self.out.shallow_clone(),
            mlp_norm: self.mlp_norm.shallow_clone(),
            down: self.down.shallow_clone(),
            is_windowed: self.is_windowed,
            layer: self.layer,
        }
    }

    /// Every map with its role, those of attention first.
    pub(crate) fn linears(&self) -> Vec<(Role, &AdaptedLinear)> {
        let mut linears = self.projections.linears();
        linears.extend([(Role::Out, &self.out), (Role::Down, &self.down)]);
        linears
    }

    /// The same, to be changed.
    pub(crate) fn linears_mut(&mut self) -> Vec<(Role, &mut AdaptedLinear)> {
        let mut linears = self.projections.linears_mut();
        linears.extend([(Role::Out, &mut self.out), (Role::Down, &mut self.down)]);
        linears
    }
}
