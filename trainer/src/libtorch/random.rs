//! Draws from a generator of their own.

use std::ffi::c_int;

use tch::Tensor;

use super::call::{LibtorchError, TensorPtr, check, pointer, take};

unsafe extern "C" {
    fn med2e3_fill_normal(tensor: TensorPtr, std: f64, seed: u64) -> c_int;
    fn med2e3_dropout_mask(like: TensorPtr, rate: f64, seed: u64, out: *mut TensorPtr) -> c_int;
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

/// A tensor of the shape, kind and device of `like`: 0 with probability `rate`, which is below 1, else 1: what stays
/// is scaled where its sum is made, in full precision. Drawn on the device by a generator of its own, so that the same seed gives
/// the same mask there; another kind of device draws another one.
///
/// # Errors
/// When `like` is no tensor of floats or the rate is out of range.
pub fn dropout_mask(like: &Tensor, rate: f64, seed: u64) -> Result<Tensor, LibtorchError> {
    let mut out: TensorPtr = std::ptr::null_mut();
    // SAFETY: one live tensor, borrowed for the call; `out` is written only on success, with a new tensor.
    unsafe { take(med2e3_dropout_mask(pointer(like), rate, seed, &mut out), out) }
}
