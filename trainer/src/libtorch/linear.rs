//! An affine map with a residual, by oneDNN where that is faster, and the gradients of its weights.

use std::ffi::c_int;

use tch::Tensor;

use super::call::{LibtorchError, TensorPtr, check, pointer, take};
use super::gradients::autograd_enabled;
use super::node::{Behind, attach};

unsafe extern "C" {
    fn med2e3_linear(
        x: TensorPtr,
        weight: TensorPtr,
        bias: TensorPtr,
        residual: TensorPtr,
        out: *mut TensorPtr,
    ) -> c_int;
    fn med2e3_weight_gradient(
        weight: TensorPtr,
        grad: TensorPtr,
        x: TensorPtr,
        factor: f64,
        out: *mut TensorPtr,
    ) -> c_int;
    fn med2e3_bias_gradient(bias: TensorPtr, grad: TensorPtr, out: *mut TensorPtr) -> c_int;
    fn med2e3_add_product(sum: TensorPtr, grad: TensorPtr, x: TensorPtr) -> c_int;
    fn med2e3_known_gradient(weight: TensorPtr, grad: TensorPtr, factor: TensorPtr, out: *mut TensorPtr) -> c_int;
}

/// `x W^T + b + residual` over the last axis of `x`, the weight (out, in); the residual has the result's shape. In f32 on
/// the CPU by oneDNN, which maps a block's tokens a sixth faster there than the MKL that libtorch's own `linear` calls, and
/// adds the residual in the same pass; elsewhere by `linear`. Differentiable once. Gradients of weight and bias go where
/// [`weight_gradient`] says.
///
/// # Errors
/// When libtorch rejects the tensors.
pub fn linear(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    residual: Option<&Tensor>,
) -> Result<Tensor, LibtorchError> {
    linear_of(product(x, weight, bias, residual)?, x, weight, bias, residual)
}

/// The value of [`linear`], without a graph.
///
/// # Errors
/// As [`linear`].
pub fn product(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    residual: Option<&Tensor>,
) -> Result<Tensor, LibtorchError> {
    let optional = |tensor: Option<&Tensor>| tensor.map_or(std::ptr::null_mut(), pointer);
    let mut out: TensorPtr = std::ptr::null_mut();
    // SAFETY: live tensors or null, borrowed for the call; `out` is written only on success, with a new tensor.
    unsafe {
        let status = med2e3_linear(pointer(x), pointer(weight), optional(bias), optional(residual), &mut out);
        take(status, out)
    }
}

/// [`linear`] where its value is known: the graph alone.
///
/// # Errors
/// As [`linear`].
pub fn linear_of(
    value: Tensor,
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    residual: Option<&Tensor>,
) -> Result<Tensor, LibtorchError> {
    let inputs: Vec<&Tensor> = [Some(x), Some(weight), bias, residual].into_iter().flatten().collect();
    if !autograd_enabled() || !inputs.iter().any(|input| input.requires_grad()) {
        return Ok(value);
    }
    let gradients = LinearGradients::of(x, weight, bias, residual);
    attach(&value, &inputs, move |behind| gradients.compute(behind))
}

/// What the gradients of one affine map are computed from. What none of them needs is not kept.
pub struct LinearGradients {
    x_size: Vec<i64>,
    output: i64,
    x: Option<Tensor>,
    weight: Option<Tensor>,
    bias: Option<Tensor>,
    has_bias: bool,
    has_residual: bool,
}

impl LinearGradients {
    /// Of the map of these inputs.
    pub fn of(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, residual: Option<&Tensor>) -> LinearGradients {
        LinearGradients {
            x_size: x.size(),
            output: weight.size()[0],
            x: weight.requires_grad().then(|| x.shallow_clone()),
            weight: (x.requires_grad() || weight.requires_grad()).then(|| weight.shallow_clone()),
            bias: bias.filter(|bias| bias.requires_grad()).map(Tensor::shallow_clone),
            has_bias: bias.is_some(),
            has_residual: residual.is_some(),
        }
    }

    /// The gradients of x, weight, and bias and residual where they are there, in this order. A node may have more inputs after
    /// them.
    ///
    /// # Errors
    /// When libtorch rejects the tensors.
    pub fn compute(&self, behind: &Behind) -> Result<Vec<Option<Tensor>>, LibtorchError> {
        let needed = |index: usize| behind.is_needed[index];
        let rows = behind.grad.f_reshape([-1, self.output])?.f_contiguous()?;
        let mut grads = vec![None, None];
        if let Some(weight) = self.weight.as_ref().filter(|_| needed(0)) {
            grads[0] = Some(product(&rows, &weight.f_tr()?, None, None)?.f_view(self.x_size.as_slice())?);
        }
        if let (Some(weight), Some(x)) = (&self.weight, self.x.as_ref().filter(|_| needed(1))) {
            grads[1] = weight_gradient(weight, &rows, &x.f_flatten(0, -2)?, 1.0)?;
        }
        if self.has_bias {
            let bias = self.bias.as_ref().filter(|_| needed(2));
            grads.push(bias.map(|bias| bias_gradient(bias, &rows)).transpose()?.flatten());
        }
        if self.has_residual {
            grads.push(needed(grads.len()).then(|| behind.grad.shallow_clone()));
        }
        Ok(grads)
    }
}

/// The gradient `factor * grad^T x` of a weight (out, in), for `grad` (rows, out) and `x` (rows, in). Where the weight is a leaf
/// that holds a sum of gradients in f32, of whatever kind the weight is, it is added to that sum with all its bits, and there
/// is nothing to return: that is for backward passes that store gradients, and other ones leave the sum alone.
///
/// # Errors
/// When libtorch rejects the tensors.
pub fn weight_gradient(
    weight: &Tensor,
    grad: &Tensor,
    x: &Tensor,
    factor: f64,
) -> Result<Option<Tensor>, LibtorchError> {
    let mut out: TensorPtr = std::ptr::null_mut();
    // SAFETY: live tensors, borrowed for the call; the weight's gradient is changed by no other thread during a backward
    // pass; `out` is written only on success, if at all, with a new tensor.
    unsafe {
        let status = med2e3_weight_gradient(pointer(weight), pointer(grad), pointer(x), factor, &mut out);
        optional(status, out)
    }
}

/// The same for a bias (out): the sum of `grad` (rows, out) over its rows.
///
/// # Errors
/// As [`weight_gradient`].
pub fn bias_gradient(bias: &Tensor, grad: &Tensor) -> Result<Option<Tensor>, LibtorchError> {
    let mut out: TensorPtr = std::ptr::null_mut();
    // SAFETY: as in `weight_gradient`.
    unsafe { optional(med2e3_bias_gradient(pointer(bias), pointer(grad), &mut out), out) }
}

/// Adds `grad^T x` to the f32 tensor `sum` (out, in), for `grad` (rows, out) and `x` (rows, in) of any kind: nothing is rounded
/// to theirs.
///
/// # Errors
/// When libtorch rejects the tensors.
pub fn add_product(sum: &mut Tensor, grad: &Tensor, x: &Tensor) -> Result<(), LibtorchError> {
    // SAFETY: live tensors, one borrowed exclusively, for the call.
    check(unsafe { med2e3_add_product(sum.as_mut_ptr().cast(), pointer(grad), pointer(x)) })
}

/// A weight's gradient that is known already, in f32, times the scalar `factor` that arrives behind it: goes where
/// [`weight_gradient`] says.
///
/// # Errors
/// When libtorch rejects the tensors.
pub fn known_gradient(weight: &Tensor, grad: &Tensor, factor: &Tensor) -> Result<Option<Tensor>, LibtorchError> {
    let mut out: TensorPtr = std::ptr::null_mut();
    // SAFETY: as in `weight_gradient`.
    unsafe { optional(med2e3_known_gradient(pointer(weight), pointer(grad), pointer(factor), &mut out), out) }
}

/// As [`take`], for a function that may leave `out` null.
///
/// # Safety
/// As [`take`].
unsafe fn optional(status: c_int, out: TensorPtr) -> Result<Option<Tensor>, LibtorchError> {
    if out.is_null() {
        return check(status).map(|()| None);
    }
    // SAFETY: by this function's contract.
    unsafe { take(status, out) }.map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::libtorch::{backward, backward_from, put_gradient};
    use tch::{Device, Kind};

    /// Values and gradients of libtorch's own `linear`, for few and many rows, every choice of what is there and what is
    /// frozen, and a transposed view as the matrix.
    #[test]
    fn linear_equals_libtorchs_own() {
        tch::manual_seed(1);
        let options = (Kind::Float, Device::Cpu);
        for (case, rows) in (0..32).flat_map(|case| [(case, 3), (case, 50)]) {
            let has = |bit: usize| case >> bit & 1 == 1;
            let leaf = |shape: &[i64], is_trained: bool| Tensor::randn(shape, options).set_requires_grad(is_trained);
            let (x, weight) = (leaf(&[2, rows, 7], has(2)), leaf(&[5, 7], has(3)));
            let bias = has(0).then(|| leaf(&[5], true));
            let residual = has(1).then(|| leaf(&[2, rows, 5], true));
            let matrix = if has(4) { weight.tr().contiguous().tr() } else { weight.shallow_clone() };
            let expected = x.linear(&weight, bias.as_ref());
            let expected = residual.as_ref().map_or(expected.shallow_clone(), |residual| expected + residual);
            let found = linear(&x, &matrix, bias.as_ref(), residual.as_ref()).unwrap();
            assert!((&found - &expected).abs().max().double_value(&[]) < 1e-5, "{case}");
            if !expected.requires_grad() {
                assert!(!found.requires_grad());
                continue;
            }
            let trained: Vec<&Tensor> =
                [Some(&x), Some(&weight), bias.as_ref(), residual.as_ref()].into_iter().flatten().collect();
            let trained: Vec<&Tensor> = trained.into_iter().filter(|tensor| tensor.requires_grad()).collect();
            let grads =
                |result: &Tensor| Tensor::run_backward(&[result.square().sum(Kind::Float)], &trained, false, false);
            for (found, expected) in grads(&found).iter().zip(grads(&expected)) {
                assert!((found - expected).abs().max().double_value(&[]) < 1e-3, "{case}");
            }
        }
        assert!(linear(&Tensor::zeros([40, 7], options), &Tensor::zeros([5, 6], options), None, None).is_err());
    }

    /// A sum of a weight's gradients, as an optimizer lends it: a view into one buffer, in f32 whatever the weight's kind.
    fn with_sums(weights: &[&Tensor]) -> Tensor {
        let length: i64 = weights.iter().map(|weight| weight.numel() as i64).sum();
        let buffer = Tensor::zeros([length], (Kind::Float, Device::Cpu));
        let mut start = 0;
        for weight in weights {
            let view = buffer.narrow(0, start, weight.numel() as i64).view(weight.size().as_slice());
            let _ = put_gradient(weight, &view).unwrap();
            start += weight.numel() as i64;
        }
        buffer
    }

    /// The relative error of a sum.
    fn off(found: &Tensor, exact: &Tensor) -> f64 {
        let [found, exact] = [found, exact].map(|x| x.to_kind(Kind::Double));
        ((found - &exact).norm() / exact.norm()).double_value(&[])
    }

    /// 64 backward passes in bf16, against the same sums of the same numbers in f64. What a sum in f32 errs by 1e-6 at most, one
    /// in bf16 by 1 % errs.
    #[test]
    fn sums_of_bf16_gradients_err_as_sums_in_f32() {
        tch::manual_seed(2);
        let draw = |shape: &[i64], kind: Kind| Tensor::randn(shape, (Kind::Float, Device::Cpu)).to_kind(kind);
        for kind in [Kind::BFloat16, Kind::Float] {
            let leaf = |shape: &[i64]| draw(shape, kind).set_requires_grad(true);
            let (weight, bias, adapter) = (leaf(&[24, 16]), leaf(&[24]), leaf(&[24, 16]));
            let buffer = with_sums(&[&weight, &bias]);
            let mut exact = Tensor::zeros([24 * 17], (Kind::Double, Device::Cpu));
            let mut rounded = Tensor::zeros([24, 16], (Kind::BFloat16, Device::Cpu));
            for _ in 0..64 {
                let (x, grad) = (draw(&[2, 40, 16], kind), draw(&[2, 40, 24], kind));
                backward_from(&linear(&x, &weight, Some(&bias), None).unwrap(), &grad).unwrap();
                let [x, grad] = [&x, &grad].map(|tensor| tensor.flatten(0, 1).to_kind(Kind::Double));
                let product = grad.tr().matmul(&x);
                rounded += product.to_kind(Kind::BFloat16);
                let sum = grad.sum_dim_intlist([0i64].as_slice(), false, None::<Kind>);
                exact += Tensor::cat(&[product.flatten(0, 1), sum], 0);
            }
            assert!(weight.grad().data_ptr() == buffer.data_ptr() && weight.grad().kind() == Kind::Float);
            println!(
                "{kind:?}: {:.1e} off, {:.1e} in bf16",
                off(&buffer, &exact),
                off(&rounded, &exact.narrow(0, 0, 384).view([24, 16]))
            );
            assert!(off(&buffer, &exact) < 1e-6);
            assert!(off(&rounded, &exact.narrow(0, 0, 384).view([24, 16])) > 3e-3, "the test can tell");

            // A pass that is asked for some gradients stores none.
            let before = buffer.copy();
            let x = draw(&[2, 40, 16], kind);
            let asked = Tensor::run_backward(
                &[linear(&x, &weight, Some(&bias), None).unwrap().sum(Kind::Float)],
                &[&weight, &bias],
                false,
                false,
            );
            assert!(asked[0].kind() == kind && buffer == before);
            // The same with a factor, and without a sum.
            let grad = draw(&[80, 24], kind);
            let rows = x.flatten(0, 1);
            let given = weight_gradient(&adapter, &grad, &rows, 0.5).unwrap().unwrap();
            assert!(weight_gradient(&weight, &grad, &rows, 0.5).unwrap().is_none());
            let expected = grad.to_kind(Kind::Double).tr().matmul(&rows.to_kind(Kind::Double)) * 0.5;
            assert!(off(&given, &expected) < 4e-3);
            let added = (&buffer - &before).narrow(0, 0, 384).view([24, 16]);
            assert!(off(&added, &expected) < 1e-5);
        }
    }

    /// What is not a linear map's goes by way of libtorch's own accumulation: it adds a gradient in bf16 to a sum in f32 in
    /// place, whether the sum is a view or not.
    #[test]
    fn libtorch_adds_bf16_gradients_to_a_sum_in_f32_in_place() {
        tch::manual_seed(3);
        let options = (Kind::Float, Device::Cpu);
        let leaf = |shape: &[i64]| Tensor::randn(shape, options).to_kind(Kind::BFloat16).set_requires_grad(true);
        let (norm, table) = (leaf(&[16]), leaf(&[10, 16]));
        let buffer = with_sums(&[&norm, &table]);
        let mut exact = Tensor::zeros([11 * 16], options);
        for step in 0..64 {
            let ids = Tensor::from_slice(&[step % 10, (step * 3) % 10, 4]);
            let value = || Tensor::embedding(&table, &ids, -1, false, false).rms_norm([16], Some(&norm), 1e-6).square();
            let grads = Tensor::run_backward(&[value().sum(Kind::Float)], &[&norm, &table], false, false);
            exact += Tensor::cat(&[&grads[0].to_kind(Kind::Float), &grads[1].to_kind(Kind::Float).flatten(0, 1)], 0);
            backward(&value().sum(Kind::Float)).unwrap();
        }
        assert!(norm.grad().kind() == Kind::Float && table.grad().data_ptr() == buffer.narrow(0, 16, 160).data_ptr());
        assert!(off(&buffer, &exact) < 1e-6, "{}", off(&buffer, &exact));
    }
}
