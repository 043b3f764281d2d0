//! Next-token cross-entropy over target positions only, in chunks, so that the logits of a batch never exist at once.

use tch::{Kind, Tensor, no_grad};

use crate::libtorch::{add_product, attach, autograd_enabled, known_gradient, linear};

/// Most logits in memory at once: 64 MiB in f32.
const LOGITS_AT_ONCE: i64 = 1 << 24;

/// The targets of a batch.
pub struct Targets<'a> {
    /// i64, (R): flat positions (b * T + t) whose next token is a target.
    pub positions_r: &'a Tensor,
    /// i64, (R): those tokens.
    pub ids_r: &'a Tensor,
    /// f32, (R): what each counts.
    pub weights_r: &'a Tensor,
}

/// The loss of one batch.
pub struct TokenLoss {
    /// The sum of the targets' cross-entropy, each by its weight, f32 scalar; 0, still with a graph, when there is none.
    pub weighted: Tensor,
    /// The plain sum, in nats, f32 scalar without a graph.
    pub sum: Tensor,
    /// f32, (R): each target's cross-entropy in nats, without a graph.
    pub each_r: Tensor,
    /// Targets whose most likely token is right, i64 scalar on the device.
    pub correct_count: Tensor,
}

/// The loss of final hidden states (B, T, E) under the output matrix (V, E). The hidden rows are gathered before the vocabulary
/// projection, so logits exist for targets alone, some hundreds at once; they are compared in f32. Where a gradient is needed
/// it is computed in the same pass and stored in the graph: the logits are not needed again.
pub fn next_token_loss(weight_ve: &Tensor, hidden_bte: &Tensor, targets: &Targets) -> TokenLoss {
    chunked_loss(weight_ve, hidden_bte, targets, LOGITS_AT_ONCE)
}

fn chunked_loss(weight_ve: &Tensor, hidden_bte: &Tensor, targets: &Targets, logits_at_once: i64) -> TokenLoss {
    if targets.ids_r.size()[0] == 0 {
        let scalar = |kind| Tensor::zeros([0i64; 0].as_slice(), (kind, hidden_bte.device()));
        let weighted = (hidden_bte * 0.0).sum(Kind::Float);
        let each_r = Tensor::zeros([0], (Kind::Float, hidden_bte.device()));
        return TokenLoss { weighted, sum: scalar(Kind::Float), each_r, correct_count: scalar(Kind::Int64) };
    }
    let hidden_re = hidden_bte.flatten(0, 1).index_select(0, targets.positions_r);
    let has_graph = autograd_enabled();
    let needs = |tensor: &Tensor| has_graph && tensor.requires_grad();
    let wanted = [needs(&hidden_re), needs(weight_ve)];
    let sums = no_grad(|| Sums::of(weight_ve, &hidden_re, targets, wanted, logits_at_once));
    let each_r = Tensor::cat(&sums.each, 0);
    if wanted == [false; 2] {
        return TokenLoss { weighted: sums.weighted, sum: sums.sum, each_r, correct_count: sums.correct_count };
    }
    let hidden_grad = (!sums.hidden_grads.is_empty()).then(|| Tensor::cat(&sums.hidden_grads, 0));
    let (weight, weight_grad) = (weight_ve.shallow_clone(), sums.weight_grad);
    // What arrives here is the loss's own gradient, a scalar.
    let weighted = attach(&sums.weighted, &[&hidden_re, weight_ve], move |behind| {
        let of_hidden = hidden_grad.as_ref().map(|grad| grad.f_mul(&behind.grad.to_kind(grad.kind())));
        let of_weight = weight_grad.as_ref().map(|grad| known_gradient(&weight, grad, behind.grad));
        Ok(vec![of_hidden.transpose()?, of_weight.transpose()?.flatten()])
    });
    let weighted = weighted.expect("gradients have the shapes of their inputs");
    TokenLoss { weighted, sum: sums.sum, each_r, correct_count: sums.correct_count }
}

/// The sums over all chunks.
struct Sums {
    weighted: Tensor,
    sum: Tensor,
    /// Of every chunk.
    each: Vec<Tensor>,
    correct_count: Tensor,
    hidden_grads: Vec<Tensor>,
    /// (V, E), in f32 whatever the matrix's kind, as the sum that it is added to.
    weight_grad: Option<Tensor>,
}

impl Sums {
    /// The losses and correct targets, and where `wanted` the gradients of hidden states and of the matrix.
    fn of(weight_ve: &Tensor, hidden_re: &Tensor, targets: &Targets, wanted: [bool; 2], logits_at_once: i64) -> Sums {
        let (vocabulary, device) = (weight_ve.size()[0], hidden_re.device());
        let (count, rows) = (targets.ids_r.size()[0], (logits_at_once / vocabulary).max(1));
        let scalar = |kind| Tensor::zeros([0i64; 0].as_slice(), (kind, device));
        let mut sums = Sums {
            weighted: scalar(Kind::Float),
            sum: scalar(Kind::Float),
            each: Vec::new(),
            correct_count: scalar(Kind::Int64),
            hidden_grads: Vec::new(),
            weight_grad: wanted[1].then(|| Tensor::zeros(weight_ve.size(), (Kind::Float, device))),
        };
        for start in (0..count).step_by(rows as usize) {
            let chunk = |tensor: &Tensor| tensor.narrow(0, start, rows.min(count - start));
            let (chunk_re, ids_r) = (chunk(hidden_re), chunk(targets.ids_r));
            let (ids_r1, weights_r1) = (ids_r.unsqueeze(1), chunk(targets.weights_r).unsqueeze(1));
            let logits_rv = linear(&chunk_re, weight_ve, None, None).expect("widths fit");
            let log_probabilities_rv = logits_rv.to_kind(Kind::Float).log_softmax(-1, Kind::Float);
            drop(logits_rv);
            let of_targets_r1 = log_probabilities_rv.gather(1, &ids_r1, false);
            sums.weighted -= (&of_targets_r1 * &weights_r1).sum(Kind::Float);
            sums.sum -= of_targets_r1.sum(Kind::Float);
            sums.each.push(-of_targets_r1.squeeze_dim(1));
            sums.correct_count += log_probabilities_rv.argmax(-1, false).eq_tensor(&ids_r).sum(Kind::Int64);
            if wanted == [false; 2] {
                continue;
            }
            // d loss / d logits = (softmax - one at the target) * weight, written over the logarithms.
            let mut grad_rv = log_probabilities_rv;
            let _ = grad_rv.exp_().scatter_add_(1, &ids_r1, &-weights_r1.ones_like());
            let _ = grad_rv.g_mul_(&weights_r1);
            let grad_rv = grad_rv.to_kind(hidden_re.kind());
            if wanted[0] {
                sums.hidden_grads.push(linear(&grad_rv, &weight_ve.tr(), None, None).expect("widths fit"));
            }
            if let Some(sum_ve) = &mut sums.weight_grad {
                add_product(sum_ve, &grad_rv, &chunk_re).expect("widths fit");
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::libtorch::{backward, put_gradient};
    use med2e3_schemas::sample::IGNORED;
    use tch::{Device, Reduction};

    const CPU: (Kind, Device) = (Kind::Float, Device::Cpu);

    /// Losses and gradients of libtorch's own cross-entropy on all logits at once.
    #[test]
    fn chunks_equal_the_whole() {
        tch::manual_seed(1);
        let positions_r = Tensor::from_slice(&[0i64, 3, 4, 6, 7]);
        let ids_r = Tensor::from_slice(&[2i64, 0, 6, 6, 1]);
        let weights_r = Tensor::from_slice(&[0.2f32, 0.0, 1.5, 0.3, 0.1]);
        let targets = Targets { positions_r: &positions_r, ids_r: &ids_r, weights_r: &weights_r };
        for logits_at_once in [1, 7, 14, 21, 1000] {
            let hidden = Tensor::randn([2, 4, 5], CPU).set_requires_grad(true);
            let weight = Tensor::randn([7, 5], CPU).set_requires_grad(true);
            let found = chunked_loss(&weight, &hidden, &targets, logits_at_once);
            (&found.weighted * 3.0).backward();
            let grads = [hidden.grad().copy(), weight.grad().copy()];

            let (hidden2, weight2) = (hidden.detach().set_requires_grad(true), weight.detach().set_requires_grad(true));
            let logits = hidden2.flatten(0, 1).index_select(0, &positions_r).linear(&weight2, None::<&Tensor>);
            let each = logits.cross_entropy_loss(&ids_r, None::<&Tensor>, Reduction::None, IGNORED, 0.0);
            let weighted = (&each * &weights_r).sum(Kind::Float);
            (&weighted * 3.0).backward();
            let correct = logits.argmax(-1, false).eq_tensor(&ids_r).sum(Kind::Int64);
            assert!((&found.weighted - &weighted).abs().double_value(&[]) < 1e-5);
            assert!((&found.sum - each.sum(Kind::Float)).abs().double_value(&[]) < 1e-5);
            assert!(!found.each_r.requires_grad() && found.each_r.allclose(&each.detach(), 1e-6, 1e-6, false));
            assert_eq!(found.correct_count.int64_value(&[]), correct.int64_value(&[]));
            for (found, expected) in grads.iter().zip([hidden2.grad(), weight2.grad()]) {
                assert!((found - expected).abs().max().double_value(&[]) < 1e-5);
            }
        }
    }

    /// 64 micro-batches in bf16: the output matrix's gradient goes into its f32 sum without being rounded to bf16 before.
    #[test]
    fn the_matrix_of_bf16_has_a_sum_in_f32() {
        tch::manual_seed(4);
        let draw = |shape: &[i64]| Tensor::randn(shape, CPU).to_kind(Kind::BFloat16).set_requires_grad(true);
        for logits_at_once in [60, 10_000] {
            let weight = draw(&[20, 16]);
            let sum = Tensor::zeros([20, 16], CPU);
            let _ = put_gradient(&weight, &sum).unwrap();
            let mut exact = Tensor::zeros([20, 16], (Kind::Double, Device::Cpu));
            for _ in 0..64 {
                let hidden = draw(&[1, 40, 16]).detach();
                let (positions_r, ids_r) = (
                    Tensor::arange(40, (Kind::Int64, Device::Cpu)),
                    Tensor::randint(20, [40], (Kind::Int64, Device::Cpu)),
                );
                let targets = Targets { positions_r: &positions_r, ids_r: &ids_r, weights_r: &Tensor::ones([40], CPU) };
                backward(&(chunked_loss(&weight, &hidden, &targets, logits_at_once).weighted * 0.3)).unwrap();
                // Logits and their gradient are bf16, as libtorch's are; what is made of them is exact here.
                let (rows, matrix) = (hidden.view([40, 16]), weight.detach());
                let logits = rows.matmul(&matrix.tr()).to_kind(Kind::Float);
                let one = logits.zeros_like().scatter_value(1, &ids_r.unsqueeze(1), 1.0);
                let grad = (logits.softmax(-1, Kind::Float) - one).to_kind(Kind::BFloat16).to_kind(Kind::Double);
                exact += grad.tr().matmul(&rows.to_kind(Kind::Double)) * 0.3;
            }
            let off = (weight.grad().to_kind(Kind::Double) - &exact).norm() / exact.norm();
            assert!(weight.grad().data_ptr() == sum.data_ptr());
            assert!(off.double_value(&[]) < 1e-4, "{}", off.double_value(&[]));
        }
    }

    #[test]
    fn a_frozen_matrix_gets_no_gradient_and_without_a_graph_nothing_does() {
        let (hidden, weight) = (Tensor::randn([1, 4, 5], CPU).set_requires_grad(true), Tensor::randn([7, 5], CPU));
        let (positions_r, ids_r) = (Tensor::from_slice(&[0i64, 1]), Tensor::from_slice(&[2i64, 3]));
        let targets = Targets { positions_r: &positions_r, ids_r: &ids_r, weights_r: &Tensor::ones([2], CPU) };
        chunked_loss(&weight, &hidden, &targets, 7).weighted.backward();
        assert!(hidden.grad().defined() && !weight.grad().defined());
        assert!(!no_grad(|| chunked_loss(&weight, &hidden, &targets, 7).weighted).requires_grad());
    }
}
