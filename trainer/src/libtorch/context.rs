//! How libtorch computes, for the whole process.

use std::ffi::c_int;

use super::call::{LibtorchError, check};

unsafe extern "C" {
    fn med2e3_set_context(tf32: c_int, deterministic: c_int, attention: c_int) -> c_int;
}

/// What is tried first for attention on a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstAttention {
    /// libtorch's own choice.
    Own = 0,
    /// Flash attention; cuDNN's never.
    Flash = 1,
    /// cuDNN's.
    Cudnn = 2,
}

/// How libtorch computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// Whether products of f32 matrices may round their inputs to 10 bits of mantissa on a GPU.
    pub tf32: bool,
    /// Whether every operation has one order of its sums. One that has none is then an error.
    pub deterministic: bool,
    /// What is tried first for attention on a GPU; without a fixed order of sums, what has one.
    pub attention: FirstAttention,
}

/// Sets it for everything that the process computes from now on.
///
/// # Errors
/// libtorch refuses the values.
pub fn set_context(context: Context) -> Result<(), LibtorchError> {
    let Context { tf32, deterministic, attention } = context;
    // SAFETY: three numbers; settings of libtorch's global context, which may be set at any time.
    check(unsafe { med2e3_set_context(c_int::from(tf32), c_int::from(deterministic), attention as c_int) })
}

#[cfg(test)]
mod tests {
    use super::*;

    unsafe extern "C" {
        fn med2e3_context() -> c_int;
    }

    #[test]
    fn what_is_set_is_what_libtorch_has() {
        let set = |tf32, deterministic, attention| {
            set_context(Context { tf32, deterministic, attention }).unwrap();
            // SAFETY: takes no argument and reads libtorch's settings.
            unsafe { med2e3_context() }
        };
        assert_eq!(set(true, false, FirstAttention::Own), 1 | 4 | 8);
        assert_eq!(set(true, false, FirstAttention::Flash), 1 | 8);
        assert_eq!(set(false, true, FirstAttention::Flash), 2);
        assert_eq!(set(false, true, FirstAttention::Own), 2);
        assert_eq!(set(false, false, FirstAttention::Cudnn), 4 | 8);
        // What other tests of this process expect.
        assert_eq!(set(false, false, FirstAttention::Own), 4 | 8);
    }
}
