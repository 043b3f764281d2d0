//! The weights of attention themselves, which the kernels never store: for looking at, not for computing with.

use tch::{Kind, Tensor};

use super::LanguageModel;
use super::block::Pass;
use crate::model::error::ModelError;
use crate::model::layers::Tape;

impl LanguageModel {
    /// With which weights the positions `queries_r` of a sequence (1, T, E) attend to each position in one block, numbered from 0, on
    /// average over heads: (R, T) in f32, each row summing to 1.
    ///
    /// # Errors
    /// As [`LanguageModel::forward`].
    ///
    /// # Panics
    /// Not a block of the model.
    pub(crate) fn attention_weights(
        &self,
        embeddings_1te: &Tensor,
        queries_r: &Tensor,
        layer: usize,
    ) -> Result<Tensor, ModelError> {
        let width = embeddings_1te.size()[1];
        self.check_length(width as usize)?;
        let angles = self.rope.angles_from_zero(width, &[width as usize], embeddings_1te.kind());
        let pass = Pass { angles, window_mask: self.window_mask(width), dropout_seed: None };
        let mut hidden_1te = embeddings_1te.shallow_clone();
        for block in &self.blocks[..layer] {
            hidden_1te = block.forward(&hidden_1te, &pass, &mut Tape::Computed, None);
        }
        let [q_1tae, k_1tae, mask_tt] = self.blocks[layer].queries_and_keys(&hidden_1te, &pass);
        Ok(weights(&q_1tae.squeeze_dim(0), &k_1tae.squeeze_dim(0), &mask_tt, queries_r))
    }
}

/// The mean over heads of the softmax of scaled products: queries (T, A, E) at the rows `queries_r`, keys (T, A or fewer, E), a mask (T, T)
/// that is true where a query attends to a key.
fn weights(q_tae: &Tensor, k_tae: &Tensor, mask_tt: &Tensor, queries_r: &Tensor) -> Tensor {
    let q_are = q_tae.index_select(0, queries_r).transpose(0, 1).to_kind(Kind::Float);
    let k_ate = k_tae.transpose(0, 1).to_kind(Kind::Float);
    let shared = q_are.size()[0] / k_ate.size()[0];
    let k_ate = k_ate.repeat_interleave_self_int(shared, 0, None);
    let scale = (q_are.size()[2] as f64).sqrt();
    let logits_art: Tensor = q_are.bmm(&k_ate.transpose(1, 2)) / scale;
    let hidden_rt = mask_tt.index_select(0, queries_r).logical_not();
    let logits_art = logits_art.masked_fill(&hidden_rt, f64::NEG_INFINITY);
    logits_art.softmax(-1, Kind::Float).mean_dim([0i64].as_slice(), false, None::<Kind>)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::language_model::{Family, LanguageModelConfig};
    use crate::model::layers::{Init, Initializer};
    use tch::{Device, no_grad};

    /// Weights by loops in f64 from the same queries and keys, averaged over heads.
    fn by_hand(q_tae: &Tensor, k_tae: &Tensor, query: usize, sees: impl Fn(usize) -> bool) -> Vec<f64> {
        let (positions, heads, width) = q_tae.size3().unwrap();
        let shared = heads / k_tae.size()[1];
        let mut mean = vec![0.0; positions as usize];
        for head in 0..heads {
            let product = |key: i64| -> f64 {
                let at = |tensor: &Tensor, place: i64, head: i64, part: i64| tensor.double_value(&[place, head, part]);
                (0..width).map(|e| at(q_tae, query as i64, head, e) * at(k_tae, key, head / shared, e)).sum()
            };
            let raised = |key: i64| (product(key) / (width as f64).sqrt()).exp() * f64::from(sees(key as usize));
            let sum: f64 = (0..positions).map(raised).sum();
            (0..positions).for_each(|key| mean[key as usize] += raised(key) / sum / heads as f64);
        }
        mean
    }

    #[test]
    fn weights_equal_those_by_hand_with_shared_keys_and_with_a_window() {
        let init = Init::drawn(Device::Cpu, Kind::Float, Initializer::FanIn, 3);
        for (family, window) in [(Family::Llama, None), (Family::Mistral, Some(3)), (Family::Phi3, None)] {
            let config = LanguageModelConfig {
                model_type: family,
                hidden_size: 16,
                intermediate_size: 24,
                num_hidden_layers: 3,
                num_attention_heads: 4,
                num_key_value_heads: 2,
                vocab_size: 11,
                sliding_window: window,
                ..LanguageModelConfig::phi3_mini_4k()
            };
            let model = LanguageModel::new(&config, &init).unwrap();
            let width = 9;
            let embeddings_1te = Tensor::randn([1, width, 16], (Kind::Float, Device::Cpu)) * 3.0;
            let queries = [4i64, 8];
            for layer in [0, 2] {
                let found_rt =
                    no_grad(|| model.attention_weights(&embeddings_1te, &Tensor::from_slice(&queries), layer).unwrap());
                let angles = model.rope.angles_from_zero(width, &[width as usize], Kind::Float);
                let pass = Pass { angles, window_mask: model.window_mask(width), dropout_seed: None };
                let mut hidden_1te = embeddings_1te.shallow_clone();
                for block in &model.blocks[..layer] {
                    hidden_1te = block.forward(&hidden_1te, &pass, &mut Tape::Computed, None);
                }
                let [q_1tae, k_1tae, _] = model.blocks[layer].queries_and_keys(&hidden_1te, &pass);
                for (row, query) in queries.iter().enumerate() {
                    let query = *query as usize;
                    let sees = |key: usize| key <= query && window.is_none_or(|window| key + window > query);
                    let expected = by_hand(&q_1tae.squeeze_dim(0), &k_1tae.squeeze_dim(0), query, sees);
                    for (key, expected) in expected.iter().enumerate() {
                        let found = found_rt.double_value(&[row as i64, key as i64]);
                        assert!(
                            (found - expected).abs() < 1e-6,
                            "{family:?} {layer} {query} {key}: {found} {expected}"
                        );
                    }
                }
                assert!((found_rt.sum(Kind::Double).double_value(&[]) - 2.0).abs() < 1e-5);
            }
        }
    }
}
