//! One batch in host memory: voxel codes, token ids padded to the right, labels, and the cursor after it.

use med2e3_schemas::Id;
use med2e3_schemas::sample::{IGNORED, IMAGE3D, SampleRow};
use med2e3_shards::Dataset;
use serde::{Deserialize, Serialize};

use crate::{FeedCursor, FeedError};

/// Which form of a sample's text is fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextForm {
    /// Instruction and answer in the recipe's template; the answer and the end token are targets.
    Conversation,
    /// The volume and its caption alone, as in the first training stage; every token is a target.
    Pretrain,
    /// The instruction alone, up to where the answer would begin; no targets.
    Prompt,
}

/// Whose tokens the question is in for the slice scorer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuestionForm {
    /// The language model's.
    Llm,
    /// A text encoder's of BERT's kind, start and end token included.
    Bert,
}

/// A batch of `rows` samples. Every buffer keeps its capacity when the batch is filled again.
#[derive(Debug, Default)]
pub struct HostBatch {
    /// Voxel codes, one cell for each [`IMAGE3D`] in `ids`, in order.
    pub voxels: Vec<u8>,
    /// Volumes of each row.
    pub volume_counts: Vec<usize>,
    /// Keys of the volumes, one for each cell of `voxels`.
    pub volume_ids: Vec<Id>,
    /// Ids, `rows` x `width`, padded to the right; [`IMAGE3D`] marks a volume.
    pub ids: Vec<i64>,
    /// Labels of the same shape, [`IGNORED`] where there is no target.
    pub labels: Vec<i64>,
    /// Ids of each row before padding.
    pub lengths: Vec<i64>,
    /// Longest row of `ids`.
    pub width: usize,
    /// The questions' ids for the slice scorer, `rows` x `question_width`, padded to the right.
    pub question_ids: Vec<i64>,
    /// Question ids of each row before padding.
    pub question_lengths: Vec<i64>,
    /// Longest row of `question_ids`, at least 1. Padding is 0 where the text encoder reads them.
    pub question_width: usize,
    /// Positions of the samples in the selection.
    pub samples: Vec<u32>,
    /// Keys of the samples.
    pub sample_ids: Vec<Id>,
    /// The feed's position after this batch.
    pub cursor: FeedCursor,
}

impl HostBatch {
    /// Samples in the batch.
    pub fn rows(&self) -> usize {
        self.samples.len()
    }

    /// Volumes of all rows.
    pub fn volumes(&self) -> usize {
        self.volume_counts.iter().sum()
    }

    /// Fills the batch with the samples at `positions` of `rows`.
    ///
    /// # Errors
    /// A sample that has no such form, or whose volume can't be read.
    pub fn fill(
        &mut self,
        dataset: &Dataset,
        rows: &[SampleRow],
        positions: &[u32],
        form: TextForm,
        question: QuestionForm,
        pad: i64,
    ) -> Result<(), FeedError> {
        let samples: Vec<&SampleRow> = positions.iter().map(|&position| &rows[position as usize]).collect();
        let texts = samples.iter().map(|sample| text_of(sample, form)).collect::<Result<Vec<_>, _>>()?;
        self.samples.clear();
        self.samples.extend_from_slice(positions);
        self.sample_ids.clear();
        self.sample_ids.extend(samples.iter().map(|sample| sample.sample_id));

        self.width = texts.iter().map(|text| text.ids.len()).max().unwrap_or(0);
        let lengths = texts.iter().map(|text| text.ids.len() as i64);
        self.lengths.clear();
        self.lengths.extend(lengths);
        self.ids.clear();
        self.labels.clear();
        for text in &texts {
            let padding = self.width - text.ids.len();
            self.ids.extend(text.ids.iter().map(|&id| i64::from(id)));
            self.ids.extend(std::iter::repeat_n(pad, padding));
            let labels = text.targets.iter().zip(text.ids);
            self.labels.extend(labels.map(|(&is_target, &id)| if is_target { i64::from(id) } else { IGNORED }));
            self.labels.extend(std::iter::repeat_n(IGNORED, padding));
        }

        let questions = samples.iter().map(|sample| question_of(sample, question)).collect::<Result<Vec<_>, _>>()?;
        let question_pad = if question == QuestionForm::Bert { 0 } else { pad };
        self.question_width = questions.iter().map(|ids| ids.len()).max().unwrap_or(0).max(1);
        self.question_ids.clear();
        self.question_lengths.clear();
        for ids in questions {
            self.question_lengths.push(ids.len() as i64);
            self.question_ids.extend(ids.iter().map(|&id| i64::from(id)));
            self.question_ids.extend(std::iter::repeat_n(question_pad, self.question_width - ids.len()));
        }

        let volumes = samples.iter().zip(&texts).map(|(sample, text)| volumes_of(sample, text.ids));
        let volumes = volumes.collect::<Result<Vec<&[Id]>, _>>()?;
        self.volume_counts.clear();
        self.volume_counts.extend(volumes.iter().map(|ids| ids.len()));
        self.volume_ids.clear();
        self.volume_ids.extend(volumes.iter().copied().flatten());
        let cell = dataset.voxels().cell_bytes();
        self.voxels.resize(cell * self.volumes(), 0);
        for (id, cell) in self.volume_ids.iter().zip(self.voxels.chunks_exact_mut(cell)) {
            dataset.read_voxels(*id, cell)?;
        }
        Ok(())
    }
}

struct Text<'a> {
    ids: &'a [i32],
    // Whether each of them is a target.
    targets: Vec<bool>,
}

fn text_of(sample: &SampleRow, form: TextForm) -> Result<Text<'_>, FeedError> {
    let error = |problem: &str| FeedError::Sample { sample: sample.sample_id, problem: problem.to_owned() };
    let end = sample.ids.len() as u32;
    if sample.target_spans.iter().any(|&(start, stop)| start > stop || stop > end) {
        return Err(error("a target span is outside the ids"));
    }
    match form {
        TextForm::Conversation => Ok(Text { ids: &sample.ids, targets: sample.targets() }),
        TextForm::Pretrain => {
            let ids = sample.pretrain_ids.as_deref().ok_or_else(|| error("only captions have a pretrain form"))?;
            Ok(Text { ids, targets: ids.iter().map(|id| *id != IMAGE3D).collect() })
        }
        TextForm::Prompt => {
            let first = sample.target_spans.first().ok_or_else(|| error("no target span, so no end of the prompt"))?;
            let ids = &sample.ids[..first.0 as usize];
            Ok(Text { ids, targets: vec![false; ids.len()] })
        }
    }
}

fn question_of(sample: &SampleRow, form: QuestionForm) -> Result<&[i32], FeedError> {
    match form {
        QuestionForm::Llm => Ok(&sample.question_ids_llm),
        QuestionForm::Bert => sample.question_ids_bert.as_deref().ok_or_else(|| FeedError::Sample {
            sample: sample.sample_id,
            problem: "no question in a text encoder's tokens; prepare with text.question_tokenizer".into(),
        }),
    }
}

/// The volumes that a text shows; those that its form leaves out are the last ones.
fn volumes_of<'a>(sample: &'a SampleRow, ids: &[i32]) -> Result<&'a [Id], FeedError> {
    let shown = ids.iter().filter(|id| **id == IMAGE3D).count();
    sample.volume_ids.get(..shown).ok_or_else(|| FeedError::Sample {
        sample: sample.sample_id,
        problem: format!("its ids show {shown} volumes, it names {}", sample.volume_ids.len()),
    })
}
