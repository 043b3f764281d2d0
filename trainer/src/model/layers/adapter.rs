//! The low-rank sum that an adapter adds to an affine map.

use tch::{Kind, Tensor, no_grad};

use super::{Init, Linear, Tape};
use crate::libtorch::{self, Behind, LibtorchError};

/// `scale * (x A^T) B^T`, A (rank, in), B (out, rank).
pub(crate) struct Adapter {
    pub(crate) a: Tensor,
    pub(crate) b: Tensor,
    scale: f64,
    /// On the input, in training only.
    pub(crate) dropout: f64,
}

/// What one pass drops of an adapter's input: the same for the same seed.
#[derive(Clone, Copy)]
pub(super) struct Dropout {
    rate: f64,
    seed: u64,
}

impl Adapter {
    /// B starts at zero, so that a fresh adapter changes nothing.
    pub(crate) fn new(linear: &Linear, rank: i64, scale: f64, dropout: f64, init: &Init) -> Adapter {
        let (output, input) = linear.size();
        Adapter { a: init.matrix(&[rank, input]), b: init.zeros(&[output, rank]), scale, dropout }
    }

    /// The map of `x` with the adapter's sum, as one node: of what is as wide as the result it keeps nothing. A seed switches
    /// dropout on, which is drawn from it.
    pub(super) fn map(
        &self,
        linear: &Linear,
        x: &Tensor,
        residual: Option<&Tensor>,
        seed: Option<u64>,
        tape: &mut Tape,
    ) -> Tensor {
        let dropout = seed.filter(|_| self.dropout > 0.0).map(|seed| Dropout { rate: self.dropout, seed });
        let (weight, bias) = (&linear.weight, linear.bias.as_ref());
        let narrow = tape.product(|| no_grad(|| self.narrow(x, dropout)).expect("widths fit"));
        let value = tape.product(|| no_grad(|| self.sum(linear, x, residual, &narrow)).expect("widths fit"));
        let inputs: Vec<&Tensor> =
            [Some(x), Some(weight), bias, residual, Some(&self.a), Some(&self.b)].into_iter().flatten().collect();
        if !libtorch::autograd_enabled() || !inputs.iter().any(|input| input.requires_grad()) {
            return value;
        }
        let gradients = libtorch::LinearGradients::of(x, weight, bias, residual);
        let (adapter, x) = (self.shallow_clone(), x.shallow_clone());
        let attached = libtorch::attach(&value, &inputs, move |behind| {
            let mut grads = gradients.compute(behind)?;
            let own = adapter.gradients(&x, &narrow, dropout, behind, &mut grads[0])?;
            grads.extend(own);
            Ok(grads)
        });
        attached.expect("widths fit")
    }

    /// `x A^T * scale`, with what is dropped of x.
    fn narrow(&self, x: &Tensor, dropout: Option<Dropout>) -> Result<Tensor, LibtorchError> {
        let dropped = dropout.map(|dropout| dropout.apply(x)).transpose()?;
        Ok(libtorch::product(dropped.as_ref().unwrap_or(x), &self.a, None, None)? * self.factor(dropout))
    }

    /// The scale, over the share of x that stays: one number in full precision, where a mask of the model's kind would round it.
    fn factor(&self, dropout: Option<Dropout>) -> f64 {
        self.scale / (1.0 - dropout.map_or(0.0, |dropout| dropout.rate))
    }

    /// The map of `x` plus `narrow B^T`.
    fn sum(
        &self,
        linear: &Linear,
        x: &Tensor,
        residual: Option<&Tensor>,
        narrow: &Tensor,
    ) -> Result<Tensor, LibtorchError> {
        let mapped = libtorch::product(x, &linear.weight, linear.bias.as_ref(), residual)?;
        let _ = mapped.f_flatten(0, -2)?.f_addmm_(&narrow.f_flatten(0, -2)?, &self.b.f_tr()?)?;
        Ok(mapped)
    }

    /// The gradients of A and B; that of x is added to the map's.
    fn gradients(
        &self,
        x: &Tensor,
        narrow: &Tensor,
        dropout: Option<Dropout>,
        behind: &Behind,
        of_x: &mut Option<Tensor>,
    ) -> Result<[Option<Tensor>; 2], LibtorchError> {
        let rows = behind.grad.f_flatten(0, -2)?;
        let [needs_a, needs_b] = behind.is_needed.last_chunk().copied().unwrap_or_default();
        let of_narrow = libtorch::product(&rows, &self.b.f_tr()?, None, None)? * self.factor(dropout);
        let mask = dropout.map(|dropout| dropout.mask(x)).transpose()?;
        if let Some(of_x) = of_x {
            let mut sum = of_x.f_flatten(0, -2)?;
            let _ = match &mask {
                None => sum.f_addmm_(&of_narrow, &self.a)?,
                Some(mask) => {
                    let own = libtorch::product(&of_narrow, &self.a.f_tr()?, None, None)?;
                    sum.f_addcmul_(&own, &mask.f_flatten(0, -2)?)?
                }
            };
        }
        let mut of_a = None;
        if needs_a {
            let dropped = mask.map(|mask| x.f_mul(&mask)).transpose()?;
            let x = dropped.as_ref().unwrap_or(x).f_flatten(0, -2)?;
            of_a = libtorch::weight_gradient(&self.a, &of_narrow, &x, 1.0)?;
        }
        let mut of_b = None;
        if needs_b {
            of_b = libtorch::weight_gradient(&self.b, &rows, &narrow.f_flatten(0, -2)?, 1.0)?;
        }
        Ok([of_a, of_b])
    }

    /// The adapter's sum without dropout, in f32 whatever the weights' kind.
    pub(crate) fn forward_wide(&self, x: &Tensor) -> Tensor {
        let [a, b] = [&self.a, &self.b].map(|matrix| matrix.to_kind(Kind::Float));
        x.linear(&a, None::<&Tensor>).linear(&b, None::<&Tensor>) * self.scale
    }

    /// The matrix that the adapter adds, (out, in), in f32.
    pub(crate) fn delta(&self) -> Tensor {
        self.b.to_kind(Kind::Float).matmul(&self.a.to_kind(Kind::Float)) * self.scale
    }

    /// Whether a backward pass stores a gradient of its matrices.
    pub(super) fn is_trained(&self) -> bool {
        self.a.requires_grad() || self.b.requires_grad()
    }

    /// Another handle of the same matrices.
    pub(super) fn shallow_clone(&self) -> Adapter {
        Adapter { a: self.a.shallow_clone(), b: self.b.shallow_clone(), ..*self }
    }
}

impl Dropout {
    /// 0 where an element is dropped, else 1; drawn again rather than kept.
    fn mask(self, x: &Tensor) -> Result<Tensor, LibtorchError> {
        libtorch::dropout_mask(x, self.rate, self.seed)
    }

    fn apply(self, x: &Tensor) -> Result<Tensor, LibtorchError> {
        Ok(x.f_mul(&self.mask(x)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::layers::Initializer;
    use tch::Device;

    /// Value and gradients against libtorch's own autograd over the same formula, with whatever is frozen and dropped.
    #[test]
    fn an_adapted_map_equals_its_formula() {
        let init = Init::drawn(Device::Cpu, Kind::Float, Initializer::FanIn, 5);
        for case in 0..16 {
            let has = |bit: usize| case >> bit & 1 == 1;
            let leaf = |shape: &[i64], is_trained: bool| init.matrix(shape).set_requires_grad(is_trained);
            let linear =
                Linear { weight: leaf(&[12, 10], has(0)), bias: has(1).then(|| leaf(&[1, 12], true).view([12])) };
            let bias = linear.bias.as_ref().map(|bias| bias.detach().set_requires_grad(true));
            let linear = Linear { bias, ..linear };
            let dropout = if has(2) { 0.4 } else { 0.0 };
            let adapter = Adapter { a: leaf(&[3, 10], true), b: leaf(&[12, 3], true), scale: 1.7, dropout };
            let (x, residual) = (leaf(&[2, 20, 10], has(3)), leaf(&[2, 20, 12], true));
            let found = adapter.map(&linear, &x, Some(&residual), Some(7), &mut Tape::Computed);

            let mask = libtorch::dropout_mask(&x, dropout, 7).unwrap();
            let sum = (&x * &mask / (1.0 - dropout)).matmul(&adapter.a.tr()).matmul(&adapter.b.tr()) * 1.7;
            let expected = x.linear(&linear.weight, linear.bias.as_ref()) + sum + &residual;
            let is_close = |found: &Tensor, expected: &Tensor| {
                (found - expected).norm().double_value(&[]) <= 1e-5 * expected.norm().double_value(&[])
            };
            assert!(is_close(&found, &expected), "{case}");
            let (weight, bias) = (Some(&linear.weight), linear.bias.as_ref());
            let all = [Some(&x), weight, bias, Some(&residual), Some(&adapter.a), Some(&adapter.b)];
            let trained: Vec<&Tensor> = all.into_iter().flatten().filter(|tensor| tensor.requires_grad()).collect();
            let grads =
                |result: &Tensor| Tensor::run_backward(&[result.square().sum(Kind::Float)], &trained, false, false);
            for (found, expected) in grads(&found).iter().zip(grads(&expected)) {
                assert!(is_close(found, &expected), "{case}");
            }
        }
    }

    #[test]
    fn what_is_dropped_depends_on_the_seed_alone() {
        let x = Tensor::ones([100, 100], (Kind::Float, Device::Cpu));
        let mask = |seed: u64| libtorch::dropout_mask(&x, 0.25, seed).unwrap();
        let first = mask(1);
        tch::manual_seed(9);
        assert!(first == mask(1) && first != mask(2));
        let dropped = first.eq(0.0).to_kind(Kind::Float).mean(Kind::Float).double_value(&[]);
        assert!((dropped - 0.25).abs() < 0.02, "{dropped}");
        assert!(first == first.ne(0.0).to_kind(Kind::Float));
    }

    /// One over the share that stays is no number of bf16: rounded, it would make every sum and gradient 0.2 % too large.
    #[test]
    fn dropout_in_bf16_keeps_the_size_of_sums_and_gradients() {
        tch::manual_seed(3);
        let leaf = |shape: &[i64]| {
            let drawn = Tensor::randn(shape, (Kind::Float, Device::Cpu));
            drawn.to_kind(Kind::BFloat16).set_requires_grad(true)
        };
        let weight = Tensor::zeros([64, 96], (Kind::BFloat16, Device::Cpu));
        let linear = Linear { weight, bias: None };
        let adapter = Adapter { a: leaf(&[32, 96]), b: leaf(&[64, 32]), scale: 1.0, dropout: 0.05 };
        let x = leaf(&[1000, 96]);
        let found = adapter.map(&linear, &x, None, Some(7), &mut Tape::Computed);

        let wide = |tensor: &Tensor| tensor.detach().to_kind(Kind::Double).set_requires_grad(true);
        let (x2, a2, b2) = (wide(&x), wide(&adapter.a), wide(&adapter.b));
        let stays = libtorch::dropout_mask(&x, 0.05, 7).unwrap().ne(0.0).to_kind(Kind::Double) / 0.95;
        let expected = (&x2 * &stays).matmul(&a2.tr()).matmul(&b2.tr());
        let above = leaf(&[1000, 64]).detach();
        let grads = |result: &Tensor, leaves: &[&Tensor]| {
            let sum = (result * above.to_kind(result.kind())).sum(Kind::Float);
            Tensor::run_backward(&[sum], leaves, false, false)
        };
        let mut found_all = grads(&found, &[&x, &adapter.a, &adapter.b]);
        let mut expected_all = grads(&expected, &[&x2, &a2, &b2]);
        found_all.push(found);
        expected_all.push(expected);
        for (found, expected) in found_all.iter().zip(&expected_all) {
            // Roundings of single numbers cancel out; the ratio of all of them is left.
            let sum = |a: &Tensor, b: &Tensor| (a.to_kind(Kind::Double) * b).sum(Kind::Double).double_value(&[]);
            let ratio = sum(found, expected) / sum(expected, expected);
            assert!((ratio - 1.0).abs() < 3e-4, "{ratio}");
        }
    }
}
