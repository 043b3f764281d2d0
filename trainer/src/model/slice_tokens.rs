//! The 2D tokens of all slices, as late as possible in the language model's width.
//!
//! The connector's last map is affine, so it may come after a mean or a weighed sum: `sum s (W x + b) = W (sum s x) + b sum s`. It
//! then maps the tokens of one slice a mention and one feature a slice, not those of every slice.

use tch::{Kind, Tensor};

use super::config::Aggregate;
use super::layers::Linear;
use super::mentions::PlacedMentions;

/// Tokens of every slice, before the last map where there is one to come.
pub(crate) struct SliceTokens<'a> {
    /// (V, N, Q, E of the last map's input).
    hidden_vnqe: Tensor,
    last: Option<&'a Linear>,
}

impl<'a> SliceTokens<'a> {
    /// Of an aggregate that commutes with the last map, the tokens before it; else all mapped.
    pub(crate) fn new(hidden_vnqe: Tensor, last: Option<&'a Linear>, aggregate: Aggregate) -> SliceTokens<'a> {
        let tokens = SliceTokens { hidden_vnqe, last };
        match aggregate {
            Aggregate::Max => SliceTokens { hidden_vnqe: tokens.all(), last: None },
            Aggregate::Scores | Aggregate::Mean | Aggregate::TopK(_) => tokens,
        }
    }

    /// Another handle of the same tokens.
    pub(crate) fn shallow_clone(&self) -> SliceTokens<'a> {
        SliceTokens { hidden_vnqe: self.hidden_vnqe.shallow_clone(), last: self.last }
    }

    /// Every token of every slice, (V, N, Q, E).
    pub(crate) fn all(&self) -> Tensor {
        mapped(self.last, &self.hidden_vnqe)
    }

    /// Tokens of a slice.
    pub(crate) fn count(&self) -> i64 {
        self.hidden_vnqe.size()[2]
    }

    /// The mean over each slice's tokens, (V, N, E).
    pub(crate) fn means(&self) -> Tensor {
        mapped(self.last, &self.hidden_vnqe.mean_dim([2i64].as_slice(), false, None::<Kind>))
    }

    /// With scores (M, N) to the tokens of one slice a mention, (M, Q, E).
    pub(crate) fn aggregated(&self, aggregate: Aggregate, scores_mn: &Tensor, mentions: &PlacedMentions) -> Tensor {
        let (tokens, width) = (self.count(), self.hidden_vnqe.size()[3]);
        let flat_vnf = self.hidden_vnqe.flatten(2, 3);
        let unflat = |x_mf: Tensor| x_mf.view([-1, tokens, width]);
        match aggregate {
            Aggregate::Mean => mapped(self.last, &unflat(mentions.means(&flat_vnf))),
            Aggregate::Max => mentions.of_volumes(&self.hidden_vnqe.amax([1i64].as_slice(), false)),
            Aggregate::Scores => self.weighed(unflat(mentions.weighed_sums(&flat_vnf, scores_mn)), scores_mn),
            Aggregate::TopK(k) => {
                let weights_mn = top_k_weights(scores_mn, k as i64);
                self.weighed(unflat(mentions.weighed_sums(&flat_vnf, &weights_mn)), &weights_mn)
            }
        }
    }

    /// The last map of weighed sums; its bias counts as much as all weights together, which dropout keeps from being 1.
    fn weighed(&self, hidden_mqe: Tensor, weights_mn: &Tensor) -> Tensor {
        let Some(last) = self.last else { return hidden_mqe };
        let mapped_mqe = last.forward_without_bias(&hidden_mqe);
        let Some(bias) = &last.bias else { return mapped_mqe };
        let sums_m11 = weights_mn.sum_dim_intlist([1i64].as_slice(), true, None::<Kind>).unsqueeze(2);
        mapped_mqe + bias * sums_m11.to_kind(bias.kind())
    }
}

fn mapped(map: Option<&Linear>, x: &Tensor) -> Tensor {
    map.map_or_else(|| x.shallow_clone(), |map| map.forward(x))
}

/// 1 / k at the k highest scores, 0 elsewhere; no gradient reaches the scores.
fn top_k_weights(scores_mn: &Tensor, k: i64) -> Tensor {
    let (_, best_mk) = scores_mn.topk(k, -1, true, false);
    Tensor::zeros_like(scores_mn).scatter_value(-1, &best_mk, 1.0 / k as f64).detach()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::layers::{Init, Initializer};
    use crate::model::mentions::Mentions;
    use tch::Device;

    fn placed(plan: &Mentions) -> PlacedMentions<'_> {
        let tensor = |values: &[i64]| Tensor::from_slice(values);
        let [texts_m, volumes_m, slots_m] = [&plan.texts, &plan.volumes, &plan.slots].map(|values| tensor(values));
        PlacedMentions { plan, texts_m, volumes_m, slots_m }
    }

    /// Four slices of one token of width 1.
    fn aggregate(aggregate: Aggregate) -> f64 {
        let tokens_vnqe = Tensor::from_slice(&[1f32, 10.0, 100.0, 1000.0]).view([1, 4, 1, 1]);
        let scores_mn = Tensor::from_slice(&[0.4f32, 0.1, 0.3, 0.2]).view([1, 4]);
        let plan = Mentions::plan(vec![0], vec![0], 1);
        let tokens = SliceTokens::new(tokens_vnqe, None, aggregate);
        tokens.aggregated(aggregate, &scores_mn, &placed(&plan)).double_value(&[0, 0, 0])
    }

    #[test]
    fn each_kind_by_hand() {
        assert!((aggregate(Aggregate::Scores) - 231.4).abs() < 1e-3);
        assert_eq!(aggregate(Aggregate::Mean), 277.75);
        assert_eq!(aggregate(Aggregate::Max), 1000.0);
        assert_eq!(aggregate(Aggregate::TopK(2)), 50.5);
    }

    /// Mentions that share volumes, with a map to come and scores that do not sum to 1, against one volume at a time with every
    /// token mapped first; values and gradients.
    #[test]
    fn shared_volumes_and_a_late_map_change_nothing() {
        let options = (Kind::Double, Device::Cpu);
        tch::manual_seed(3);
        let init = Init::drawn(Device::Cpu, Kind::Double, Initializer::FanIn, 5);
        let mut last = Linear::new(&init, 3, 4);
        last.bias = Some(Tensor::randn([4], options));
        [Some(&last.weight), last.bias.as_ref()].into_iter().flatten().for_each(|leaf| {
            let _ = leaf.set_requires_grad(true);
        });
        let hidden_vnqe = Tensor::randn([3, 5, 2, 3], options).set_requires_grad(true);
        let scores_mn = Tensor::rand([6, 5], options).set_requires_grad(true);
        for volumes in [vec![2, 0, 2, 2, 1, 0], vec![0, 1, 2], vec![1, 1, 1]] {
            let plan = Mentions::plan(vec![0; volumes.len()], volumes.clone(), 3);
            let scores_mn = scores_mn.narrow(0, 0, volumes.len() as i64);
            for aggregate in [Aggregate::Scores, Aggregate::Mean, Aggregate::Max, Aggregate::TopK(2)] {
                let tokens = SliceTokens::new(hidden_vnqe.shallow_clone(), Some(&last), aggregate);
                let found = tokens.aggregated(aggregate, &scores_mn, &placed(&plan));
                let all_vnqe = last.forward(&hidden_vnqe);
                let of_mention = |(mention, volume): (usize, &i64)| {
                    let (tokens_nqe, scores_n) = (all_vnqe.get(*volume), scores_mn.get(mention as i64));
                    let weighed = |weights_n: &Tensor| {
                        (&tokens_nqe * weights_n.view([-1, 1, 1])).sum_dim_intlist(
                            [0i64].as_slice(),
                            false,
                            None::<Kind>,
                        )
                    };
                    match aggregate {
                        Aggregate::Scores => weighed(&scores_n),
                        Aggregate::Mean => tokens_nqe.mean_dim([0i64].as_slice(), false, None::<Kind>),
                        Aggregate::Max => tokens_nqe.amax([0i64].as_slice(), false),
                        Aggregate::TopK(k) => weighed(&top_k_weights(&scores_n.unsqueeze(0), k as i64).squeeze_dim(0)),
                    }
                };
                let expected = Tensor::stack(&volumes.iter().enumerate().map(of_mention).collect::<Vec<_>>(), 0);
                assert!((&found - &expected).abs().max().double_value(&[]) < 1e-12, "{aggregate:?} {volumes:?}");
                let leaves = [&hidden_vnqe, &last.weight];
                let grads = |x: &Tensor| Tensor::run_backward(&[x.square().sum(Kind::Double)], &leaves, false, false);
                for (found, expected) in grads(&found).iter().zip(grads(&expected)) {
                    assert!((found - expected).abs().max().double_value(&[]) < 1e-10, "{aggregate:?} {volumes:?}");
                }
            }
        }
    }
}
