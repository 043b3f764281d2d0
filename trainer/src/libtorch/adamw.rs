//! AdamW over all parameters in one call.

use std::ffi::c_int;

use tch::Tensor;

use super::call::{LibtorchError, TensorPtr, check, pointer, pointers};

unsafe extern "C" {
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
    // SAFETY: four arrays of `count` live tensors, borrowed for the call; the function keeps none of them.
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
