//! An affine map with a residual, by oneDNN where that is faster.

use std::ffi::c_int;

use tch::Tensor;

use super::call::{LibtorchError, TensorPtr, pointer, take};

unsafe extern "C" {
    fn med2e3_linear(
        x: TensorPtr,
        weight: TensorPtr,
        bias: TensorPtr,
        residual: TensorPtr,
        out: *mut TensorPtr,
    ) -> c_int;
}

/// `x W^T + b + residual` over the last axis of `x`, the weight (out, in); the residual has the result's shape. In f32 on
/// the CPU by oneDNN, which maps a block's tokens a sixth faster there than the MKL that libtorch's own `linear` calls, and
/// adds the residual in the same pass; elsewhere by `linear`. Differentiable once.
///
/// # Errors
/// When libtorch rejects the tensors.
pub fn linear(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    residual: Option<&Tensor>,
) -> Result<Tensor, LibtorchError> {
    let optional = |tensor: Option<&Tensor>| tensor.map_or(std::ptr::null_mut(), pointer);
    let mut out: TensorPtr = std::ptr::null_mut();
    // SAFETY: live tensors or null, borrowed for the call, which keeps its own references; `out` is written only on
    // success, with a new tensor.
    unsafe {
        let status = med2e3_linear(pointer(x), pointer(weight), optional(bias), optional(residual), &mut out);
        take(status, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
}
