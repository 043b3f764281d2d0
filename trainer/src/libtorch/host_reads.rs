//! How often the host waits for a device.

use std::ffi::{c_int, c_void};
use std::ptr::null_mut;

use super::call::{LibtorchError, check};

unsafe extern "C" {
    fn med2e3_host_reads_start(out: *mut *mut c_void) -> c_int;
    fn med2e3_host_reads_count(reads: *mut c_void) -> u64;
    fn med2e3_host_reads_stop(reads: *mut c_void) -> c_int;
}

/// Counts the host's reads of tensors while it lives: of this thread's operations and of those of its backward passes. Counted
/// are a number read off a tensor, a comparison of whole tensors, results whose size depends on values, and copies that wait, from a
/// device to the host or from the host to a device.
///
/// A read of a tensor of the CPU counts too, so that a test without a GPU finds what would wait on one. Not seen is a CPU tensor
/// that is copied to a `Vec`: that is no operation of libtorch.
#[derive(Debug)]
pub struct HostReads {
    /// Owned. A raw pointer keeps the value on its thread, to which the counter belongs.
    reads: *mut c_void,
}

impl HostReads {
    /// Starts at 0. Counters, and whatever else watches a thread's operations, end in the reverse order of their starts.
    ///
    /// # Errors
    /// libtorch takes no observer.
    pub fn start() -> Result<HostReads, LibtorchError> {
        let mut reads = null_mut();
        // SAFETY: `reads` is written only on success, with a counter that this value then owns.
        check(unsafe { med2e3_host_reads_start(&mut reads) })?;
        Ok(HostReads { reads })
    }

    /// Reads until now.
    pub fn count(&self) -> u64 {
        // SAFETY: a live counter that this value owns.
        unsafe { med2e3_host_reads_count(self.reads) }
    }
}

impl Drop for HostReads {
    fn drop(&mut self) {
        // SAFETY: a counter that this value owns and nobody uses again.
        let stopped = check(unsafe { med2e3_host_reads_stop(self.reads) });
        debug_assert!(stopped.is_ok(), "counters end in the reverse order of their starts");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind, Tensor};

    fn counted<T>(work: impl FnOnce() -> T) -> u64 {
        let reads = HostReads::start().unwrap();
        drop(work());
        reads.count()
    }

    #[test]
    fn planted_reads_are_counted() {
        let x = Tensor::from_slice(&[1f32, 2.0, 0.0]);
        assert_eq!(counted(|| x.sum(Kind::Float).double_value(&[])), 1);
        assert_eq!(counted(|| x.argmax(0, false).int64_value(&[])), 1);
        assert_eq!(counted(|| x.equal(&x)), 1);
        assert_eq!(counted(|| x.nonzero()), 1);
        // More than once: also by the operation that it calls.
        assert!(counted(|| x.masked_select(&x.ne(0.0))) > 0);
        // A mask as an index has as many results as it has trues.
        assert_eq!(counted(|| x.index(&[Some(x.ne(0.0))])), 1);
        assert_eq!(counted(|| (0..3).map(|at| x.double_value(&[at])).sum::<f64>()), 3);
    }

    #[test]
    fn operations_that_stay_on_the_device_are_not_counted() {
        let x = Tensor::randn([4, 4], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        assert_eq!(counted(|| (x.matmul(&x).softmax(-1, Kind::Float) * 3.0).sum(Kind::Float).backward()), 0);
        // A counter inside another one counts for both.
        let reads = HostReads::start().unwrap();
        let inner = counted(|| x.sum(Kind::Float).double_value(&[]));
        assert_eq!((inner, reads.count()), (1, 1));
        drop(reads);
        assert_eq!(counted(|| ()), 0);
    }

    #[test]
    fn a_read_inside_a_backward_pass_is_counted() {
        let x = Tensor::from_slice(&[1f32, 2.0]).set_requires_grad(true);
        let picked = x.index(&[Some(Tensor::from_slice(&[true, false]))]).sum(Kind::Float);
        // The gradient is put where the mask is true, which is looked up again.
        assert!(counted(|| picked.backward()) > 0);
    }
}
