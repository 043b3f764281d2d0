//! One setting of the C allocator.

use std::ffi::c_int;

use super::call::{LibtorchError, check};

unsafe extern "C" {
    fn med2e3_keep_freed_memory() -> c_int;
}

/// Tells the C allocator to keep freed memory for itself. libtorch frees and asks again for the same tens of MB every
/// step; returning them to the kernel each time costs page faults, over a tenth of a step on the CPU.
///
/// # Errors
/// When the allocator is not glibc's.
pub fn keep_freed_memory() -> Result<(), LibtorchError> {
    // SAFETY: takes no argument; mallopt may be called at any time.
    check(unsafe { med2e3_keep_freed_memory() })
}
