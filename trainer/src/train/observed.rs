//! What of a run is looked at beside its log: nothing that changes what is learned.

use std::path::Path;

use tch::Device;

use crate::TrainerError;
use crate::device::wait;
use crate::fit::expect;
use crate::http::ServedAt;
use crate::libtorch::Trace;
use crate::plan::profile::DeviceProfile;

/// What is looked at.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The step that libtorch's profiler records into `trace-step-N.json`.
    pub trace: Option<u64>,
    /// Measured rates of the device, by which utilization is stated; what its maker states without them, where that is known.
    pub profile: Option<DeviceProfile>,
    /// Where the run's numbers can be fetched while it goes on.
    pub metrics: Option<ServedAt>,
}

impl Observed {
    /// # Errors
    /// The step to record is none of those from `first` to `last`.
    pub(super) fn check(&self, first: u64, last: u64) -> Result<(), TrainerError> {
        let Some(step) = self.trace else { return Ok(()) };
        let expected = match first <= last {
            true => format!("a step that this run takes, {first} to {last}"),
            false => format!("no --trace: all {last} steps are taken already"),
        };
        expect("--trace", (first..=last).contains(&step), expected, step.to_string())
    }
}

/// Starts to record the operators of this thread, and on a GPU its kernels and copies, once the device has done what came before.
///
/// # Errors
/// Another trace is running.
pub(super) fn record(device: Device) -> Result<Trace, TrainerError> {
    wait(device);
    Ok(Trace::start(device)?)
}

/// Ends a trace when the device has done what was recorded, and writes it into the run's folder.
///
/// # Errors
/// The system refuses to write.
pub(super) fn write(trace: Trace, device: Device, out: &Path, step: u64) -> Result<(), TrainerError> {
    wait(device);
    Ok(trace.write(&out.join(format!("trace-step-{step}.json")))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_step_that_is_taken_is_recorded() {
        let of = |trace, first, last| {
            Observed { trace, ..Observed::default() }.check(first, last).map_err(|e| e.to_string())
        };
        assert_eq!((of(None, 1, 3), of(Some(1), 1, 3), of(Some(3), 2, 3)), (Ok(()), Ok(()), Ok(())));
        assert_eq!(of(Some(1), 2, 3).unwrap_err(), "--trace: expected a step that this run takes, 2 to 3, found 1");
        assert!(of(Some(4), 1, 3).is_err() && of(Some(0), 1, 3).is_err());
        assert!(of(Some(3), 4, 3).unwrap_err().contains("all 3 steps are taken already"));
    }
}
