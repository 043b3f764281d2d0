//! Answers to a dataset's samples: the feed, the answerer and the metrics joined.
//!
//! - `log`: answers on disk as they come, so that a run that was killed goes on

pub(super) mod log;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use med2e3_feed::{Feed, FeedPlan, HostText, TextForm};
use med2e3_metric::meteor::Meteor;
use med2e3_program::Progress;
use med2e3_schemas::Id;
use med2e3_schemas::evaluation::Answer;
use med2e3_schemas::sample::SampleRow;
use med2e3_shards::{Dataset, SampleRows};

use crate::TrainerError;
use crate::device_batch::{texts, voxels};
use crate::generate::Decoding;
use crate::generate::answerer::Answerer;
use crate::generate::judged::judged;
use crate::generate::letters::LetterTokens;
use crate::verb::turns::Asked;

/// How answers are made, and measured.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    /// Prompts answered together.
    pub(super) batch_size: usize,
    pub(super) decoding: Decoding,
    /// Tokens of an answer at most.
    pub(super) max_new_tokens: usize,
    /// Of what a scorer draws.
    pub(super) seed: u64,
    pub(super) meteor: Option<&'a Meteor>,
    pub(super) shown: Shown,
    /// Scores of slices to take in place of the scorer's, by sample.
    pub(super) scores: Option<&'a HashMap<Id, Vec<f32>>>,
}

/// What a model is shown of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// Its voxels.
    Voxels,
    /// Zeros.
    Zeros,
}

/// Answers every question that is asked. `each` hears of an answer and its tokens as soon as its batch has ended: questions about one volume come
/// one after another, so that the volume is read and encoded once for a batch of them.
///
/// # Errors
/// Prompts that leave no room for an answer; data that can't be fed; what `each` fails with; otherwise as [`Answerer::answer`].
pub(super) fn answers(
    answerer: &Answerer,
    dataset: &Arc<Dataset>,
    asked: Asked,
    way: Way<'_>,
    mut each: impl FnMut(Answer, &[i64]) -> Result<(), TrainerError>,
) -> Result<(), TrainerError> {
    let Way { batch_size, decoding, max_new_tokens, seed, meteor, shown, scores } = way;
    answerer.check_room(&asked.samples.rows, max_new_tokens)?;
    if asked.samples.rows.is_empty() {
        return Ok(());
    }
    let (samples, turns) = by_volume(asked);
    let plan = FeedPlan::one_pass(TextForm::Prompt, answerer.question_form(), batch_size);
    let mut feed = Feed::start(dataset.clone(), Arc::new(samples.samples()), plan)?;
    let progress = Progress::new(samples.rows.len() as u64, 0, "answers");
    let mut count = 0;
    while let Some(batch) = feed.next_batch() {
        let batch = batch?;
        let volumes = batch.volume_ids.len() as i64;
        let voxels_vcdhw = voxels(&batch.voxels, volumes, dataset.voxels(), answerer.device());
        let voxels_vcdhw = match shown {
            Shown::Voxels => voxels_vcdhw,
            Shown::Zeros => voxels_vcdhw.zeros_like(),
        };
        let mut texts = texts(&batch, seed);
        for (text, of_batch) in texts.iter_mut().zip(batch.texts()) {
            text.scores = scores.and_then(|scores| scores.get(&of_batch.sample_id)).cloned().unwrap_or_default();
        }
        let letters =
            |text: HostText<'_>| answerer.letter_tokens(&samples.rows[text.sample as usize]).unwrap_or_default();
        let letters: Vec<LetterTokens> = batch.texts().map(letters).collect();
        let replies = answerer.answer_batch(&voxels_vcdhw, texts, &letters, decoding, max_new_tokens)?;
        for (text, mut reply) in batch.texts().zip(replies) {
            let (place, ids) = (text.sample as usize, std::mem::take(&mut reply.ids));
            each(Answer { turn: turns[place], ..judged(&samples.rows[place], reply, meteor) }, &ids)?;
        }
        count += batch.len();
        progress.add(batch.len() as u64);
    }
    progress.finish();
    assert_eq!(count, samples.rows.len(), "a feed that ends early ends with an error");
    Ok(())
}

/// The questions in the order in which they are answered, each with its turn: those about one volume together, volumes and their
/// questions with the longest prompts first, so that a batch is of alike lengths and a lack of memory shows at once.
fn by_volume(asked: Asked) -> (SampleRows, Vec<u32>) {
    let Asked { samples, turns, .. } = asked;
    let length = |row: &SampleRow| row.target_spans.first().map_or(row.ids.len(), |span| span.0 as usize);
    let mut longest: HashMap<Option<Id>, usize> = HashMap::new();
    for row in &samples.rows {
        let most = longest.entry(row.volume_ids.first().copied()).or_default();
        *most = length(row).max(*most);
    }
    let mut rows: Vec<(SampleRow, u32)> = samples.rows.into_iter().zip(turns).collect();
    rows.sort_by_cached_key(|(row, turn)| {
        let volume = row.volume_ids.first().copied();
        (Reverse(longest[&volume]), volume, Reverse(length(row)), row.sample_id, *turn)
    });
    let (rows, turns) = rows.into_iter().unzip();
    (SampleRows { rows, ..samples }, turns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_about_a_volume_are_answered_together_the_longest_first() {
        let row = |number: usize, volume: usize, length: usize| {
            let [id, volume] =
                [format!("sample {number}"), format!("volume {volume}")].map(|name| Id::of_volume(&name));
            SampleRow::of_ids(id, vec![volume], vec![7; length + 2], vec![(length as u32, length as u32 + 2)])
        };
        let rows = vec![row(0, 0, 3), row(1, 1, 9), row(2, 0, 5), row(3, 1, 2), row(4, 2, 4)];
        let samples = SampleRows { rows: rows.clone(), without_volume: 0, hash: [0; 32] };
        let (sorted, turns) = by_volume(Asked { samples, turns: vec![1, 2, 3, 4, 5], not_asked: 0 });
        assert_eq!(turns, [2, 4, 3, 1, 5]);
        let expected: Vec<Id> = turns.iter().map(|turn| rows[*turn as usize - 1].sample_id).collect();
        assert_eq!(sorted.rows.iter().map(|row| row.sample_id).collect::<Vec<_>>(), expected);
    }
}
