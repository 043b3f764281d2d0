//! Scores by what is asked.

use tch::Tensor;

use super::{Evidence, SliceScorer};

/// Dot product of the question's and the slice's feature, divided by a temperature.
pub(crate) struct TextGuided {
    pub(super) temperature: f64,
}

impl SliceScorer for TextGuided {
    fn relevance(&self, evidence: &Evidence) -> Tensor {
        let slices_bne = evidence.slices_bne.expect("a text-guided scorer is given slice features");
        slices_bne.bmm(&evidence.text_be.unsqueeze(2)).squeeze_dim(2) / self.temperature
    }
}
