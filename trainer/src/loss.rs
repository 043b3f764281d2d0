//! Next-token cross-entropy over target positions only.

use tch::{Kind, Reduction, Tensor};

use crate::model::language_model::Phi3;

/// The loss of one batch.
pub struct TokenLoss {
    /// Mean over the targets, f32 scalar; 0, still with a graph, when there is none.
    pub mean: Tensor,
    /// Targets whose most likely token is right, i64 scalar on the device.
    pub correct_count: Tensor,
}

/// Final hidden states (B, T, E), the flat places (b * T + t) whose next token is a target, and those tokens. The hidden
/// rows are gathered before the vocabulary projection, so logits exist for targets alone; they are compared in f32.
pub fn next_token_loss(llm: &Phi3, hidden_bte: &Tensor, target_places: &[i64], target_ids: &[i64]) -> TokenLoss {
    let device = hidden_bte.device();
    if target_places.is_empty() {
        let correct_count = Tensor::zeros([0i64; 0].as_slice(), (Kind::Int64, device));
        return TokenLoss { mean: (hidden_bte * 0.0).sum(Kind::Float), correct_count };
    }
    let places = Tensor::from_slice(target_places).to_device(device);
    let targets = Tensor::from_slice(target_ids).to_device(device);
    let logits = llm.logits(&hidden_bte.flatten(0, 1).index_select(0, &places)).to_kind(Kind::Float);
    let mean = logits.cross_entropy_loss(&targets, None::<&Tensor>, Reduction::Mean, -100, 0.0);
    let correct_count = logits.detach().argmax(-1, false).eq_tensor(&targets).sum(Kind::Int64);
    TokenLoss { mean, correct_count }
}
