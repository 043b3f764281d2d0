//! The norm of gradients, and whether there will be any.

use std::ffi::c_int;

use tch::Tensor;

use super::call::{LibtorchError, TensorPtr, pointers, take};

unsafe extern "C" {
    fn med2e3_global_norm(tensors: *const TensorPtr, count: usize, out: *mut TensorPtr) -> c_int;
    fn med2e3_autograd_enabled() -> c_int;
}

/// The Euclidean norm over all elements of all tensors, as a scalar tensor on their device (no host sync).
///
/// # Errors
/// When `tensors` is empty or on several devices.
pub fn global_norm(tensors: &[Tensor]) -> Result<Tensor, LibtorchError> {
    let mut out: TensorPtr = std::ptr::null_mut();
    // SAFETY: an array of live tensors, borrowed for the call; `out` is written only on success, with a new tensor.
    unsafe { take(med2e3_global_norm(pointers(tensors).as_ptr(), tensors.len(), &mut out), out) }
}

/// The gradient that backward passes have left at a weight, which starts again from zero.
#[cfg(test)]
pub(crate) fn taken_gradient(weight: &Tensor) -> Tensor {
    let mut grad = weight.grad();
    if !grad.defined() {
        return grad;
    }
    let taken = grad.copy();
    let _ = grad.zero_();
    taken
}

/// Whether this thread's operations are recorded for a backward pass.
pub fn autograd_enabled() -> bool {
    // SAFETY: takes no argument and reads a flag of this thread.
    unsafe { med2e3_autograd_enabled() == 1 }
}
