//! The pairs of a step, in parts that are read at once.

use med2e3_feed::HostBatch;
use med2e3_schemas::volume::VoxelFormat;
use tch::Device;

use crate::TrainerError;
use crate::device_batch::voxels;
use crate::model::contrastive::PairBatch;
use crate::text_tokenizer::padded;

/// A step's volumes and the ids of their captions. Voxels stay codes until a part is asked for.
pub(super) struct Pairs<'a> {
    pub(super) batch: &'a HostBatch,
    /// The ids of each text of the batch.
    pub(super) captions: Vec<Vec<i64>>,
    pub(super) format: &'a VoxelFormat,
    pub(super) device: Device,
    /// Pairs of a part.
    pub(super) size: usize,
}

impl Pairs<'_> {
    /// All pairs.
    pub(super) fn count(&self) -> usize {
        self.captions.len()
    }

    /// Parts; the last one may be smaller.
    pub(super) fn parts(&self) -> usize {
        self.count().div_ceil(self.size)
    }

    /// One of the parts, on the device.
    pub(super) fn part(&self, part: usize) -> Result<PairBatch, TrainerError> {
        let range = part * self.size..self.count().min((part + 1) * self.size);
        let cell = self.format.cell_bytes();
        let volumes = self.batch.texts[range.clone()].iter().map(|text| text.volumes[0]);
        let cells: Vec<u8> =
            volumes.flat_map(|volume| &self.batch.voxels[volume * cell..(volume + 1) * cell]).copied().collect();
        let (ids_bt, mask_bt) = padded(&self.captions[range.clone()]);
        let voxels_bcdhw = voxels(&cells, range.len() as i64, self.format, self.device);
        Ok(PairBatch { voxels_bcdhw, ids_bt, mask_bt })
    }
}
