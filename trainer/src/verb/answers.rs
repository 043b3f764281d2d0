//! Answers to a dataset's samples: the feed, the answerer and the metrics joined.

use std::sync::Arc;

use med2e3_feed::{Feed, FeedPlan, TextForm};
use med2e3_program::Progress;
use med2e3_schemas::report::Answer;
use med2e3_shards::{Dataset, Samples};

use crate::TrainerError;
use crate::device_batch::{texts, voxels};
use crate::generate::Decoding;
use crate::generate::answerer::Answerer;
use crate::generate::judged::judged;

/// How answers are made.
#[derive(Clone, Copy)]
pub(super) struct Way {
    /// Prompts answered together.
    pub(super) batch_size: usize,
    pub(super) decoding: Decoding,
    /// Tokens of an answer at most.
    pub(super) max_new_tokens: usize,
    /// Of what a scorer draws.
    pub(super) seed: u64,
}

/// Answers every sample, in the order of the selection.
///
/// # Errors
/// Prompts that leave no room for an answer; data that can't be fed; otherwise as [`Answerer::answer`].
pub(super) fn answers(
    answerer: &Answerer,
    dataset: &Arc<Dataset>,
    samples: &Arc<Samples>,
    way: Way,
) -> Result<Vec<Answer>, TrainerError> {
    let Way { batch_size, decoding, max_new_tokens, seed } = way;
    answerer.check_room(&samples.rows, max_new_tokens)?;
    let plan = FeedPlan::one_pass(TextForm::Prompt, answerer.question_form(), batch_size);
    let mut feed = Feed::start(dataset.clone(), samples.clone(), plan)?;
    let progress = Progress::new(samples.rows.len() as u64, 0, "answers");
    let mut answers = Vec::with_capacity(samples.rows.len());
    while let Some(batch) = feed.next_batch() {
        let batch = batch?;
        let volumes = batch.volume_ids.len() as i64;
        let voxels_vcdhw = voxels(&batch.voxels, volumes, dataset.voxels(), answerer.device());
        let replies = answerer.answer_batch(&voxels_vcdhw, texts(&batch, seed), decoding, max_new_tokens)?;
        for (text, reply) in batch.texts.iter().zip(replies) {
            answers.push(judged(&samples.rows[text.sample as usize], reply));
        }
        progress.add(batch.texts.len() as u64);
        feed.recycle(batch);
    }
    progress.finish();
    assert_eq!(answers.len(), samples.rows.len(), "a feed that ends early ends with an error");
    Ok(answers)
}
