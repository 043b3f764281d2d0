//! libtorch's CUDA half, loaded on request.

use std::ffi::c_int;

use super::call::{LibtorchError, check};

unsafe extern "C" {
    fn med2e3_open_cuda() -> c_int;
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
