//! A few fixed samples of the validation split that a run answers after each measurement, so that a person sees what it learned.

use std::path::Path;

use med2e3_feed::step_plan::PlannedText;
use med2e3_feed::{HostBatch, HostText, QuestionForm, Splicing, TextForm, TextLayout};
use med2e3_input::text::Tokenizer;
use med2e3_schemas::evaluation::Answer;
use med2e3_schemas::sample::{IGNORED, IMAGE3D, SampleRow, Task};
use med2e3_shards::{Dataset, Samples};
use tch::Device;

use crate::TrainerError;
use crate::config::ValidationConfig;
use crate::device_batch::{row_key, voxels};
use crate::fit::expect;
use crate::generate::answerer::{replies, stop_ids};
use crate::generate::judged::judged;
use crate::generate::{Decoding, Until};
use crate::model::{Med2e3, Med2e3Config, ModelInput, TargetWeights, TextInput};

/// What is asked, and until when an answer goes on.
pub(super) struct Questions {
    samples: Samples,
    /// The same with their strings.
    rows: Vec<SampleRow>,
    form: TextForm,
    question: QuestionForm,
    tokenizer: Tokenizer,
    until: Until,
}

impl Questions {
    /// Chooses among the samples of the validation split; none where the configuration asks nothing, or there are none.
    ///
    /// # Errors
    /// A tokenizer or rows that can't be read; prompts that leave no room for an answer; nothing that would end one.
    pub(super) fn open(
        config: &ValidationConfig,
        samples: &Samples,
        form: TextForm,
        question: QuestionForm,
        sizes: &Med2e3Config,
        dataset: &Dataset,
    ) -> Result<Option<Questions>, TrainerError> {
        let tasks: Vec<Task> = (0..samples.len()).map(|position| samples.task(position)).collect();
        let samples = samples.picked(chosen(&tasks, config.answers));
        if samples.is_empty() {
            return Ok(None);
        }
        let rows = dataset.rows(&samples)?;
        let tokenizer = Tokenizer::load(Path::new(&dataset.tokenizer()))?;
        let stop_ids = stop_ids(&sizes.llm, dataset.index().end_token, &tokenizer);
        let splicing = Splicing { visual_tokens: sizes.visual_token_count() as usize, max_length: usize::MAX };
        let mut longest = 0;
        for text in samples.iter() {
            longest = splicing.of(&text?, form).map_or(0, |text| text.before_target).max(longest);
        }
        let most = sizes.llm.max_position_embeddings;
        expect(
            "validation.answer_tokens",
            longest.saturating_add(config.answer_tokens) <= most,
            format!(
                "at most {}, behind prompts of up to {longest} of the model's {most} positions",
                most.saturating_sub(longest)
            ),
            config.answer_tokens.to_string(),
        )?;
        let until = Until { max_new_tokens: config.answer_tokens, stop_ids };
        Ok(Some(Questions { samples, rows, form, question, tokenizer, until }))
    }

    /// The most likely answers of a model, in the order of the rows. `seed` is of what a scorer draws.
    ///
    /// # Errors
    /// A volume that can't be read; the device reports a failed computation.
    pub(super) fn answers(
        &self,
        model: &Med2e3,
        dataset: &Dataset,
        device: Device,
        seed: u64,
    ) -> Result<Vec<Answer>, TrainerError> {
        let planned = (0..self.rows.len()).map(|at| PlannedText { position: at as u32, target_weight: 0.0 });
        let mut batch = HostBatch::default();
        let layout = TextLayout { form: self.form, question: self.question };
        batch.fill(dataset, &self.samples, &planned.collect::<Vec<_>>(), layout)?;
        let input_of = |text: HostText<'_>| TextInput {
            question_ids: text.question_ids.to_vec(),
            key: row_key(seed, text.sample_id),
            ..prompt(text.ids, text.labels, text.volumes().collect())
        };
        let texts: Vec<TextInput> = batch.texts().map(input_of).collect();
        let voxels_vcdhw = voxels(&batch.voxels, batch.volume_ids.len() as i64, dataset.voxels(), device);
        let input = ModelInput { voxels_vcdhw, texts, weights: TargetWeights::Mean };
        let replies = replies(model, &self.tokenizer, &input, &[], Decoding::Greedy, &self.until)?;
        let mut answers: Vec<Answer> =
            self.rows.iter().zip(replies).map(|(row, reply)| judged(row, reply, None)).collect();
        // The first stage asks nothing: what follows the volume is its caption.
        if self.form == TextForm::Pretrain {
            answers.iter_mut().for_each(|answer| answer.question.clear());
        }
        Ok(answers)
    }
}

/// A text up to its first target, with the volumes that it shows until there.
fn prompt(ids: &[i64], labels: &[i64], mut volumes: Vec<usize>) -> TextInput {
    // The first token has none before it that could predict it.
    let end = labels.iter().skip(1).position(|label| *label != IGNORED).map_or(ids.len(), |at| at + 1);
    let ids = ids[..end].to_vec();
    volumes.truncate(ids.iter().filter(|id| **id == i64::from(IMAGE3D)).count());
    TextInput { ids, labels: Vec::new(), volumes, question_ids: Vec::new(), key: 0, scores: Vec::new() }
}

/// Places of so many samples of these tasks: of each task in turn the next, so that every task is among them.
fn chosen(tasks: &[Task], count: usize) -> Vec<usize> {
    let of_task = |task: Task| (0..tasks.len()).filter(move |at| tasks[*at] == task);
    let mut each: Vec<_> = Task::ALL.iter().copied().map(of_task).collect();
    let (mut chosen, mut before) = (Vec::new(), usize::MAX);
    while chosen.len() < count && chosen.len() != before {
        before = chosen.len();
        chosen.extend(each.iter_mut().filter_map(Iterator::next));
    }
    chosen.truncate(count);
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_is_among_the_chosen() {
        let rows = [Task::Caption, Task::Caption, Task::Caption, Task::OpenVqa, Task::ClosedVqa];
        assert_eq!(chosen(&rows, 4), [0, 3, 4, 1]);
        assert_eq!(chosen(&rows, 2), [0, 3]);
        assert_eq!(chosen(&rows, 9), [0, 3, 4, 1, 2]);
        assert!(chosen(&rows, 0).is_empty() && chosen(&[], 3).is_empty());
    }

    #[test]
    fn a_prompt_ends_where_the_first_target_begins() {
        let (v, x) = (i64::from(IMAGE3D), IGNORED);
        let told = prompt(&[1, v, 5, 6, v, 7], &[x, x, x, 6, x, 7], vec![0, 1]);
        assert_eq!((told.ids, told.volumes), (vec![1, v, 5], vec![0]));
        let captioned = prompt(&[v, 5, 6], &[x, 5, 6], vec![0]);
        assert_eq!((captioned.ids, captioned.volumes), (vec![v], vec![0]));
        assert_eq!(prompt(&[4, 5], &[4, 5], vec![]).ids, [4]);
        assert_eq!(prompt(&[4, 5], &[x, x], vec![]).ids, [4, 5]);
    }
}
