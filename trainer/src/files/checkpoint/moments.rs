//! The optimizer's state in a checkpoint, read a tensor at a time.

use tch::{Device, Kind, Tensor};

use crate::TrainerError;
use crate::files::weights_file::WeightsFile;
use crate::train::optimizer::{OptimizerError, StoredState};

/// The open file, none of whose tensors is in memory yet.
pub struct StoredMoments {
    pub(super) updates: u64,
    pub(super) file: WeightsFile,
}

impl StoredMoments {
    /// An error of the optimizer, with the file that it is about.
    pub fn named(&self, problem: TrainerError) -> TrainerError {
        match problem {
            TrainerError::Optimizer(OptimizerError::State { .. }) => {
                TrainerError::Part { path: self.file.path().to_owned(), source: Box::new(problem) }
            }
            other => other,
        }
    }
}

impl StoredState for StoredMoments {
    fn updates(&self) -> u64 {
        self.updates
    }

    fn described(&self) -> Result<Vec<(String, Kind, Vec<i64>)>, TrainerError> {
        let shapes = self.file.shapes().into_iter();
        shapes.map(|(name, shape)| self.file.kind(&name).map(|kind| (name, kind, shape))).collect()
    }

    fn tensor(&self, name: &str) -> Result<Tensor, TrainerError> {
        self.file.tensor(name, Device::Cpu, None)
    }
}
