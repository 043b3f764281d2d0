//! Rates of a device.

use std::path::Path;

use med2e3_store::FileError;
use serde::{Deserialize, Serialize};

use super::flops::Module;
use crate::TrainerError;
use crate::machine::memory_bytes;
use crate::precision::Precision;

/// What a device computes and moves in a second, and what it holds. `med2e3 bench parts --json FILE` measures one; those here
/// are estimates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceProfile {
    /// The device, and where the numbers come from.
    pub name: String,
    /// Bytes that tensors may take.
    pub memory: f64,
    /// FLOPs a second of matrix products, as the maker states them: in bf16.
    pub peak_bf16: f64,
    /// In f32.
    pub peak_f32: f64,
    /// Share of the peak that products of each module's shapes reach.
    pub reached: Reached,
    /// FLOPs a second of attention in the forward pass.
    pub attention_forward: f64,
    /// In the backward pass, which does two and a half times the work.
    pub attention_backward: f64,
    /// Bytes a second, read or written, of elementwise operations.
    pub bandwidth: f64,
    /// Bytes a second from pinned host memory to the device.
    pub copy: f64,
    /// Whether an RMS norm is one kernel; one that is not keeps more.
    pub fused_norms: bool,
    /// Seconds of a micro-batch that are not spent in any of these: launches, small kernels.
    pub overhead: f64,
}

/// Share of the peak that products reach.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reached {
    /// Of the language model and of its head.
    pub llm: f64,
    /// Of the 2D encoder.
    pub vision2d: f64,
    /// Of the 3D encoder and of the text encoder.
    pub vision3d: f64,
    /// Of the connectors.
    pub connector: f64,
}

impl DeviceProfile {
    /// One H100 of 80 GB: peaks as stated by its maker, the rest estimated, none of it measured with this program.
    pub fn h100() -> DeviceProfile {
        DeviceProfile {
            name: "H100 80 GB (estimated)".into(),
            // The card's 83.7 GB without the context, libraries' workspaces and what fragments.
            memory: 80.2e9,
            peak_bf16: 989e12,
            peak_f32: 67e12,
            reached: Reached { llm: 0.66, vision2d: 0.58, vision3d: 0.50, connector: 0.62 },
            attention_forward: 330e12,
            attention_backward: 280e12,
            bandwidth: 2.6e12,
            copy: 50e9,
            fused_norms: true,
            overhead: 0.004,
        }
    }

    /// This machine's processor, by the operations that one core can do at most; the memory that the machine or its container has.
    pub fn cpu(threads: usize) -> DeviceProfile {
        let peak = 50e9 * threads.max(1) as f64;
        DeviceProfile {
            name: "processor (estimated)".into(),
            memory: memory_bytes().map_or(16e9, |bytes| 0.9 * bytes as f64),
            peak_bf16: peak,
            peak_f32: peak,
            reached: Reached { llm: 0.8, vision2d: 0.8, vision3d: 0.8, connector: 0.8 },
            attention_forward: 0.4 * peak,
            attention_backward: 0.4 * peak,
            bandwidth: 8e9,
            copy: 8e9,
            fused_norms: false,
            overhead: 0.002,
        }
    }

    /// A profile that `bench parts` has written: the whole file, or its member `profile`.
    ///
    /// # Errors
    /// The file can't be read or holds something else.
    pub fn read(path: &Path) -> Result<DeviceProfile, TrainerError> {
        let text = std::fs::read_to_string(path).map_err(FileError::of(path, "read"))?;
        let wrong = |found: serde_json::Error| TrainerError::File {
            path: path.to_owned(),
            expected: "what `med2e3 bench parts --json` writes".into(),
            found: found.to_string(),
        };
        let value: serde_json::Value = serde_json::from_str(&text).map_err(wrong)?;
        let profile = value.get("profile").unwrap_or(&value).clone();
        let profile: DeviceProfile = serde_json::from_value(profile).map_err(wrong)?;
        profile.check(path)?;
        Ok(profile)
    }

    /// Rates by which nothing is divided into nonsense.
    fn check(&self, path: &Path) -> Result<(), TrainerError> {
        let Reached { llm, vision2d, vision3d, connector } = self.reached;
        let rates = [
            ("memory", self.memory),
            ("peak_bf16", self.peak_bf16),
            ("peak_f32", self.peak_f32),
            ("reached.llm", llm),
            ("reached.vision2d", vision2d),
            ("reached.vision3d", vision3d),
            ("reached.connector", connector),
            ("attention_forward", self.attention_forward),
            ("attention_backward", self.attention_backward),
            ("bandwidth", self.bandwidth),
            ("copy", self.copy),
        ];
        match rates.into_iter().find(|(_, rate)| !(rate.is_finite() && *rate > 0.0)) {
            None => Ok(()),
            Some((key, rate)) => Err(TrainerError::File {
                path: path.to_owned(),
                expected: format!("{key} above 0"),
                found: rate.to_string(),
            }),
        }
    }

    /// FLOPs a second that products of a module reach.
    pub(super) fn products(&self, module: Module, precision: Precision) -> f64 {
        let reached = match module {
            Module::Llm | Module::LlmHead => self.reached.llm,
            Module::Vision2d => self.reached.vision2d,
            Module::Vision3d | Module::TextEncoder => self.reached.vision3d,
            Module::Connector2d | Module::Connector3d => self.reached.connector,
        };
        reached * self.peak(precision)
    }

    /// FLOPs a second that the maker states.
    pub fn peak(&self, precision: Precision) -> f64 {
        match precision {
            Precision::F32 => self.peak_f32,
            Precision::Bf16 => self.peak_bf16,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_read_as_it_is_written_alone_or_within_a_report() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("parts.json");
        let profile = DeviceProfile::h100();
        for value in [serde_json::json!(profile), serde_json::json!({ "profile": profile, "attention": [] })] {
            std::fs::write(&path, value.to_string()).unwrap();
            assert_eq!(DeviceProfile::read(&path).unwrap(), profile);
        }
        let wrong = DeviceProfile { bandwidth: 0.0, ..profile };
        std::fs::write(&path, serde_json::json!(wrong).to_string()).unwrap();
        let error = DeviceProfile::read(&path).unwrap_err().to_string();
        assert!(error.contains("parts.json: expected bandwidth above 0, found 0"), "{error}");
        std::fs::write(&path, "{}").unwrap();
        assert!(DeviceProfile::read(&path).unwrap_err().to_string().contains("bench parts"));
    }
}
