//! AdamW over all parameters in one call.

use std::ffi::c_int;
use std::ptr::null_mut;

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
        grad_scale: TensorPtr,
        found_inf: TensorPtr,
        lr: f64,
        beta1: f64,
        beta2: f64,
        weight_decay: f64,
        eps: f64,
    ) -> c_int;
}

/// The lists of one fused AdamW call; entry i of each list belongs to parameter i. All are f32.
#[derive(Default)]
pub struct AdamWLists {
    /// Parameters, changed in place.
    pub params: Vec<Tensor>,
    /// Their gradients, all defined; divided in place where there is a [`AdamWScalars::grad_scale`].
    pub grads: Vec<Tensor>,
    /// First moments, changed in place.
    pub exp_avgs: Vec<Tensor>,
    /// Second moments, changed in place.
    pub exp_avg_sqs: Vec<Tensor>,
}

/// What a fused AdamW call reads on the device alone: f32 scalars there.
pub struct AdamWScalars<'a> {
    /// Counts the updates, this one included.
    pub step: &'a Tensor,
    /// Gradients are divided by it, where it is given.
    pub grad_scale: Option<&'a Tensor>,
    /// Where it is 1 the call changes nothing at all.
    pub found_inf: Option<&'a Tensor>,
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

/// One AdamW step over all tensors at once (`at::_fused_adamw_`), without a read of the device by the host.
///
/// # Errors
/// When libtorch rejects the tensors (mixed devices or kinds).
///
/// # Panics
/// When the lists differ in length.
pub fn fused_adamw(lists: &AdamWLists, scalars: &AdamWScalars<'_>, numbers: AdamWNumbers) -> Result<(), LibtorchError> {
    let count = lists.params.len();
    assert!([&lists.grads, &lists.exp_avgs, &lists.exp_avg_sqs].iter().all(|list| list.len() == count));
    let (params, grads) = (pointers(&lists.params), pointers(&lists.grads));
    let (exp_avgs, exp_avg_sqs) = (pointers(&lists.exp_avgs), pointers(&lists.exp_avg_sqs));
    let optional = |tensor: Option<&Tensor>| tensor.map_or(null_mut(), pointer);
    // SAFETY: four arrays of `count` live tensors, and scalars that are live or null, borrowed for the call; the function
    // keeps none of them.
    check(unsafe {
        med2e3_fused_adamw(
            params.as_ptr(),
            grads.as_ptr(),
            exp_avgs.as_ptr(),
            exp_avg_sqs.as_ptr(),
            count,
            pointer(scalars.step),
            optional(scalars.grad_scale),
            optional(scalars.found_inf),
            numbers.lr,
            numbers.beta1,
            numbers.beta2,
            numbers.weight_decay,
            numbers.eps,
        )
    })
}
