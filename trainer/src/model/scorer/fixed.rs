//! Scores that look at nothing: the ablations' baselines.

use tch::{Kind, Tensor};

use super::{Evidence, SliceScorer};

/// Every slice counts the same.
pub(crate) struct Uniform;

impl SliceScorer for Uniform {
    fn relevance(&self, evidence: &Evidence) -> Tensor {
        Tensor::zeros([evidence.volumes, evidence.slice_count], options(evidence))
    }
}

/// Normal draws from libtorch's generator, anew for every volume.
pub(crate) struct Random;

impl SliceScorer for Random {
    fn relevance(&self, evidence: &Evidence) -> Tensor {
        Tensor::randn([evidence.volumes, evidence.slice_count], options(evidence))
    }
}

/// A bell over the slice index: centre in the middle, deviation N / 6. The softmax makes it sum to 1.
pub(crate) struct Gauss;

impl SliceScorer for Gauss {
    fn relevance(&self, evidence: &Evidence) -> Tensor {
        let slices = evidence.slice_count as f64;
        let offsets_n = Tensor::arange(evidence.slice_count, options(evidence)) - (slices - 1.0) / 2.0;
        let deviation = slices / 6.0;
        let relevance_n: Tensor = offsets_n.square() / (-2.0 * deviation * deviation);
        relevance_n.expand([evidence.volumes, evidence.slice_count], false)
    }
}

fn options(evidence: &Evidence) -> (Kind, tch::Device) {
    (Kind::Float, evidence.device)
}
