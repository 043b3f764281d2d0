//! `[compute]`: in which numbers, and by which of libtorch's algorithms, a model is trained.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Device;

use super::is_default;
use crate::TrainerError;
use crate::device::{DeviceError, check_workspace};
use crate::fit::expect;
use crate::libtorch::{Context, FirstAttention, set_context};
use crate::precision::Precision;
use crate::words::{Word, words};

/// In which numbers a model is trained, and how they are computed.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ComputeConfig {
    /// Kind of the weights, and of what is computed from them.
    #[serde(default)]
    pub precision: Precision,
    /// How a GPU multiplies matrices of f32.
    #[serde(default, skip_serializing_if = "is_default")]
    pub matmul: Matmul,
    /// Whether two runs on one GPU are equal.
    #[serde(default, skip_serializing_if = "is_default")]
    pub algorithms: Algorithms,
    /// What computes attention on a GPU.
    #[serde(default, skip_serializing_if = "is_default")]
    pub attention: Attention,
}

words! {
    /// How a GPU multiplies matrices of f32. Nothing changes for bf16, nor on the CPU.
    #[derive(Default)]
    pub enum Matmul {
        /// With all their bits.
        #[default]
        Exact = "exact",
        /// As TF32: inputs rounded to 10 bits of mantissa, sums in f32; several times as fast.
        Tf32 = "tf32",
    }
}

words! {
    /// Which of libtorch's algorithms are used.
    #[derive(Default)]
    pub enum Algorithms {
        /// The fastest. On a GPU some sums have no fixed order, so that two runs differ in the last bits; on the CPU two runs are equal.
        #[default]
        Fast = "fast",
        /// Those whose sums have one order; an operation that has none is an error. On a GPU it needs CUBLAS_WORKSPACE_CONFIG=:4096:8 or :16:8 in the environment, and attention is flash attention or the plain formula. On the CPU nothing changes but some indexed sums, which get slower.
        Deterministic = "deterministic",
    }
}

words! {
    /// What computes attention on a GPU, where it can: masks of padding are left to others. On the CPU nothing changes.
    #[derive(Default)]
    pub enum Attention {
        /// What libtorch takes for the card.
        #[default]
        Auto = "auto",
        /// Flash attention; never cuDNN's.
        Flash = "flash",
        /// cuDNN's.
        Cudnn = "cudnn",
    }
}

impl ComputeConfig {
    /// # Errors
    /// Keys that contradict each other.
    pub(super) fn check(&self) -> Result<(), TrainerError> {
        let ordered = self.algorithms == Algorithms::Fast || self.attention != Attention::Cudnn;
        let expected = "auto or flash with compute.algorithms = \"deterministic\": gradients of cuDNN's attention have sums without a fixed order";
        expect("compute.attention", ordered, expected.into(), self.attention.as_str().into())
    }

    /// Whether it can be had on the device.
    ///
    /// # Errors
    /// It can't.
    pub(crate) fn check_on(&self, device: Device) -> Result<(), TrainerError> {
        if device.is_cuda() {
            let is_fused = self.attention == Attention::Auto || self.precision != Precision::F32;
            let expected =
                "auto with compute.precision = \"f32\" on a GPU, where flash and cuDNN attention take 16 bits alone";
            expect("compute.attention", is_fused, expected.into(), self.attention.as_str().into())?;
        }
        if self.algorithms == Algorithms::Deterministic {
            check_workspace(device)?;
        }
        Ok(())
    }

    /// Sets it for everything that the process computes from now on.
    ///
    /// # Errors
    /// As [`ComputeConfig::check_on`].
    pub(crate) fn apply(&self, device: Device) -> Result<(), TrainerError> {
        self.check_on(device)?;
        let deterministic = self.algorithms == Algorithms::Deterministic;
        let attention = match self.attention {
            Attention::Auto => FirstAttention::Own,
            Attention::Flash => FirstAttention::Flash,
            Attention::Cudnn => FirstAttention::Cudnn,
        };
        let context = Context { tf32: self.matmul == Matmul::Tf32, deterministic, attention };
        Ok(set_context(context).map_err(DeviceError::Setting)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_contradict_each_other_are_refused() {
        let deterministic = ComputeConfig { algorithms: Algorithms::Deterministic, ..ComputeConfig::default() };
        deterministic.check().unwrap();
        let both = ComputeConfig { attention: Attention::Cudnn, ..deterministic };
        let error = both.check().unwrap_err().to_string();
        assert!(
            error.starts_with("compute.attention: expected auto or flash") && error.ends_with("found cudnn"),
            "{error}"
        );
        let gpu = Device::Cuda(0);
        let f32 = ComputeConfig { attention: Attention::Flash, ..ComputeConfig::default() };
        f32.check().unwrap();
        assert!(f32.apply(gpu).unwrap_err().to_string().contains("compute.precision = \"f32\" on a GPU"));
    }
}
