//! Volumes and captions to features.

use std::collections::HashMap;
use std::sync::Arc;

use med2e3_feed::{Feed, FeedPlan, QuestionForm, TextForm};
use med2e3_program::Progress;
use med2e3_shards::{Dataset, SampleRows};
use tch::{Device, Tensor, no_grad};

use crate::TrainerError;
use crate::device_batch::voxels;
use crate::model::M3dClip;
use crate::text_tokenizer::{TextTokenizer, padded};

/// One side of all pairs. Captions of the same ids are encoded once: as rows of different batches their features would
/// differ in the last bits, and ties between them would be broken by chance.
pub(super) struct Features {
    /// (R, E), of length 1.
    pub(super) distinct_re: Tensor,
    /// For each pair, in the order of the selection, its row of the features.
    pub(super) rows: Vec<i64>,
}

/// The volumes' features.
///
/// # Errors
/// Data that can't be fed, or a caption of no or several volumes.
pub(super) fn encode_volumes(
    clip: &M3dClip,
    dataset: &Arc<Dataset>,
    samples: &SampleRows,
    batch_size: usize,
    device: Device,
) -> Result<Features, TrainerError> {
    let plan = FeedPlan::one_pass(TextForm::Conversation, QuestionForm::Llm, batch_size);
    let mut feed = Feed::start(dataset.clone(), Arc::new(samples.samples()), plan)?;
    let progress = Progress::new(samples.rows.len() as u64, 0, "volumes");
    let mut features = Vec::new();
    while let Some(batch) = feed.next_batch() {
        let batch = batch?;
        if let Some(text) = batch.texts().find(|text| text.volumes().len() != 1) {
            return Err(TrainerError::Config {
                key: "dataset".into(),
                expected: "captions of one volume each".into(),
                found: format!("{} in {}", text.volumes().len(), text.sample_id),
            });
        }
        let voxels_vcdhw = voxels(&batch.voxels, batch.volume_ids.len() as i64, dataset.voxels(), device);
        let features_ve = no_grad(|| clip.encode_image(&voxels_vcdhw))?;
        let volumes_b: Vec<i64> = batch.volume_of.to_vec();
        features.push(features_ve.index_select(0, &Tensor::from_slice(&volumes_b).to_device(device)));
        progress.add(batch.len() as u64);
    }
    progress.finish();
    Ok(Features { distinct_re: Tensor::cat(&features, 0), rows: (0..samples.rows.len() as i64).collect() })
}

/// The captions' features, and how many captions were cut.
pub(super) fn encode_captions(
    clip: &M3dClip,
    tokenizer: &TextTokenizer,
    samples: &SampleRows,
    batch_size: usize,
) -> Result<(Features, u64), TrainerError> {
    let (mut rows, mut known, mut truncated): (Vec<Vec<i64>>, HashMap<Vec<i64>, i64>, u64) = Default::default();
    let mut row_of_pair = Vec::with_capacity(samples.rows.len());
    for sample in &samples.rows {
        let (ids, cut) = tokenizer.encode(&sample.answer)?;
        truncated += u64::from(cut);
        let row = *known.entry(ids.clone()).or_insert(rows.len() as i64);
        if row == rows.len() as i64 {
            rows.push(ids);
        }
        row_of_pair.push(row);
    }
    let progress = Progress::new(rows.len() as u64, 0, "captions");
    let mut features = Vec::new();
    for batch in rows.chunks(batch_size) {
        let (ids_bt, mask_bt) = padded(batch);
        features.push(no_grad(|| clip.encode_text(&ids_bt, &mask_bt, None))?);
        progress.add(batch.len() as u64);
    }
    progress.finish();
    Ok((Features { distinct_re: Tensor::cat(&features, 0), rows: row_of_pair }, truncated))
}
