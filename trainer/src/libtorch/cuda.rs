//! libtorch's CUDA half, loaded on request, and what it finds.

use std::ffi::{CStr, c_char, c_int};

use tch::Device;

use super::call::{LibtorchError, check};

unsafe extern "C" {
    fn med2e3_open_cuda() -> c_int;
    fn med2e3_driver_version(version: *mut c_int) -> c_int;
    fn med2e3_device_name(index: c_int, name: *mut c_char, size: c_int) -> c_int;
    fn med2e3_cuda_devices(version: *mut c_int, count: *mut c_int) -> c_int;
}

/// A version of CUDA: 1000 * major + 10 * minor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CudaVersion(pub i32);

impl CudaVersion {
    /// A driver serves programs of its own major version, later minor ones included, and of all earlier ones.
    pub fn major(self) -> i32 {
        self.0 / 1000
    }
}

impl std::fmt::Display for CudaVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major(), self.0 % 1000 / 10)
    }
}

/// What the CUDA half was built for, and finds.
#[derive(Clone, Copy, Debug)]
pub struct CudaDevices {
    /// The version of CUDA that it was built for.
    pub version: CudaVersion,
    /// GPUs; none too where the driver refuses.
    pub count: usize,
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

/// The version of CUDA that the system's driver serves.
///
/// # Errors
/// The loader's own message where there is no driver.
pub fn driver_version() -> Result<CudaVersion, LibtorchError> {
    let mut version = 0;
    // SAFETY: `version` is written before the call returns; the driver's library is loaded as libtorch would load it.
    check(unsafe { med2e3_driver_version(&mut version) })?;
    Ok(CudaVersion(version))
}

/// The name of a GPU as its driver has it, such as `NVIDIA H100 80GB HBM3`.
///
/// # Errors
/// The device is no GPU; there is no driver, or none that tells.
pub fn device_name(device: Device) -> Result<String, LibtorchError> {
    let Device::Cuda(index) = device else {
        return Err(LibtorchError::of("only a GPU's driver tells its name"));
    };
    let mut name = [0 as c_char; 256];
    // SAFETY: the driver writes a C string of at most so many bytes.
    check(unsafe { med2e3_device_name(index as c_int, name.as_mut_ptr(), name.len() as c_int - 1) })?;
    // SAFETY: zeroed before, so that it ends within the array.
    Ok(unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy().into_owned())
}

/// The GPUs. [`open_cuda`] comes first.
///
/// # Errors
/// The CUDA half is not loaded.
pub fn cuda_devices() -> Result<CudaDevices, LibtorchError> {
    let (mut version, mut count) = (0, 0);
    // SAFETY: both numbers are written before the call returns.
    check(unsafe { med2e3_cuda_devices(&mut version, &mut count) })?;
    Ok(CudaDevices { version: CudaVersion(version), count: usize::try_from(count).unwrap_or(0) })
}
