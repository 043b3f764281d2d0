//! How a C++ function is called: tensors go as pointers, an exception comes back as an error.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::ManuallyDrop;

use tch::{TchError, Tensor};

/// A C++ exception or a failed dlopen, by its message.
#[derive(Debug, thiserror::Error)]
#[error("libtorch: {0}")]
pub struct LibtorchError(String);

impl LibtorchError {
    /// An error of this crate's own code that runs inside libtorch.
    pub(crate) fn of(message: impl Into<String>) -> LibtorchError {
        LibtorchError(message.into())
    }

    /// Without the words that say whose it is.
    pub(super) fn message(&self) -> &str {
        &self.0
    }
}

impl From<TchError> for LibtorchError {
    fn from(error: TchError) -> LibtorchError {
        let message = match error {
            TchError::Torch(message) => message,
            other => other.to_string(),
        };
        LibtorchError::of(first_line(&message))
    }
}

/// libtorch appends a C++ backtrace from the second line on.
fn first_line(message: &str) -> &str {
    message.lines().next().unwrap_or_default()
}

/// A libtorch tensor that the caller owns.
pub(super) type TensorPtr = *mut c_void;

unsafe extern "C" {
    fn med2e3_last_error() -> *const c_char;
}

pub(super) fn pointer(tensor: &Tensor) -> TensorPtr {
    tensor.as_ptr().cast_mut().cast()
}

/// The same, owned by whoever receives it.
pub(super) fn give(tensor: Tensor) -> TensorPtr {
    let mut tensor = ManuallyDrop::new(tensor);
    tensor.as_mut_ptr().cast()
}

pub(super) fn pointers(tensors: &[Tensor]) -> Vec<TensorPtr> {
    tensors.iter().map(pointer).collect()
}

/// The error of a function that returned `status`.
pub(super) fn check(status: c_int) -> Result<(), LibtorchError> {
    if status == 0 {
        return Ok(());
    }
    // SAFETY: a NUL-terminated string that lives until this thread's next call of a C++ function; copied at once.
    let message = unsafe { CStr::from_ptr(med2e3_last_error()) };
    Err(LibtorchError::of(first_line(&message.to_string_lossy())))
}

/// The tensor that a function wrote to `out` before it returned `status`.
///
/// # Safety
/// The function succeeded only if `out` is a tensor made with `new`, which nothing else owns.
pub(super) unsafe fn take(status: c_int, out: TensorPtr) -> Result<Tensor, LibtorchError> {
    check(status)?;
    // SAFETY: by this function's contract a tensor made with `new`, whose ownership from_ptr takes.
    Ok(unsafe { Tensor::from_ptr(out.cast()) })
}
