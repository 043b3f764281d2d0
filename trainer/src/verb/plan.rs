//! `med2e3 plan`: what a run will cost, from its configuration and the lengths of its texts; no weight is read or made.

use std::path::PathBuf;

use crate::TrainerError;
use crate::config::TrainConfig;
use crate::device::DeviceChoice;
use crate::plan::choice::WIDTHS;
use crate::plan::estimate::Estimate;
use crate::plan::profile::DeviceProfile;
use crate::train::{Planned, planned};

/// What a run is planned for.
#[derive(Debug, Clone, Default)]
pub struct PlanFor {
    /// The device's rates; estimates of the configuration's device where absent.
    pub profile: Option<DeviceProfile>,
    /// Bytes that tensors may take on a GPU; with it the run is planned for a GPU whatever the configuration's device.
    pub gpu_memory: Option<u64>,
    /// The folder that the run would write to; the current one where absent.
    pub out: Option<PathBuf>,
}

/// Estimates a run.
///
/// # Errors
/// A configuration, dataset or checkpoint that does not fit; a model that the memory does not hold: with what would fit.
pub fn plan(config: &TrainConfig, plan_for: PlanFor) -> Result<Estimate, TrainerError> {
    let out = plan_for.out.clone().unwrap_or_else(|| PathBuf::from("."));
    planned(config, &on(config.device, config.threads, plan_for), &out)
}

/// The device that is planned for.
pub(super) fn on(device: DeviceChoice, threads: usize, plan_for: PlanFor) -> Planned {
    let PlanFor { profile, gpu_memory, .. } = plan_for;
    let is_gpu = gpu_memory.is_some() || device != DeviceChoice::Cpu;
    let mut profile = profile.unwrap_or_else(|| match is_gpu {
        true => DeviceProfile::h100(),
        false => DeviceProfile::cpu(if threads > 0 { threads } else { 1 }),
    });
    if let Some(memory) = gpu_memory {
        profile.memory = memory as f64;
    }
    Planned { profile, width_multiple: if is_gpu { WIDTHS } else { 1 } }
}
