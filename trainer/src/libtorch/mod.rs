//! The safe face of `shim.cpp`: what tch 0.24 does not offer. The only `unsafe` code of this crate.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_void};

use tch::Tensor;

/// A C++ exception or a failed dlopen, by its message.
#[derive(Debug, thiserror::Error)]
#[error("libtorch: {0}")]
pub struct LibtorchError(String);

type TensorPtr = *mut c_void;

unsafe extern "C" {
    fn med2e3_last_error() -> *const c_char;
    fn med2e3_fused_adamw(
        params: *const TensorPtr,
        grads: *const TensorPtr,
        exp_avgs: *const TensorPtr,
        exp_avg_sqs: *const TensorPtr,
        count: usize,
        step: TensorPtr,
        lr: f64,
        beta1: f64,
        beta2: f64,
        weight_decay: f64,
        eps: f64,
    ) -> c_int;
    fn med2e3_global_norm(tensors: *const TensorPtr, count: usize, out: *mut TensorPtr) -> c_int;
    fn med2e3_foreach_mul(tensors: *const TensorPtr, count: usize, factor: TensorPtr) -> c_int;
    fn med2e3_drop_grads(tensors: *const TensorPtr, count: usize) -> c_int;
    fn med2e3_fill_normal(tensor: TensorPtr, std: f64, seed: u64) -> c_int;
    fn med2e3_attach_gradients(
        value: TensorPtr,
        inputs: *const TensorPtr,
        grads: *const TensorPtr,
        count: usize,
        out: *mut TensorPtr,
    ) -> c_int;
    fn med2e3_linear(
        x: TensorPtr,
        weight: TensorPtr,
        bias: TensorPtr,
        residual: TensorPtr,
        out: *mut TensorPtr,
    ) -> c_int;
    fn med2e3_autograd_enabled() -> c_int;
    fn med2e3_keep_freed_memory() -> c_int;
    fn med2e3_open_cuda() -> c_int;
}

/// The lists of one fused AdamW call; entry i of each list belongs to parameter i.
#[derive(Default)]
pub struct AdamWLists {
    /// Parameters, changed in place.
    pub params: Vec<Tensor>,
    /// Their gradients, all defined.
    pub grads: Vec<Tensor>,
    /// First moments, changed in place.
    pub exp_avgs: Vec<Tensor>,
    /// Second moments, changed in place.
    pub exp_avg_sqs: Vec<Tensor>,
}

/// The numbers of one fused AdamW call.
#[derive(Debug, Clone, Copy)]
pub struct AdamWNumbers {
    /// Learning rate of this step.
    pub lr: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
}

/// One AdamW step over all tensors at once (`at::_fused_adamw_`). `step` is a one-element f32 tensor that already
/// counts this step.
///
/// # Errors
/// When libtorch rejects the tensors (mixed devices or kinds).
///
/// # Panics
/// When the lists differ in length.
pub fn fused_adamw(lists: &AdamWLists, step: &Tensor, numbers: AdamWNumbers) -> Result<(), LibtorchError> {
    let count = lists.params.len();
    assert!([&lists.grads, &lists.exp_avgs, &lists.exp_avg_sqs].iter().all(|list| list.len() == count));
    let (params, grads) = (pointers(&lists.params), pointers(&lists.grads));
    let (exp_avgs, exp_avg_sqs) = (pointers(&lists.exp_avgs), pointers(&lists.exp_avg_sqs));
    // SAFETY: four arrays of `count` live tensors, borrowed for the call; the shim keeps none of them.
    check(unsafe {
        med2e3_fused_adamw(
            params.as_ptr(),
            grads.as_ptr(),
            exp_avgs.as_ptr(),
            exp_avg_sqs.as_ptr(),
            count,
            pointer(step),
            numbers.lr,
            numbers.beta1,
            numbers.beta2,
            numbers.weight_decay,
            numbers.eps,
        )
    })
}

/// The Euclidean norm over all elements of all tensors, as a scalar tensor on their device (no host sync).
///
/// # Errors
/// When `tensors` is empty or lies on several devices.
pub fn global_norm(tensors: &[Tensor]) -> Result<Tensor, LibtorchError> {
    let mut out: TensorPtr = std::ptr::null_mut();
    // SAFETY: an array of live tensors, borrowed for the call; `out` is written only on success.
    check(unsafe { med2e3_global_norm(pointers(tensors).as_ptr(), tensors.len(), &mut out) })?;
    // SAFETY: the shim made this tensor with `new` and hands over its ownership, which is what from_ptr takes.
    Ok(unsafe { Tensor::from_ptr(out.cast()) })
}

/// Multiplies every tensor in place by a scalar tensor of the same device.
///
/// # Errors
/// When libtorch rejects the tensors.
pub fn foreach_mul(tensors: &[Tensor], factor: &Tensor) -> Result<(), LibtorchError> {
    // SAFETY: an array of live tensors and one more, borrowed for the call.
    check(unsafe { med2e3_foreach_mul(pointers(tensors).as_ptr(), tensors.len(), pointer(factor)) })
}

/// Drops the gradients, so that the next backward pass stores its own instead of adding to zeros.
///
/// # Errors
/// When libtorch rejects the tensors.
pub fn drop_grads(tensors: &[Tensor]) -> Result<(), LibtorchError> {
    // SAFETY: an array of live tensors, borrowed for the call; a gradient still held elsewhere stays alive there.
    check(unsafe { med2e3_drop_grads(pointers(tensors).as_ptr(), tensors.len()) })
}

/// Fills a CPU tensor in place with draws from N(0, std) of a generator of its own, so that neither other threads nor
/// earlier draws change them.
///
/// # Errors
/// When the tensor is not a CPU tensor of floats.
pub fn fill_normal(tensor: &mut Tensor, std: f64, seed: u64) -> Result<(), LibtorchError> {
    // SAFETY: one live tensor, borrowed exclusively for the call.
    check(unsafe { med2e3_fill_normal(tensor.as_mut_ptr().cast(), std, seed) })
}

/// The scalar `value` as the result of a function whose gradients are already known, given beside each of its inputs: a
/// backward pass from it gives each input its gradient times what comes from behind.
///
/// # Errors
/// When libtorch rejects the tensors.
pub fn attach_gradients(value: &Tensor, inputs: &[(&Tensor, &Tensor)]) -> Result<Tensor, LibtorchError> {
    let (tensors, grads): (Vec<TensorPtr>, Vec<TensorPtr>) =
        inputs.iter().map(|(input, grad)| (pointer(input), pointer(grad))).unzip();
    let mut out: TensorPtr = std::ptr::null_mut();
    // SAFETY: two arrays of equally many live tensors, borrowed for the call, which keeps its own references; `out` is
    // written only on success.
    check(unsafe {
        med2e3_attach_gradients(pointer(value), tensors.as_ptr(), grads.as_ptr(), inputs.len(), &mut out)
    })?;
    // SAFETY: the shim made this tensor with `new` and hands over its ownership, which is what from_ptr takes.
    Ok(unsafe { Tensor::from_ptr(out.cast()) })
}

/// `x W^T + b + residual` over the last axis of `x`, the weight (out, in); the residual has the result's shape. In f32 on
/// the CPU by oneDNN, which maps a block's tokens a sixth faster there than the MKL that libtorch's own `linear` asks, and
/// adds the residual on the way; elsewhere by `linear`. Differentiable once.
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
    // SAFETY: live tensors or null, borrowed for the call, which keeps its own references; `out` is written only on success.
    check(unsafe { med2e3_linear(pointer(x), pointer(weight), optional(bias), optional(residual), &mut out) })?;
    // SAFETY: the shim made this tensor with `new` and hands over its ownership, which is what from_ptr takes.
    Ok(unsafe { Tensor::from_ptr(out.cast()) })
}

/// Whether this thread's operations are recorded for a backward pass.
pub fn autograd_enabled() -> bool {
    // SAFETY: takes no argument and reads a flag of this thread.
    unsafe { med2e3_autograd_enabled() == 1 }
}

/// Tells the C allocator to keep freed memory for itself. libtorch frees and asks again for the same tens of MB every
/// step; handing them back to the kernel each time costs page faults, over a tenth of a step on the CPU.
///
/// # Errors
/// When the allocator is not glibc's.
pub fn keep_freed_memory() -> Result<(), LibtorchError> {
    // SAFETY: takes no argument; mallopt may be called at any time.
    check(unsafe { med2e3_keep_freed_memory() })
}

/// Opens libtorch_cuda.so. The linker drops it (`--as-needed`), so a program starts without any CUDA library; libtorch
/// looks for its CUDA half once, so this must come before the first CUDA call.
///
/// # Errors
/// The loader's own message when a library is missing.
pub fn open_cuda() -> Result<(), LibtorchError> {
    // SAFETY: takes no argument; loading runs the initialisers of libtorch's own libraries only.
    check(unsafe { med2e3_open_cuda() })
}

fn pointer(tensor: &Tensor) -> TensorPtr {
    tensor.as_ptr().cast_mut().cast()
}

fn pointers(tensors: &[Tensor]) -> Vec<TensorPtr> {
    tensors.iter().map(pointer).collect()
}

fn check(status: c_int) -> Result<(), LibtorchError> {
    if status == 0 {
        return Ok(());
    }
    // SAFETY: a NUL-terminated string that lives until this thread's next shim call; copied at once.
    let message = unsafe { CStr::from_ptr(med2e3_last_error()) };
    // libtorch appends a C++ backtrace from the second line on.
    Err(LibtorchError(message.to_string_lossy().lines().next().unwrap_or_default().to_owned()))
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
