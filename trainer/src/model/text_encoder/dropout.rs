//! Dropout inside the text encoder, as the released training had it on: its frozen BERT stayed in training mode.
//!
//! Whether a number is dropped is a pure function of the text's key, of the place in the network and of the number's own place
//! (see [`mixed`]), so that neither device, micro-batch nor padding changes it. A place is counted in the order of the forward
//! pass: the embeddings, then for each block the attention probabilities, the attention's result and the MLP's.

use tch::{Kind, Tensor};

use super::config::BertConfig;
use crate::model::draws::{MIX_FACTORS, MIX_SHIFTS, MIX_STEP, mixed};

/// Places in a block.
const OF_BLOCK: i64 = 3;

/// What is dropped in one forward pass.
pub(super) struct Dropout<'a> {
    probability: f64,
    /// i64, (places, B).
    keys_pb: &'a Tensor,
    /// i64, (1, T, E): what the mixing adds to the key for each number of hidden states.
    hidden_1te: Tensor,
    /// i64, (1, A, T, K): the same for attention probabilities.
    attention_1atk: Tensor,
}

/// A place in the network.
#[derive(Clone, Copy)]
pub(super) struct Place(i64);

impl Place {
    pub(super) const EMBEDDINGS: Place = Place(0);

    /// Of a block's attention probabilities, of its attention's result, of its MLP's.
    pub(super) fn of_block(block: usize) -> [Place; 3] {
        [0, 1, 2].map(|at| Place(1 + OF_BLOCK * block as i64 + at))
    }
}

/// The keys of every place for texts of these keys, place after place: (places, B). The numbers are unsigned words.
pub(super) fn place_keys(config: &BertConfig, keys: &[u64]) -> Vec<i64> {
    let places = 1 + OF_BLOCK * config.num_hidden_layers;
    (0..places).flat_map(|place| keys.iter().map(move |key| mixed(*key, place as u64) as i64)).collect()
}

impl<'a> Dropout<'a> {
    pub(super) fn new(config: &BertConfig, probability: f64, keys_pb: &'a Tensor, tokens: i64) -> Dropout<'a> {
        let count = |n: i64| Tensor::arange(n, (Kind::Int64, keys_pb.device()));
        // Counters depend on no length: a text's numbers have the same ones however far it is padded.
        let (width, longest) = (config.hidden_size, config.max_position_embeddings);
        let hidden_1te: Tensor = count(tokens).unsqueeze(1) * width + count(width);
        let queries_at1: Tensor =
            count(config.num_attention_heads).view([-1, 1, 1]) * longest + count(tokens).unsqueeze(1);
        let attention_1atk: Tensor = queries_at1 * longest + count(tokens);
        let step = |counters: Tensor| ((counters + 1) * (MIX_STEP as i64)).unsqueeze(0);
        Dropout { probability, keys_pb, hidden_1te: step(hidden_1te), attention_1atk: step(attention_1atk) }
    }

    /// Hidden states (B, T, E): dropped ones 0, the others larger by 1 / (1 - p).
    pub(super) fn of_hidden(&self, place: Place, hidden_bte: &Tensor) -> Tensor {
        self.apply(hidden_bte, &self.dropped(place, &self.hidden_1te))
    }

    /// The same of attention probabilities (B, A, T, K).
    pub(super) fn of_attention(&self, place: Place, probabilities_batk: &Tensor) -> Tensor {
        self.apply(probabilities_batk, &self.dropped(place, &self.attention_1atk))
    }

    fn apply(&self, values: &Tensor, dropped: &Tensor) -> Tensor {
        (values * (1.0 / (1.0 - self.probability))).masked_fill(dropped, 0.0)
    }

    /// [`mixed`] over tensors of signed words: sums and products wrap in both, a shift fills with the sign, which is masked.
    fn dropped(&self, place: Place, steps: &Tensor) -> Tensor {
        let keys_b = self.keys_pb.get(place.0);
        let mut shape = vec![1; steps.dim()];
        shape[0] = -1;
        let mut words = keys_b.view(shape.as_slice()) + steps;
        let fold = |words: &mut Tensor, shift: u32| {
            let high = words.bitwise_right_shift_tensor_scalar(i64::from(shift)).bitwise_and_(i64::MAX >> (shift - 1));
            let _ = words.bitwise_xor_tensor_(&high);
        };
        for (shift, factor) in MIX_SHIFTS.into_iter().zip(MIX_FACTORS) {
            fold(&mut words, shift);
            let _ = words.g_mul_scalar_(factor as i64);
        }
        fold(&mut words, MIX_SHIFTS[2]);
        words.lt(threshold(self.probability))
    }
}

/// Signed words below it are dropped: a share `probability` of all.
fn threshold(probability: f64) -> i64 {
    const ALL: f64 = 18_446_744_073_709_551_616.0;
    ((probability * ALL) as u64 ^ (1 << 63)) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    fn tiny() -> BertConfig {
        BertConfig {
            vocab_size: 9,
            hidden_size: 8,
            num_hidden_layers: 2,
            num_attention_heads: 2,
            intermediate_size: 4,
            max_position_embeddings: 16,
            type_vocab_size: 2,
            layer_norm_eps: 1e-12,
            first_position: 0,
        }
    }

    fn keys_pb(keys: &[u64]) -> Tensor {
        Tensor::from_slice(&place_keys(&tiny(), keys)).view([-1, keys.len() as i64])
    }

    /// What the module does, number by number.
    fn is_dropped(key: u64, place: u64, counter: u64, probability: f64) -> bool {
        (mixed(mixed(key, place), counter) as i64) < threshold(probability)
    }

    #[test]
    fn masks_of_tensors_are_those_of_the_plain_twin() {
        let (config, keys) = (tiny(), [3, u64::MAX, 1 << 63]);
        let keys_pb = keys_pb(&keys);
        let ones = |shape: &[i64]| Tensor::ones(shape, (Kind::Float, Device::Cpu));
        for probability in [0.1, 0.5, 0.9] {
            let dropout = Dropout::new(&config, probability, &keys_pb, 5);
            let kept = (1.0 / (1.0 - probability)) as f32;
            let mut places = vec![Place::EMBEDDINGS];
            places.extend((0..2).flat_map(Place::of_block));
            assert_eq!(places.last().unwrap().0 + 1, keys_pb.size()[0]);
            for place in places {
                let hidden = Vec::<f32>::try_from(dropout.of_hidden(place, &ones(&[3, 5, 8])).flatten(0, -1)).unwrap();
                let attention = dropout.of_attention(place, &ones(&[3, 2, 5, 5])).flatten(0, -1);
                let attention = Vec::<f32>::try_from(attention).unwrap();
                for (b, key) in keys.into_iter().enumerate() {
                    let expected = |counter: usize| {
                        if is_dropped(key, place.0 as u64, counter as u64, probability) { 0.0 } else { kept }
                    };
                    for at in 0..40 {
                        assert_eq!(hidden[b * 40 + at], expected(at));
                    }
                    for (at, found) in attention[b * 50..][..50].iter().enumerate() {
                        let (head, query, key) = (at / 25, at / 5 % 5, at % 5);
                        assert_eq!(*found, expected((head * 16 + query) * 16 + key));
                    }
                }
            }
        }
    }

    #[test]
    fn the_stated_share_is_dropped_at_every_place_and_for_every_text() {
        let keys: Vec<u64> = (0..400).collect();
        let keys_pb = keys_pb(&keys);
        let dropout = Dropout::new(&tiny(), 0.1, &keys_pb, 16);
        let ones = Tensor::ones([400, 16, 8], (Kind::Float, Device::Cpu));
        let masks = [Place::EMBEDDINGS, Place::of_block(1)[2]].map(|place| dropout.of_hidden(place, &ones).eq(0.0));
        let share = |dropped: &Tensor| dropped.to_kind(Kind::Double).mean(Kind::Double).double_value(&[]);
        let near = |found: f64, expected: f64, count: f64| {
            // Five standard deviations.
            assert!(
                (found - expected).abs() < 5.0 * (expected * (1.0 - expected) / count).sqrt(),
                "{found} {expected}"
            );
        };
        let count = 400.0 * 128.0;
        masks.iter().for_each(|mask| near(share(mask), 0.1, count));
        // Of two places, of neighbours and of two texts nothing is known of one by the other.
        near(share(&masks[0].logical_and(&masks[1])), 0.01, count);
        near(share(&masks[0].logical_and(&masks[0].roll(1, 2))), 0.01, count);
        near(share(&masks[0].logical_and(&masks[0].roll(1, 0))), 0.01, count);
    }
}
