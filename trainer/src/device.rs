//! The device of all tensors: chosen once, before the first tensor is made.

use std::borrow::Cow;
use std::env;
use std::fmt;
use std::str::FromStr;

use med2e3_program::machine::{ThreadsRefused, require_threads};
use med2e3_program::{note, with_causes};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tch::{Cuda, Device};

use crate::libtorch::{self, CudaDevices, CudaVersion, LibtorchError};

/// The device named in a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first GPU where there is one, else the CPU; either is said.
    Auto,
    /// The CPU.
    Cpu,
    /// The GPU of this number, from 0; an error where there is none.
    Cuda(u8),
}

/// The words of a choice, and what each means.
pub(crate) const DEVICE_WORDS: [(&str, &str); 4] = [
    ("auto", "The first GPU where libraries, driver and GPU are found, else the CPU; what is taken, and why, is said."),
    ("cpu", "The CPU."),
    ("cuda", "The first GPU; an error where there is none."),
    ("cuda:N", "The GPU of number N, from 0; an error where there is none."),
];

/// A word that names no device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected one of auto, cpu, cuda, cuda:N with the number of a GPU from 0, found `{found}`")]
pub struct DeviceWordError {
    /// The word given.
    pub found: String,
}

/// Why a device is not available.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The CUDA half of libtorch did not load.
    #[error("device {device}: its libraries do not load; `cargo xtask setup --cuda` installs them")]
    CudaLibraries {
        /// The device asked for.
        device: DeviceChoice,
        /// The loader's message, which names the library.
        source: LibtorchError,
    },
    /// The system gives fewer threads than libtorch would start.
    #[error("threads of libtorch")]
    Threads(#[from] ThreadsRefused),
    /// There is no driver.
    #[error("device {device}: no NVIDIA driver loads")]
    NoDriver {
        /// The device asked for.
        device: DeviceChoice,
        /// The loader's message, which names the library.
        source: LibtorchError,
    },
    /// The driver is older than the libraries.
    #[error("device {device}: expected a driver for CUDA {}.0 or later, found one for CUDA {found}", expected.major())]
    OldDriver {
        /// The device asked for.
        device: DeviceChoice,
        /// What libtorch was built for.
        expected: CudaVersion,
        /// What the driver serves.
        found: CudaVersion,
    },
    /// The libraries load, but there is no GPU of this number.
    #[error("device {device}: expected a GPU of this number, found {}", gpus(*count))]
    NoGpu {
        /// The device asked for.
        device: DeviceChoice,
        /// GPUs that there are.
        count: usize,
    },
    /// cuBLAS may not be used deterministically.
    #[error(
        "compute.algorithms: deterministic products on a GPU need the environment CUBLAS_WORKSPACE_CONFIG=:4096:8 or =:16:8, found {found}"
    )]
    Workspace {
        /// What the variable holds.
        found: String,
    },
    /// libtorch refuses a setting.
    #[error("compute")]
    Setting(#[source] LibtorchError),
}

/// How many GPUs there are, in words.
fn gpus(count: usize) -> String {
    match count {
        0 => "none".into(),
        1 => "one GPU, cuda:0".into(),
        _ => format!("{count} GPUs, cuda:0 to cuda:{}", count - 1),
    }
}

impl DeviceChoice {
    /// Opens what the choice needs and returns the device. `threads` is how many CPU threads one operation may use; 0 leaves
    /// libtorch's choice. Results may differ in the last bits between counts. What `auto` takes is said on standard error.
    ///
    /// Where other programs want the same cores, start the process with `OMP_WAIT_POLICY=passive` (libgomp reads it when it
    /// is loaded): threads that spin for each other then cost several times the work itself.
    ///
    /// # Errors
    /// A GPU is asked for, and its libraries, its driver or the GPU itself are missing; the system gives too few threads.
    pub fn open(self, threads: usize) -> Result<Device, DeviceError> {
        let computing = if threads > 0 { threads } else { usize::try_from(tch::get_num_threads()).unwrap_or(1) };
        // Those of one operation, and of the backward pass: libtorch ends the program where it gets none.
        require_threads(computing + 1)?;
        if threads > 0 {
            tch::set_num_threads(i32::try_from(threads).unwrap_or(i32::MAX));
        }
        let device = match self {
            DeviceChoice::Cpu => Device::Cpu,
            DeviceChoice::Cuda(index) => self.gpu(index).map(|_| Device::Cuda(index.into()))?,
            DeviceChoice::Auto => {
                let found = self.gpu(0);
                note(taken(&found));
                if found.is_ok() { Device::Cuda(0) } else { Device::Cpu }
            }
        };
        if device == Device::Cpu {
            // Only speed is lost where the allocator refuses.
            let _ = libtorch::keep_freed_memory();
        }
        Ok(device)
    }

    /// Whether the GPU of this number can be used, and how many there are.
    fn gpu(self, index: u8) -> Result<usize, DeviceError> {
        let device = self;
        libtorch::open_cuda().map_err(|source| DeviceError::CudaLibraries { device, source })?;
        let driver = libtorch::driver_version().map_err(|source| DeviceError::NoDriver { device, source })?;
        let found = libtorch::cuda_devices().map_err(|source| DeviceError::CudaLibraries { device, source })?;
        self.fits(index, driver, found)
    }

    fn fits(self, index: u8, driver: CudaVersion, devices: CudaDevices) -> Result<usize, DeviceError> {
        let CudaDevices { version, count } = devices;
        if driver.major() < version.major() {
            return Err(DeviceError::OldDriver { device: self, expected: version, found: driver });
        }
        if usize::from(index) < count { Ok(count) } else { Err(DeviceError::NoGpu { device: self, count }) }
    }
}

/// What `auto` takes.
fn taken(gpu: &Result<usize, DeviceError>) -> String {
    match gpu {
        Ok(count) => format!("note: device auto takes cuda:0 of {}", gpus(*count)),
        Err(error) => {
            format!("note: device auto takes the CPU: {}", with_causes(error))
        }
    }
}

/// Fails unless products on `device` can have one order of sums. cuBLAS takes its buffers' sizes from the environment when it is
/// first used; others than these two let it share a buffer between streams.
pub(crate) fn check_workspace(device: Device) -> Result<(), DeviceError> {
    let found = env::var("CUBLAS_WORKSPACE_CONFIG").unwrap_or_default();
    if !device.is_cuda() || [":4096:8", ":16:8"].contains(&found.as_str()) {
        return Ok(());
    }
    Err(DeviceError::Workspace { found: if found.is_empty() { "nothing".into() } else { found } })
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceChoice::Auto => f.write_str("auto"),
            DeviceChoice::Cpu => f.write_str("cpu"),
            DeviceChoice::Cuda(0) => f.write_str("cuda"),
            DeviceChoice::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = DeviceWordError;

    fn from_str(word: &str) -> Result<DeviceChoice, DeviceWordError> {
        let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        match word {
            "auto" => Some(DeviceChoice::Auto),
            "cpu" => Some(DeviceChoice::Cpu),
            "cuda" => Some(DeviceChoice::Cuda(0)),
            _ => word.strip_prefix("cuda:").and_then(number).map(DeviceChoice::Cuda),
        }
        .ok_or_else(|| DeviceWordError { found: word.to_owned() })
    }
}

impl Serialize for DeviceChoice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DeviceChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<DeviceChoice, D::Error> {
        Cow::<str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for DeviceChoice {
    fn schema_name() -> Cow<'static, str> {
        "DeviceChoice".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let choices = DEVICE_WORDS.map(|(word, meaning)| {
            if word == "cuda:N" {
                // The title stands for the pattern where it is shown to a person.
                json_schema!({ "type": "string", "pattern": "^cuda:[0-9]+$", "title": word, "description": meaning })
            } else {
                json_schema!({ "const": word, "description": meaning })
            }
        });
        json_schema!({ "oneOf": choices })
    }
}

/// Waits until a device has done all that it was given; on the CPU there is nothing to wait for.
pub(crate) fn wait(device: Device) {
    if let Device::Cuda(index) = device {
        Cuda::synchronize(index as i64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CUDA_13: CudaVersion = CudaVersion(13_000);

    #[test]
    fn cpu_is_always_available() {
        assert_eq!(DeviceChoice::Cpu.open(0).unwrap(), Device::Cpu);
    }

    #[test]
    fn auto_never_fails_and_says_what_it_takes() {
        DeviceChoice::Auto.open(0).unwrap();
        assert_eq!(taken(&Ok(2)), "note: device auto takes cuda:0 of 2 GPUs, cuda:0 to cuda:1");
        let none = taken(&Err(DeviceError::NoGpu { device: DeviceChoice::Auto, count: 0 }));
        assert_eq!(none, "note: device auto takes the CPU: device auto: expected a GPU of this number, found none");
    }

    #[test]
    fn a_missing_library_is_named() {
        // Where there is a GPU, the number is what is wrong; elsewhere the first thing that is missing.
        let error = DeviceChoice::Cuda(255).open(0).unwrap_err();
        let text = taken(&Err(error));
        assert!(["libtorch_cuda.so", "libcuda.so.1", "found"].iter().any(|word| text.contains(word)), "{text}");
    }

    #[test]
    fn numbers_and_drivers_that_do_not_fit_are_said() {
        let fits = |index, driver, count| {
            DeviceChoice::Cuda(index)
                .fits(index, CudaVersion(driver), CudaDevices { version: CUDA_13, count })
                .map_err(|error| error.to_string())
        };
        assert_eq!(fits(1, 13_010, 2), Ok(2));
        assert_eq!(fits(0, 14_000, 1), Ok(1));
        assert_eq!(fits(0, 13_000, 0).unwrap_err(), "device cuda: expected a GPU of this number, found none");
        let error = fits(3, 13_000, 2).unwrap_err();
        assert_eq!(error, "device cuda:3: expected a GPU of this number, found 2 GPUs, cuda:0 to cuda:1");
        let error = fits(0, 12_080, 0).unwrap_err();
        assert_eq!(error, "device cuda: expected a driver for CUDA 13.0 or later, found one for CUDA 12.8");
    }

    #[test]
    fn words_are_read_and_written() {
        for (word, choice) in [
            ("auto", DeviceChoice::Auto),
            ("cpu", DeviceChoice::Cpu),
            ("cuda", DeviceChoice::Cuda(0)),
            ("cuda:3", DeviceChoice::Cuda(3)),
        ] {
            assert_eq!((word.parse(), choice.to_string().as_str()), (Ok(choice), word));
            assert_eq!(serde_json::from_value::<DeviceChoice>(serde_json::to_value(choice).unwrap()).unwrap(), choice);
        }
        assert_eq!("cuda:0".parse(), Ok(DeviceChoice::Cuda(0)));
        for word in ["gpu", "cuda:", "cuda:+1", "cuda:-1", "cuda:256", "CUDA", "cuda:1 ", ""] {
            let error = word.parse::<DeviceChoice>().unwrap_err().to_string();
            assert!(error.ends_with(&format!("found `{word}`")), "{error}");
        }
    }

    #[test]
    fn the_workspace_matters_on_a_gpu_alone() {
        check_workspace(Device::Cpu).unwrap();
        if env::var("CUBLAS_WORKSPACE_CONFIG").is_err() {
            let error = check_workspace(Device::Cuda(0)).unwrap_err().to_string();
            assert!(error.ends_with("found nothing"), "{error}");
        }
    }
}
