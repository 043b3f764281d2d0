//! One decoder block.

use tch::Tensor;

use super::cache::LayerCache;
use super::config::LanguageModelConfig;
use super::projections::{self, Projections, Role};
use super::rope::Angles;
use crate::model::layers::{AdaptedLinear, AttentionMask, Init, RmsNorm, attention};

/// Pre-norm causal attention and gated MLP, each added to its input.
pub(crate) struct Block {
    pub(crate) attention_norm: RmsNorm,
    projections: Box<dyn Projections>,
    out: AdaptedLinear,
    pub(crate) mlp_norm: RmsNorm,
    down: AdaptedLinear,
    /// Whether queries attend to the config's window alone.
    is_windowed: bool,
}

/// What all blocks of one pass share.
pub(super) struct Pass<'a> {
    pub(super) angles: &'a Angles,
    /// (T, T), true where a query of a layer with a window attends to a key; None where plain causal attention is the same.
    /// Not used once a cache holds earlier tokens.
    pub(super) window_mask: Option<&'a Tensor>,
    pub(super) train: bool,
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
        }
    }

    /// (B, T, E) to the same. With a cache, keys and values go through it.
    pub(super) fn forward(&self, hidden_bte: Tensor, pass: &Pass, cache: Option<&mut LayerCache>) -> Tensor {
        let normed_bte = self.attention_norm.forward(&hidden_bte);
        let [q_btae, k_btae, v_btae] = self.projections.heads(&normed_bte, pass.angles, pass.train);
        let window_mask = pass.window_mask.filter(|_| self.is_windowed);
        let mask = window_mask.map_or(AttentionMask::Causal, AttentionMask::Given);
        let attended_bte = match cache {
            None => attention(&q_btae, &k_btae, &v_btae, mask),
            Some(cache) => cache.attend(&q_btae, &k_btae, &v_btae, mask),
        };
        let hidden_bte = self.out.add_to(&hidden_bte, &attended_bte, pass.train);
        let [gate, up] = self.projections.gate_and_up(&self.mlp_norm.forward(&hidden_bte), pass.train);
        self.down.add_to(&hidden_bte, &(gate.silu() * up), pass.train)
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
