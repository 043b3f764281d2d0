//! The 2D tokens of all slices to as many tokens as one slice has.

use tch::{Kind, Tensor};

use super::config::Aggregate;

impl Aggregate {
    /// (B, N, Q, E) and scores (B, N) to (B, Q, E).
    pub(crate) fn forward(self, tokens_bnqe: &Tensor, scores_bn: &Tensor) -> Tensor {
        match self {
            Aggregate::Scores => weighted_sum(tokens_bnqe, scores_bn),
            Aggregate::Mean => tokens_bnqe.mean_dim([1i64].as_slice(), false, None::<Kind>),
            Aggregate::Max => tokens_bnqe.amax([1i64].as_slice(), false),
            Aggregate::TopK(k) => weighted_sum(tokens_bnqe, &top_k_weights(scores_bn, k as i64)),
        }
    }
}

/// One matrix product a volume, (1, N) by (N, Q E), so no weighted copy of the tokens is made.
fn weighted_sum(tokens_bnqe: &Tensor, weights_bn: &Tensor) -> Tensor {
    let (batch, slices, tokens, width) = tokens_bnqe.size4().expect("2D tokens have four axes");
    let weights_b1n = weights_bn.to_kind(tokens_bnqe.kind()).unsqueeze(1);
    weights_b1n.bmm(&tokens_bnqe.reshape([batch, slices, tokens * width])).view([batch, tokens, width])
}

/// 1 / k at the k highest scores, 0 elsewhere; no gradient reaches the scores.
fn top_k_weights(scores_bn: &Tensor, k: i64) -> Tensor {
    let (_, best_br) = scores_bn.topk(k, -1, true, false);
    Tensor::zeros_like(scores_bn).scatter_value(-1, &best_br, 1.0 / k as f64).detach()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four slices of one token of width 1.
    fn aggregate(aggregate: Aggregate) -> f64 {
        let tokens_bnqe = Tensor::from_slice(&[1f32, 10.0, 100.0, 1000.0]).view([1, 4, 1, 1]);
        let scores_bn = Tensor::from_slice(&[0.4f32, 0.1, 0.3, 0.2]).view([1, 4]);
        aggregate.forward(&tokens_bnqe, &scores_bn).double_value(&[0, 0, 0])
    }

    #[test]
    fn each_kind_by_hand() {
        assert!((aggregate(Aggregate::Scores) - 231.4).abs() < 1e-3);
        assert_eq!(aggregate(Aggregate::Mean), 277.75);
        assert_eq!(aggregate(Aggregate::Max), 1000.0);
        assert_eq!(aggregate(Aggregate::TopK(2)), 50.5);
    }
}
