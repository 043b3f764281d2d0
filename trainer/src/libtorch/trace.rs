//! A trace of what libtorch runs, by its own profiler.

use std::ffi::{CString, c_char, c_int};
use std::marker::PhantomData;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use tch::Device;

use super::call::{LibtorchError, check};

unsafe extern "C" {
    fn med2e3_trace_start(with_cuda: c_int) -> c_int;
    fn med2e3_trace_stop(path: *const c_char) -> c_int;
}

/// Records operators of the thread that starts it, and on CUDA kernels and copies. One at a time; it slows what it records down.
pub struct Trace {
    is_running: bool,
    /// It is installed in one thread and must end there.
    of_thread: PhantomData<*const ()>,
}

impl Trace {
    /// Records from now on.
    ///
    /// # Errors
    /// Another trace is running.
    pub fn start(device: Device) -> Result<Trace, LibtorchError> {
        // SAFETY: takes a number.
        check(unsafe { med2e3_trace_start(c_int::from(device.is_cuda())) })?;
        Ok(Trace { is_running: true, of_thread: PhantomData })
    }

    /// Ends it and writes what it holds as JSON, in the format of chrome://tracing.
    ///
    /// # Errors
    /// The path holds a zero byte, or can't be written.
    pub fn write(mut self, path: &Path) -> Result<(), LibtorchError> {
        let path =
            CString::new(path.as_os_str().as_bytes()).map_err(|_| LibtorchError::of("a path with a zero byte"))?;
        self.is_running = false;
        // SAFETY: a NUL-terminated string that lives through the call.
        check(unsafe { med2e3_trace_stop(path.as_ptr()) })
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        if self.is_running {
            // SAFETY: null is no path: nothing is written. That nothing runs any more is all that is wanted.
            let _ = unsafe { med2e3_trace_stop(std::ptr::null()) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Kind, Tensor};

    #[test]
    fn a_trace_names_the_operators_that_ran() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace.json");
        let x = Tensor::ones([64, 64], (Kind::Float, Device::Cpu));
        drop(Trace::start(Device::Cpu).unwrap());
        let trace = Trace::start(Device::Cpu).unwrap();
        let _ = x.matmul(&x);
        trace.write(&path).unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().contains("aten::matmul"));
    }
}
