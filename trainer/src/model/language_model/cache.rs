//! Keys and values of earlier tokens, for rows of different lengths.
//!
//! Row b holds its token t in slot t: prompts are on the left, each row's next token goes right after its own last one.
//! Slots between a short row's end and the longest row hold leftovers of padding, which the mask hides until the row
//! itself overwrites them. So positions do not depend on what else is in the batch.

use tch::{Device, Kind, Tensor};

use super::config::LanguageModelConfig;
use crate::libtorch::upload;
use crate::model::layers::{AttentionMask, attention};

/// The cache of all blocks, allocated once for prompt and answer.
pub struct KvCache {
    pub(super) layers: Vec<LayerCache>,
}

/// One block's keys and values, (B, K slots, A key heads, E of a head).
pub(super) struct LayerCache {
    keys: Tensor,
    values: Tensor,
    /// The keys that a query attends to at most.
    window: Option<usize>,
    /// None while the prompts are read.
    step: Option<Step>,
}

/// Where the next token of every row goes and which keys it attends to.
struct Step {
    rows_b: Tensor,
    slots_b: Tensor,
    /// (B, 1, 1, K), true where the token attends to the slot.
    mask_b11k: Tensor,
}

impl KvCache {
    /// A cache for `slots` tokens in each of `batch` rows.
    pub fn new(config: &LanguageModelConfig, batch: i64, slots: i64, kind: Kind, device: Device) -> KvCache {
        // Zeros, not uninitialized memory: a hidden slot still meets a weight of 0, and 0 times NaN is NaN.
        let empty = || Tensor::zeros([batch, slots, config.num_key_value_heads, config.head_width()], (kind, device));
        let layer = |layer| LayerCache { keys: empty(), values: empty(), window: config.window_of(layer), step: None };
        KvCache { layers: (0..config.num_hidden_layers).map(layer).collect() }
    }

    /// Announces that the next forward pass brings one token a row, at these positions.
    pub(super) fn begin_step(&mut self, positions_b: &[i64]) {
        let Some(device) = self.layers.first().map(|layer| layer.keys.device()) else {
            return;
        };
        let slots_b = upload(&Tensor::from_slice(positions_b), device);
        let used = positions_b.iter().max().map_or(0, |position| position + 1);
        let options = (Kind::Int64, device);
        let (slots_k, positions_b1) = (Tensor::arange(used, options), slots_b.unsqueeze(1));
        let before_bk = slots_k.le_tensor(&positions_b1);
        let windows = self.layers.iter().filter_map(|layer| layer.window);
        let windowed_bk = windows
            .max()
            .filter(|window| *window < used as usize)
            .map(|window| before_bk.logical_and(&slots_k.gt_tensor(&(&positions_b1 - window as i64))));
        let all_b11k = before_bk.unsqueeze(1).unsqueeze(1);
        let windowed_b11k = windowed_bk.map(|mask_bk| mask_bk.unsqueeze(1).unsqueeze(1));
        let rows_b = Tensor::arange(positions_b.len() as i64, options);
        for layer in &mut self.layers {
            let windowed_b11k = windowed_b11k.as_ref().filter(|_| layer.window.is_some());
            layer.step = Some(Step {
                rows_b: rows_b.shallow_clone(),
                slots_b: slots_b.shallow_clone(),
                mask_b11k: windowed_b11k.unwrap_or(&all_b11k).shallow_clone(),
            });
        }
    }

    /// Row b becomes a copy of row `rows_b[b]`: what a beam search keeps.
    pub fn reorder(&mut self, rows_b: &Tensor) {
        for layer in &mut self.layers {
            layer.keys = layer.keys.index_select(0, rows_b);
            layer.values = layer.values.index_select(0, rows_b);
        }
    }

    /// Replaces rows by those of another cache, which holds them in the same order in its first slots.
    pub(super) fn replace_rows(&mut self, rows: &Tensor, other: &KvCache) {
        for (layer, other) in self.layers.iter_mut().zip(&other.layers) {
            let slots = other.keys.size()[1];
            for (own, new) in [(&layer.keys, &other.keys), (&layer.values, &other.values)] {
                let _ = own.narrow(1, 0, slots).index_copy_(0, rows, new);
            }
        }
    }
}

impl LayerCache {
    /// Stores the new keys and values, then attends over all keys that `mask`, or the step, allows.
    pub(super) fn attend(&mut self, q_btae: &Tensor, k_btae: &Tensor, v_btae: &Tensor, mask: AttentionMask) -> Tensor {
        let Some(step) = &self.step else {
            let length = k_btae.size()[1];
            self.keys.narrow(1, 0, length).copy_(k_btae);
            self.values.narrow(1, 0, length).copy_(v_btae);
            return attention(q_btae, k_btae, v_btae, mask);
        };
        let slot = [Some(&step.rows_b), Some(&step.slots_b)];
        let _ = self.keys.index_put_(&slot, &k_btae.squeeze_dim(1), false);
        let _ = self.values.index_put_(&slot, &v_btae.squeeze_dim(1), false);
        let used = step.mask_b11k.size()[3];
        attention(
            q_btae,
            &self.keys.narrow(1, 0, used),
            &self.values.narrow(1, 0, used),
            AttentionMask::Given(&step.mask_b11k),
        )
    }
}
