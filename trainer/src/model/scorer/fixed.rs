//! Scores that read neither question nor slices: the ablations' baselines.

use tch::{Kind, Tensor};

use super::{ScorerInput, SliceScorer};

/// Every slice counts the same.
pub(crate) struct Uniform;

impl SliceScorer for Uniform {
    fn relevance(&self, input: &ScorerInput) -> Tensor {
        Tensor::zeros([input.volumes, input.slice_count], options(input))
    }
}

/// Normal draws from libtorch's generator, new ones for every volume.
pub(crate) struct Random;

impl SliceScorer for Random {
    fn relevance(&self, input: &ScorerInput) -> Tensor {
        Tensor::randn([input.volumes, input.slice_count], options(input))
    }
}

/// A bell over the slice index: centre in the middle, deviation N / 6. The softmax makes it sum to 1.
pub(crate) struct Gauss;

impl SliceScorer for Gauss {
    fn relevance(&self, input: &ScorerInput) -> Tensor {
        let slices = input.slice_count as f64;
        let offsets_n = Tensor::arange(input.slice_count, options(input)) - (slices - 1.0) / 2.0;
        let deviation = slices / 6.0;
        let relevance_n: Tensor = offsets_n.square() / (-2.0 * deviation * deviation);
        relevance_n.expand([input.volumes, input.slice_count], false)
    }
}

fn options(input: &ScorerInput) -> (Kind, tch::Device) {
    (Kind::Float, input.device)
}
