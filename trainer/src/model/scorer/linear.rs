//! Scores by the slice alone.

use tch::Tensor;

use super::{ScorerInput, ScorerLayer, SliceScorer};
use crate::model::layers::Linear;

/// A learned map of the slice's feature to one number.
pub(crate) struct LinearScorer {
    pub(super) head: Linear,
}

impl SliceScorer for LinearScorer {
    fn relevance(&self, input: &ScorerInput) -> Tensor {
        let slices_mne = input.slices_mne.expect("a linear scorer is given slice features");
        self.head.forward(slices_mne).squeeze_dim(2)
    }

    fn layer(&self) -> Option<(ScorerLayer, &Linear)> {
        Some((ScorerLayer::Head, &self.head))
    }
}
