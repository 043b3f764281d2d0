//! How much memory a device has.

use std::ffi::c_int;

use tch::Device;

use super::call::{LibtorchError, check};

unsafe extern "C" {
    fn med2e3_device_capacity(index: i64, numbers: *mut i64) -> c_int;
}

/// The memory of one GPU, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceCapacity {
    /// Not taken by anybody, this process included.
    pub free: i64,
    /// All of it.
    pub total: i64,
}

/// What the driver says of a device.
///
/// # Errors
/// The device is no GPU, or libtorch finds none.
pub fn device_capacity(device: Device) -> Result<DeviceCapacity, LibtorchError> {
    let Device::Cuda(index) = device else {
        return Err(LibtorchError::of("only a GPU has a memory of its own"));
    };
    let mut numbers = [0; 2];
    // SAFETY: as many numbers as are written.
    check(unsafe { med2e3_device_capacity(index as i64, numbers.as_mut_ptr()) })?;
    let [free, total] = numbers;
    Ok(DeviceCapacity { free, total })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_has_none() {
        assert!(device_capacity(Device::Cpu).is_err());
    }
}
