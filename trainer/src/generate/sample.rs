//! Draws from the most likely tokens.

use tch::{Kind, Tensor};

use crate::model::{ModelInput, TextInput};

/// Temperature and nucleus (Holtzman et al. 2020), with draws that do not depend on the batch.
pub(super) struct Sampler<'a> {
    pub(super) temperature: f64,
    pub(super) top_p: f64,
    pub(super) seed: u64,
    /// One a row.
    pub(super) keys: &'a [u64],
}

impl Sampler<'_> {
    /// One id a row, (B), for logits (B, V).
    pub(super) fn draw(&self, logits_bv: &Tensor, step: usize) -> Tensor {
        let uniform: Vec<f32> = self.keys.iter().map(|key| uniform(self.seed, *key, step)).collect();
        let uniform_b1 = Tensor::from_slice(&uniform).to_device(logits_bv.device()).unsqueeze(1);
        draw(logits_bv, self.temperature, self.top_p, &uniform_b1)
    }
}

/// The token of each row at which the kept probability, summed from the most likely on, passes the uniform number's share.
fn draw(logits_bv: &Tensor, temperature: f64, top_p: f64, uniform_b1: &Tensor) -> Tensor {
    // As differences from the largest, and by no less than the smallest f32: so that no quotient is infinity less infinity.
    let below_bv = logits_bv - logits_bv.amax([-1i64].as_slice(), true);
    let scaled_bv = below_bv / temperature.max(f64::from(f32::MIN_POSITIVE));
    let (sorted_bv, ids_bv) = scaled_bv.softmax(-1, Kind::Float).sort(-1, true);
    let before_bv = sorted_bv.cumsum(-1, Kind::Float) - &sorted_bv;
    // A token is kept while those before it hold less than the share; the first always is.
    let kept_bv = &sorted_bv * before_bv.lt(top_p);
    let sums_bv = kept_bv.cumsum(-1, Kind::Float);
    let vocabulary = sums_bv.size()[1];
    let wanted_b1 = uniform_b1 * sums_bv.narrow(1, vocabulary - 1, 1);
    let passed_b1 = sums_bv.le_tensor(&wanted_b1).sum_dim_intlist([1i64].as_slice(), true, Kind::Int64);
    // Rounding must not lead past the last kept token.
    let last_kept_b1 = kept_bv.gt(0.0).sum_dim_intlist([1i64].as_slice(), true, Kind::Int64) - 1;
    ids_bv.gather(1, &passed_b1.minimum(&last_kept_b1), false).squeeze_dim(1)
}

/// A number in [0, 1) that depends on the three arguments alone.
fn uniform(seed: u64, key: u64, step: usize) -> f32 {
    let mut hasher = blake3::Hasher::new();
    for part in [seed, key, step as u64] {
        hasher.update(&part.to_le_bytes());
    }
    let bytes: [u8; 4] = hasher.finalize().as_bytes()[..4].try_into().expect("a hash has 32 bytes");
    (u32::from_le_bytes(bytes) >> 8) as f32 / (1 << 24) as f32
}

/// One key a row, from its own ids.
pub(super) fn row_keys(input: &ModelInput) -> Vec<u64> {
    let key = |text: &TextInput| {
        let mut hasher = blake3::Hasher::new();
        for id in &text.ids {
            hasher.update(&id.to_le_bytes());
        }
        u64::from_le_bytes(hasher.finalize().as_bytes()[..8].try_into().expect("a hash has 32 bytes"))
    };
    input.texts.iter().map(key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(probabilities: &[f32], temperature: f64, top_p: f64, uniform: f32) -> i64 {
        let logits_bv = Tensor::from_slice(probabilities).log().unsqueeze(0);
        draw(&logits_bv, temperature, top_p, &Tensor::from_slice(&[uniform]).unsqueeze(0)).int64_value(&[0])
    }

    #[test]
    fn the_nucleus_is_the_fewest_tokens_that_hold_the_share() {
        let probabilities = [0.1, 0.5, 0.15, 0.25];
        // Kept of 0.7: 0.5 and 0.25, so that two thirds of the draws are the first.
        for (uniform, expected) in [(0.0, 1), (0.66, 1), (0.67, 3), (0.999, 3)] {
            assert_eq!(drawn(&probabilities, 1.0, 0.7, uniform), expected, "{uniform}");
        }
        for (uniform, expected) in [(0.4999, 1), (0.51, 3), (0.76, 2), (0.999_999, 0)] {
            assert_eq!(drawn(&probabilities, 1.0, 1.0, uniform), expected, "{uniform}");
        }
        assert_eq!(drawn(&probabilities, 1.0, 1e-9, 0.999), 1);
    }

    #[test]
    fn a_small_temperature_is_greedy() {
        for temperature in [1e-3, 1e-30, 1e-300, f64::MIN_POSITIVE] {
            assert_eq!(drawn(&[0.3, 0.4, 0.3], temperature, 1.0, 0.999_999), 1);
        }
    }

    #[test]
    fn frequencies_are_the_probabilities() {
        let probabilities = [0.1, 0.2, 0.3, 0.4f32];
        let keys: Vec<u64> = (0..20_000).collect();
        let sampler = Sampler { temperature: 1.0, top_p: 1.0, seed: 7, keys: &keys };
        let logits_bv = Tensor::from_slice(&probabilities).log().expand([keys.len() as i64, 4], false);
        let counts = sampler.draw(&logits_bv, 3).bincount(None::<&Tensor>, 4);
        for (i, probability) in probabilities.iter().enumerate() {
            let share = counts.double_value(&[i as i64]) / keys.len() as f64;
            // Five standard deviations.
            assert!(
                (share - f64::from(*probability)).abs() < 5.0 * (0.25f64 / keys.len() as f64).sqrt(),
                "{i}: {share}"
            );
        }
    }
}
