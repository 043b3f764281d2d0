//! A host batch to what the model takes: codes become values on the device.

use med2e3_feed::{HostBatch, HostText};
use med2e3_schemas::Id;
use med2e3_schemas::volume::{VoxelCode, VoxelFormat};
use tch::{Device, Kind, Tensor};

use crate::augmentation::{self, Draw};
use crate::host_array::HostArray;
use crate::libtorch::LibtorchError;
use crate::model::batch_plan::{BatchPlan, PlacedPlan};
use crate::model::draws::key_of;
use crate::model::{TargetWeights, TextInput};
use crate::staging::{Part, Staging};

/// A planned micro-batch on the host, as a training gives it to the model.
pub(crate) struct Planned<'a> {
    /// Codes of the volumes, one cell after another.
    pub(crate) cells: &'a [u8],
    /// How they are stored.
    pub(crate) format: &'a VoxelFormat,
    /// What happens to each volume.
    pub(crate) draws: &'a [Draw],
    /// The texts, planned.
    pub(crate) plan: &'a BatchPlan,
}

/// The same on the device.
pub(crate) struct Arrived<'a> {
    /// Values of the volumes, changed as their draws say.
    pub(crate) voxels_vcdhw: Tensor,
    /// The texts.
    pub(crate) plan: PlacedPlan<'a>,
    /// What else went along, in its order.
    pub(crate) beside: Vec<Tensor>,
}

impl<'a> Planned<'a> {
    /// Brings all of it, and what goes along, to the device in one copy, for which nobody waits.
    ///
    /// # Errors
    /// The system gives no memory; the device reports a failed computation.
    pub(crate) fn upload(&self, staging: &mut Staging, beside: Vec<Part<'_>>) -> Result<Arrived<'a>, LibtorchError> {
        let Planned { cells, format, draws, plan } = *self;
        let intensity: Vec<f32> = draws.iter().flat_map(|draw| draw.intensity(format)).collect();
        let [depth, height, width] = format.shape_dhw.map(|n| n as i64);
        let count = draws.len() as i64;
        let shape = vec![count, 1, depth, height, width];
        let mut parts = vec![Part { array: HostArray::Codes(cells, kind(format)), shape }];
        parts.push(Part { array: HostArray::F32(&intensity), shape: vec![count, 2] });
        let beside_count = beside.len();
        parts.extend(beside);
        parts.extend(plan.parts());
        let mut arrived = staging.upload(&parts)?.into_iter();
        let mut next = || arrived.next().expect("as many tensors as parts");
        let voxels_vcdhw = augmentation::values(&next(), draws, &next());
        let beside = (0..beside_count).map(|_| next()).collect();
        Ok(Arrived { voxels_vcdhw, plan: plan.place(|_, _| next()), beside })
    }
}

/// What each target of a batch's texts counts.
pub(crate) fn weights(batch: &HostBatch) -> TargetWeights {
    TargetWeights::PerText(batch.weights.to_vec())
}

/// The texts of a batch, each with the key of what is drawn for it.
pub(crate) fn texts(batch: &HostBatch, seed: u64) -> Vec<TextInput> {
    let text = |text: HostText<'_>| TextInput {
        ids: text.ids.to_vec(),
        labels: text.labels.to_vec(),
        volumes: text.volumes().collect(),
        question_ids: text.question_ids.to_vec(),
        key: row_key(seed, text.sample_id),
        scores: Vec::new(),
    };
    batch.texts().map(text).collect()
}

/// The key of what is drawn for a sample or a volume.
pub(crate) fn row_key(seed: u64, sample: Id) -> u64 {
    key_of(seed, &sample.0)
}

/// Cells of `count` volumes as f32 values, (B, 1, D, H, W), in the unit of the format: 0..1 or Hounsfield units.
///
/// # Panics
/// `cells` has another length than `count` cells of the format.
pub fn voxels(cells: &[u8], count: i64, format: &VoxelFormat, device: Device) -> Tensor {
    let values = codes(cells, count, format, device).to_kind(Kind::Float) * f64::from(format.scale);
    if format.offset == 0.0 { values } else { values + f64::from(format.offset) }
}

/// The same of volumes that are changed as `draws` say, one entry each.
pub(crate) fn augmented(cells: &[u8], draws: &[Draw], format: &VoxelFormat, device: Device) -> Tensor {
    let intensity: Vec<f32> = draws.iter().flat_map(|draw| draw.intensity(format)).collect();
    let intensity_v2 = Tensor::from_slice(&intensity).view([-1, 2]).to_device(device);
    augmentation::values(&codes(cells, draws.len() as i64, format, device), draws, &intensity_v2)
}

fn codes(cells: &[u8], count: i64, format: &VoxelFormat, device: Device) -> Tensor {
    let [depth, height, width] = format.shape_dhw.map(|n| n as i64);
    Tensor::from_data_size(cells, &[count, 1, depth, height, width], kind(format)).to_device(device)
}

fn kind(format: &VoxelFormat) -> Kind {
    match format.code {
        VoxelCode::U8 => Kind::Uint8,
        VoxelCode::I16 => Kind::Int16,
        VoxelCode::F32 => Kind::Float,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use med2e3_shards::codes::{decode, encode};

    #[test]
    fn values_on_the_device_are_those_of_the_host_decoder() {
        let values: Vec<f32> = (0..24).map(|i| i as f32 / 23.0).collect();
        for code in [VoxelCode::U8, VoxelCode::I16, VoxelCode::F32] {
            let format = VoxelFormat::unit_range([2, 3, 4], code);
            let mut cell = Vec::new();
            encode(&values, &format, &mut cell);
            let tensor = voxels(&cell, 1, &format, Device::Cpu);
            assert_eq!(tensor.size(), [1, 1, 2, 3, 4]);
            let back = Vec::<f32>::try_from(tensor.flatten(0, -1)).unwrap();
            for (a, b) in decode(&cell, &format).iter().zip(back) {
                assert!((a - b).abs() < 1e-6);
            }
        }
    }
}
