//! Where tensors live: chosen once, before the first tensor is made.

use serde::{Deserialize, Serialize};
use tch::{Cuda, Device};

use crate::libtorch::{self, LibtorchError};

/// The device named in a config.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum DeviceChoice {
    /// CUDA where libraries and a GPU are found, else the CPU.
    Auto,
    /// The CPU.
    Cpu,
    /// The first CUDA device; an error where there is none.
    Cuda,
}

/// Why a device could not be had.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The CUDA half of libtorch did not load.
    #[error("device cuda: its libraries do not load; `cargo xtask setup --cuda` installs them")]
    CudaLibraries(#[source] LibtorchError),
    /// The libraries load, but no GPU answers.
    #[error("device cuda: libtorch finds no GPU")]
    NoGpu,
}

impl DeviceChoice {
    /// Opens what the choice needs and returns the device.
    ///
    /// # Errors
    /// `cuda` was asked for and its libraries or a GPU are missing.
    pub fn open(self) -> Result<Device, DeviceError> {
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

/// Sets how many CPU threads one operation may use. Results may differ in the last bits between counts.
///
/// Where other programs want the same cores, start the process with `OMP_WAIT_POLICY=passive` (libgomp reads it when it
/// is loaded): threads that spin for each other then cost several times the work itself.
pub fn set_threads(count: usize) {
    tch::set_num_threads(i32::try_from(count).unwrap_or(i32::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_is_always_there() {
        assert_eq!(DeviceChoice::Cpu.open().unwrap(), Device::Cpu);
    }

    #[test]
    fn auto_never_fails() {
        DeviceChoice::Auto.open().unwrap();
    }
}
