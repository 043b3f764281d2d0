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
        let slices_mne = input.slices_mne.expect("a text-guided scorer is given slice features");
        let text_me = input.text_me.expect("a text-guided scorer is given the question's feature");
        let projected_me = self.projection.as_ref().map(|projection| projection.forward(text_me));
        let text_me = projected_me.as_ref().unwrap_or(text_me);
        slices_mne.bmm(&text_me.unsqueeze(2)).squeeze_dim(2) / self.temperature
    }

    fn layer(&self) -> Option<(ScorerLayer, &Linear)> {
        self.projection.as_ref().map(|projection| (ScorerLayer::TextProjection, projection))
    }
}
