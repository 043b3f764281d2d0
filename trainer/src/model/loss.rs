//! Next-token cross-entropy over target positions only, in chunks, so that the logits of a batch never exist at once.

use tch::{Kind, Tensor, no_grad};

use crate::libtorch::{attach_gradients, autograd_enabled, linear};

/// Most logits in memory at once: 64 MiB in f32.
const LOGITS_AT_ONCE: i64 = 1 << 24;

/// The loss of one batch.
pub struct TokenLoss {
    /// Mean over the targets, f32 scalar; 0, still with a graph, when there is none.
    pub mean: Tensor,
    /// Targets whose most likely token is right, i64 scalar on the device.
    pub correct_count: Tensor,
}

/// The loss of final hidden states (B, T, E) under the output matrix (V, E). `target_positions` are the flat positions
/// (b * T + t) whose next token is a target, `target_ids` those tokens. The hidden rows are gathered before the vocabulary
/// projection, so logits exist for targets alone, some hundreds at once; they are compared in f32. Where a gradient is needed
/// it is computed in the same pass and stored in the graph: the logits are not needed again.
pub fn next_token_loss(
    weight_ve: &Tensor,
    hidden_bte: &Tensor,
    target_positions: &[i64],
    target_ids: &[i64],
) -> TokenLoss {
    chunked_loss(weight_ve, hidden_bte, target_positions, target_ids, LOGITS_AT_ONCE)
}

fn chunked_loss(
    weight_ve: &Tensor,
    hidden_bte: &Tensor,
    target_positions: &[i64],
    target_ids: &[i64],
    logits_at_once: i64,
) -> TokenLoss {
    let device = hidden_bte.device();
    if target_positions.is_empty() {
        let correct_count = Tensor::zeros([0i64; 0].as_slice(), (Kind::Int64, device));
        return TokenLoss { mean: (hidden_bte * 0.0).sum(Kind::Float), correct_count };
    }
    let positions = Tensor::from_slice(target_positions).to_device(device);
    let hidden_re = hidden_bte.flatten(0, 1).index_select(0, &positions);
    let targets_r = Tensor::from_slice(target_ids).to_device(device);
    let has_graph = autograd_enabled();
    let needs = |tensor: &Tensor| has_graph && tensor.requires_grad();
    let sums =
        no_grad(|| Sums::of(weight_ve, &hidden_re, &targets_r, [needs(&hidden_re), needs(weight_ve)], logits_at_once));
    let hidden_grad = (!sums.hidden_grads.is_empty()).then(|| Tensor::cat(&sums.hidden_grads, 0));
    let weight_grad = sums.weight_grad.map(|grad| grad.to_kind(weight_ve.kind()));
    let grads = [(&hidden_re, &hidden_grad), (weight_ve, &weight_grad)];
    let known: Vec<(&Tensor, &Tensor)> =
        grads.into_iter().filter_map(|(input, grad)| Some((input, grad.as_ref()?))).collect();
    let mean = if known.is_empty() {
        sums.loss
    } else {
        attach_gradients(&sums.loss, &known).expect("gradients have the shapes of their inputs")
    };
    TokenLoss { mean, correct_count: sums.correct_count }
}

/// The sums over all chunks.
struct Sums {
    loss: Tensor,
    correct_count: Tensor,
    hidden_grads: Vec<Tensor>,
    weight_grad: Option<Tensor>,
}

impl Sums {
    /// The loss and correct targets, and where `wanted` the gradients of hidden states and of the matrix.
    fn of(weight_ve: &Tensor, hidden_re: &Tensor, targets_r: &Tensor, wanted: [bool; 2], logits_at_once: i64) -> Sums {
        let (vocabulary, device) = (weight_ve.size()[0], hidden_re.device());
        let (count, rows) = (targets_r.size()[0], (logits_at_once / vocabulary).max(1));
        let scalar = |kind| Tensor::zeros([0i64; 0].as_slice(), (kind, device));
        let mut sums = Sums {
            loss: scalar(Kind::Float),
            correct_count: scalar(Kind::Int64),
            hidden_grads: Vec::new(),
            weight_grad: None,
        };
        for (chunk_re, chunk_targets_r) in hidden_re.split(rows, 0).iter().zip(targets_r.split(rows, 0)) {
            let targets_r1 = chunk_targets_r.unsqueeze(1);
            let logits_rv = linear(chunk_re, weight_ve, None, None).expect("widths fit");
            let log_probabilities_rv = logits_rv.to_kind(Kind::Float).log_softmax(-1, Kind::Float);
            drop(logits_rv);
            sums.loss -= log_probabilities_rv.gather(1, &targets_r1, false).sum(Kind::Float) / count as f64;
            sums.correct_count += log_probabilities_rv.argmax(-1, false).eq_tensor(&chunk_targets_r).sum(Kind::Int64);
            if wanted == [false; 2] {
                continue;
            }
            // d loss / d logits = (softmax - one at the target) / count, written over the logarithms.
            let mut grad_rv = log_probabilities_rv;
            let one = Tensor::full([chunk_targets_r.size()[0], 1], -1.0, (Kind::Float, device));
            let _ = grad_rv.exp_().scatter_add_(1, &targets_r1, &one);
            let _ = grad_rv.g_mul_scalar_(1.0 / count as f64);
            let grad_rv = grad_rv.to_kind(hidden_re.kind());
            if wanted[0] {
                sums.hidden_grads.push(linear(&grad_rv, &weight_ve.tr(), None, None).expect("widths fit"));
            }
            if wanted[1] {
                let grad_ve = grad_rv.transpose(0, 1).matmul(chunk_re);
                // One chunk needs no wider sum; several are added in f32.
                sums.weight_grad = Some(match sums.weight_grad.take() {
                    None if count <= rows => grad_ve,
                    None => grad_ve.to_kind(Kind::Float),
                    Some(mut sum) => sum.g_add_(&grad_ve.to_kind(Kind::Float)),
                });
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use med2e3_schemas::sample::IGNORED;
    use tch::{Device, Reduction};

    /// Loss and gradients of libtorch's own cross-entropy on all logits at once.
    #[test]
    fn chunks_equal_the_whole() {
        tch::manual_seed(1);
        let options = (Kind::Float, Device::Cpu);
        let positions = [0i64, 3, 4, 6, 7];
        let ids = [2i64, 0, 6, 6, 1];
        for logits_at_once in [1, 7, 14, 21, 1000] {
            let hidden = Tensor::randn([2, 4, 5], options).set_requires_grad(true);
            let weight = Tensor::randn([7, 5], options).set_requires_grad(true);
            let found = chunked_loss(&weight, &hidden, &positions, &ids, logits_at_once);
            (&found.mean * 3.0).backward();
            let grads = [hidden.grad().copy(), weight.grad().copy()];

            let (hidden2, weight2) = (hidden.detach().set_requires_grad(true), weight.detach().set_requires_grad(true));
            let rows = hidden2.flatten(0, 1).index_select(0, &Tensor::from_slice(&positions));
            let logits = rows.linear(&weight2, None::<&Tensor>);
            let targets = Tensor::from_slice(&ids);
            let mean = logits.cross_entropy_loss(&targets, None::<&Tensor>, Reduction::Mean, IGNORED, 0.0);
            (&mean * 3.0).backward();
            let correct = logits.argmax(-1, false).eq_tensor(&targets).sum(Kind::Int64);
            assert!((&found.mean - &mean).abs().double_value(&[]) < 1e-6);
            assert_eq!(found.correct_count.int64_value(&[]), correct.int64_value(&[]));
            for (found, expected) in grads.iter().zip([hidden2.grad(), weight2.grad()]) {
                assert!((found - expected).abs().max().double_value(&[]) < 1e-6);
            }
        }
    }

    #[test]
    fn a_frozen_matrix_gets_no_gradient_and_without_a_graph_nothing_does() {
        let options = (Kind::Float, Device::Cpu);
        let (hidden, weight) =
            (Tensor::randn([1, 4, 5], options).set_requires_grad(true), Tensor::randn([7, 5], options));
        chunked_loss(&weight, &hidden, &[0, 1], &[2, 3], 7).mean.backward();
        assert!(hidden.grad().defined() && !weight.grad().defined());
        let mean = no_grad(|| chunked_loss(&weight, &hidden, &[0, 1], &[2, 3], 7).mean);
        assert!(!mean.requires_grad());
    }
}
