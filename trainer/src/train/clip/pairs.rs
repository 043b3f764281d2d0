//! The pairs of a step, in parts that are read at once.

use med2e3_feed::{HostBatch, HostText};
use med2e3_schemas::volume::VoxelFormat;
use tch::Device;

use crate::TrainerError;
use crate::augmentation::Draw;
use crate::device_batch::{augmented, voxels};
use crate::model::contrastive::PairBatch;
use crate::text_tokenizer::padded;

/// A step's volumes and the ids of their captions. Voxels stay codes until a part is asked for.
pub(super) struct Pairs<'a> {
    pub(super) batch: &'a HostBatch,
    /// The ids of each text of the batch.
    pub(super) captions: Vec<Vec<i64>>,
    pub(super) format: &'a VoxelFormat,
    pub(super) device: Device,
    /// What is drawn for the pairs in training.
    pub(super) draws: Option<Draws>,
    /// Pairs of a part.
    pub(super) size: usize,
}

/// What is drawn for each pair, the same whenever its part is asked for.
pub(super) struct Draws {
    /// What happens to its volume.
    pub(super) volumes: Vec<Draw>,
    /// The key of what its text loses.
    pub(super) texts: Vec<u64>,
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
        let mut cells = Vec::with_capacity(range.len() * cell);
        for volume in self.batch.texts().skip(range.start).take(range.len()).flat_map(first_volume) {
            cells.extend_from_slice(&self.batch.voxels[volume * cell..][..cell]);
        }
        let (ids_bt, mask_bt) = padded(&self.captions[range.clone()]);
        let voxels_bcdhw = match &self.draws {
            None => voxels(&cells, range.len() as i64, self.format, self.device),
            Some(Draws { volumes, .. }) => augmented(&cells, &volumes[range.clone()], self.format, self.device),
        };
        let keys_b = self.draws.as_ref().map(|draws| draws.texts[range].to_vec());
        Ok(PairBatch { voxels_bcdhw, ids_bt, mask_bt, keys_b })
    }
}

/// The place in its batch of the volume that a pair's text shows; it shows one alone.
pub(super) fn first_volume(text: HostText<'_>) -> Option<usize> {
    text.volumes().next()
}
