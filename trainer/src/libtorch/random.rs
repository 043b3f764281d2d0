//! Draws from a generator of their own.

use std::ffi::c_int;

use tch::Tensor;

use super::call::{LibtorchError, TensorPtr, check};

unsafe extern "C" {
    fn med2e3_fill_normal(tensor: TensorPtr, std: f64, seed: u64) -> c_int;
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
