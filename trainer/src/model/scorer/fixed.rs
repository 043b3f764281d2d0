//! Scores that read neither question nor slices: the ablations' baselines.

use tch::{Kind, Tensor};

use super::{ScorerInput, SliceScorer};

/// Every slice counts the same.
pub(crate) struct Uniform;

impl SliceScorer for Uniform {
    fn relevance(&self, input: &ScorerInput) -> Tensor {
        Tensor::zeros([input.mentions, input.slice_count], options(input))
    }
}

/// Normal draws, for each mention from its own key: they depend neither on the batch nor on other draws.
pub(crate) struct Random;

impl SliceScorer for Random {
    fn relevance(&self, input: &ScorerInput) -> Tensor {
        input.draws_mn.expect("a random scorer is given draws").shallow_clone()
    }
}

/// `count` normal draws (Box and Muller 1958) from the extended output of a hash.
pub(crate) fn normal_draws(key: u64, count: usize) -> Vec<f32> {
    let mut bytes = vec![0; 16 * count.div_ceil(2)];
    blake3::Hasher::new().update(&key.to_le_bytes()).finalize_xof().fill(&mut bytes);
    let (words, _) = bytes.as_chunks::<8>();
    // 53 bits each; the first of a pair is above 0, so that its logarithm is finite.
    let uniform = |word: [u8; 8]| ((u64::from_le_bytes(word) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    let (pairs, _) = words.as_chunks::<2>();
    let draws = pairs.iter().flat_map(|[a, b]| {
        let (radius, angle) = ((-2.0 * uniform(*a).ln()).sqrt(), std::f64::consts::TAU * uniform(*b));
        [radius * angle.cos(), radius * angle.sin()]
    });
    draws.take(count).map(|draw| draw as f32).collect()
}

/// A bell over the slice index: centre in the middle, deviation N / 6. The softmax makes it sum to 1.
pub(crate) struct Gauss;

impl SliceScorer for Gauss {
    fn relevance(&self, input: &ScorerInput) -> Tensor {
        let slices = input.slice_count as f64;
        let offsets_n = Tensor::arange(input.slice_count, options(input)) - (slices - 1.0) / 2.0;
        let deviation = slices / 6.0;
        let relevance_n: Tensor = offsets_n.square() / (-2.0 * deviation * deviation);
        relevance_n.expand([input.mentions, input.slice_count], false)
    }
}

fn options(input: &ScorerInput) -> (Kind, tch::Device) {
    (Kind::Float, input.device)
}
