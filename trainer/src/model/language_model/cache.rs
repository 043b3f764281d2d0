//! Keys and values of tokens already seen, for rows of different lengths.
//!
//! Row b holds its token t in slot t: prompts lie on the left, each row's next token goes right behind its own last one.
//! Slots between a short row's end and the longest row hold leftovers of padding, which the mask hides until the row
//! itself overwrites them. So positions do not depend on what else is in the batch.

use tch::{Device, Kind, Tensor};

use super::config::LanguageModelConfig;
use crate::model::layers::{Sight, attention};

/// The cache of all blocks, allocated once for prompt and answer.
pub struct KvCache {
    pub(super) layers: Vec<LayerCache>,
    window: Option<usize>,
}

/// One block's keys and values, (B, slots, key heads, width per head).
pub(super) struct LayerCache {
    keys: Tensor,
    values: Tensor,
    /// None while the prompts are read.
    step: Option<Step>,
}

/// Where the next token of every row goes and what it may look at.
struct Step {
    rows_b: Tensor,
    slots_b: Tensor,
    /// (B, 1, 1, used slots), true where seen.
    mask: Tensor,
}

impl KvCache {
    /// Room for `slots` tokens in each of `batch` rows.
    pub fn new(config: &LanguageModelConfig, batch: i64, slots: i64, kind: Kind, device: Device) -> KvCache {
        // Zeros, not uninitialized memory: a hidden slot still meets a weight of 0, and 0 times NaN is NaN.
        let empty = || Tensor::zeros([batch, slots, config.num_key_value_heads, config.head_width()], (kind, device));
        let layer = |_| LayerCache { keys: empty(), values: empty(), step: None };
        KvCache { layers: (0..config.num_hidden_layers).map(layer).collect(), window: config.sliding_window }
    }

    /// Announces that the next forward pass brings one token a row, at these places.
    pub(super) fn begin_step(&mut self, places_b: &[i64]) {
        let Some(device) = self.layers.first().map(|layer| layer.keys.device()) else {
            return;
        };
        let slots_b = Tensor::from_slice(places_b).to_device(device);
        let used = places_b.iter().max().map_or(0, |place| place + 1);
        let options = (Kind::Int64, device);
        let (keys_k, places_b1) = (Tensor::arange(used, options), slots_b.unsqueeze(1));
        let mut mask_bk = keys_k.le_tensor(&places_b1);
        if let Some(window) = self.window.filter(|window| *window < used as usize) {
            mask_bk = mask_bk.logical_and(&keys_k.gt_tensor(&(places_b1 - window as i64)));
        }
        let mask = mask_bk.unsqueeze(1).unsqueeze(1);
        let rows_b = Tensor::arange(places_b.len() as i64, options);
        for layer in &mut self.layers {
            layer.step = Some(Step {
                rows_b: rows_b.shallow_clone(),
                slots_b: slots_b.shallow_clone(),
                mask: mask.shallow_clone(),
            });
        }
    }

    /// Row b goes on as a copy of row `rows_b[b]`: what a beam search keeps.
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
    /// Stores the new keys and values, then attends over all that the new tokens may see.
    pub(super) fn attend(&mut self, q_bthe: &Tensor, k_bthe: &Tensor, v_bthe: &Tensor, sight: Sight) -> Tensor {
        let Some(step) = &self.step else {
            let length = k_bthe.size()[1];
            self.keys.narrow(1, 0, length).copy_(k_bthe);
            self.values.narrow(1, 0, length).copy_(v_bthe);
            return attention(q_bthe, k_bthe, v_bthe, sight);
        };
        let place = [Some(&step.rows_b), Some(&step.slots_b)];
        let _ = self.keys.index_put_(&place, &k_bthe.squeeze_dim(1), false);
        let _ = self.values.index_put_(&place, &v_bthe.squeeze_dim(1), false);
        let used = step.mask.size()[3];
        attention(q_bthe, &self.keys.narrow(1, 0, used), &self.values.narrow(1, 0, used), Sight::Mask(&step.mask))
    }
}
