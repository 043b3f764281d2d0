//! The device of all tensors: chosen once, before the first tensor is made.

use med2e3_program::machine::{ThreadsRefused, require_threads};
use tch::{Cuda, Device};

use crate::libtorch::{self, LibtorchError};
use crate::words::words;

words! {
    /// The device named in a configuration.
    pub enum DeviceChoice {
        /// CUDA where libraries and a GPU are found, else the CPU.
        Auto = "auto",
        /// The CPU.
        Cpu = "cpu",
        /// The first CUDA device; an error where there is none.
        Cuda = "cuda",
    }
}

/// Why a device is not available.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The CUDA half of libtorch did not load.
    #[error("device cuda: its libraries do not load; `cargo xtask setup --cuda` installs them")]
    CudaLibraries(#[source] LibtorchError),
    /// The system gives fewer threads than libtorch would start.
    #[error("threads of libtorch")]
    Threads(#[from] ThreadsRefused),
    /// The libraries load, but there is no GPU.
    #[error("device cuda: libtorch finds no GPU")]
    NoGpu,
}

impl DeviceChoice {
    /// Opens what the choice needs and returns the device. `threads` is how many CPU threads one operation may use; 0 leaves
    /// libtorch's choice. Results may differ in the last bits between counts.
    ///
    /// Where other programs want the same cores, start the process with `OMP_WAIT_POLICY=passive` (libgomp reads it when it
    /// is loaded): threads that spin for each other then cost several times the work itself.
    ///
    /// # Errors
    /// `cuda` is chosen and its libraries or a GPU are missing; the system gives too few threads.
    pub fn open(self, threads: usize) -> Result<Device, DeviceError> {
        let computing = if threads > 0 { threads } else { usize::try_from(tch::get_num_threads()).unwrap_or(1) };
        // Those of one operation, and of the backward pass: libtorch ends the program where it gets none.
        require_threads(computing + 1)?;
        if threads > 0 {
            tch::set_num_threads(i32::try_from(threads).unwrap_or(i32::MAX));
        }
        let device = match self {
            DeviceChoice::Cpu => Device::Cpu,
            DeviceChoice::Cuda => open_cuda()?,
            DeviceChoice::Auto => open_cuda().unwrap_or(Device::Cpu),
        };
        if device == Device::Cpu {
            // Only speed is lost where the allocator refuses.
            let _ = libtorch::keep_freed_memory();
        }
        Ok(device)
    }
}

fn open_cuda() -> Result<Device, DeviceError> {
    libtorch::open_cuda().map_err(DeviceError::CudaLibraries)?;
    if Cuda::is_available() { Ok(Device::Cuda(0)) } else { Err(DeviceError::NoGpu) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_is_always_available() {
        assert_eq!(DeviceChoice::Cpu.open(0).unwrap(), Device::Cpu);
    }

    #[test]
    fn auto_never_fails() {
        DeviceChoice::Auto.open(0).unwrap();
    }
}
