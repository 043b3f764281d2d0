//! Scores by the question.

use tch::Tensor;

use super::{ScorerInput, ScorerLayer, SliceScorer};
use crate::model::layers::Linear;

/// Dot product of the question's and the slice's feature, divided by a temperature.
pub(crate) struct TextGuided {
    pub(super) temperature: f64,
    /// From the text encoder's width to the slices'; none where the question's feature has that width already.
    pub(super) projection: Option<Linear>,
}

impl SliceScorer for TextGuided {
    fn relevance(&self, input: &ScorerInput) -> Tensor {
        let slices_bne = input.slices_bne.expect("a text-guided scorer is given slice features");
        let text_be = input.text_be.expect("a text-guided scorer is given the question's feature");
        let projected_be = self.projection.as_ref().map(|projection| projection.forward(text_be));
        let text_be = projected_be.as_ref().unwrap_or(text_be);
        slices_bne.bmm(&text_be.unsqueeze(2)).squeeze_dim(2) / self.temperature
    }

    fn layer(&self) -> Option<(ScorerLayer, &Linear)> {
        self.projection.as_ref().map(|projection| (ScorerLayer::TextProjection, projection))
    }
}
