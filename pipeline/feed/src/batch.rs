//! One batch in host memory: voxel codes of distinct volumes, token ids and labels of the texts that show them.

use med2e3_schemas::Id;
use med2e3_schemas::sample::{IGNORED, IMAGE3D, SampleRow};
use med2e3_shards::{Dataset, ShardError, Watch};
use serde::{Deserialize, Serialize};

use crate::step_plan::PlannedText;
use crate::{BadSample, FeedError, Spent};

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

/// Texts and the distinct volumes that they show. Voxels keep their buffer when the batch is filled again.
#[derive(Debug, Default)]
pub struct HostBatch {
    /// Voxel codes, one cell for each of `volume_ids`.
    pub voxels: Vec<u8>,
    /// The volumes, each once, in the order of their first appearance.
    pub volume_ids: Vec<Id>,
    /// The texts.
    pub texts: Vec<HostText>,
    /// What was planned for the batch and is not in it; its targets count 0.
    pub bad: Vec<BadSample>,
    /// The batch's place in its step.
    pub share: StepShare,
    /// The feed's position after the step that the batch belongs to, in samples since the run began.
    pub position: u64,
    /// What filling it took.
    pub spent: Spent,
}

/// One text of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct HostText {
    /// The sample's position in the selection.
    pub sample: u32,
    /// Its key.
    pub sample_id: Id,
    /// Token ids; [`IMAGE3D`] marks a volume.
    pub ids: Vec<i64>,
    /// As long as the ids: the id itself where it is a target, else [`IGNORED`].
    pub labels: Vec<i64>,
    /// For each [`IMAGE3D`], in order, its volume's place in the batch.
    pub volumes: Vec<usize>,
    /// The question's ids for the slice scorer.
    pub question_ids: Vec<i64>,
    /// What each target counts in the step's loss.
    pub target_weight: f32,
}

/// The place of a batch in its step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StepShare {
    /// Number in the step, from 0.
    pub micro_batch: usize,
    /// Micro-batches of the step.
    pub micro_batches: usize,
    /// Targets of the whole step.
    pub targets: usize,
    /// Loss groups of the step without a target, by their place in it; they count 0.
    pub targetless_groups: Vec<usize>,
}

impl StepShare {
    /// Whether no more of the step comes.
    pub fn ends_step(&self) -> bool {
        self.micro_batch + 1 >= self.micro_batches
    }
}

impl HostBatch {
    /// Fills texts and volumes with planned samples of `rows`.
    ///
    /// # Errors
    /// A sample that has no such form, or whose volume can't be read.
    pub fn fill(
        &mut self,
        dataset: &Dataset,
        rows: &[SampleRow],
        planned: &[PlannedText],
        form: TextForm,
        question: QuestionForm,
    ) -> Result<(), FeedError> {
        let (start, mut spent) = (Watch::start(), Spent::default());
        self.volume_ids.clear();
        self.texts.clear();
        self.bad.clear();
        for planned in planned {
            let sample = &rows[planned.position as usize];
            let text = text_of(sample, form)?;
            let shown = volumes_of(sample, text.ids)?;
            let labels = text.targets.iter().zip(text.ids);
            self.texts.push(HostText {
                sample: planned.position,
                sample_id: sample.sample_id,
                ids: wide(text.ids),
                labels: labels.map(|(&is_target, &id)| if is_target { i64::from(id) } else { IGNORED }).collect(),
                volumes: shown.iter().map(|id| place_of(&mut self.volume_ids, *id)).collect(),
                question_ids: wide(question_of(sample, question)?),
                target_weight: planned.target_weight,
            });
        }
        let cell = dataset.voxels().cell_bytes();
        self.voxels.resize(cell * self.volume_ids.len(), 0);
        for (id, cell) in self.volume_ids.iter().zip(self.voxels.chunks_exact_mut(cell)) {
            spent += dataset.read_cell(*id, cell)?.into();
        }
        let collate = start.elapsed().saturating_sub(spent.read + spent.hash + spent.decode);
        self.spent = Spent { collate, ..spent };
        Ok(())
    }

    /// As [`HostBatch::fill`], without the samples of which a volume does not read as it was written: they are in
    /// [`HostBatch::bad`].
    ///
    /// # Errors
    /// As [`HostBatch::fill`], but for such volumes.
    pub fn fill_without_bad(
        &mut self,
        dataset: &Dataset,
        rows: &[SampleRow],
        planned: &[PlannedText],
        form: TextForm,
        question: QuestionForm,
    ) -> Result<(), FeedError> {
        let (mut left, mut bad) = (planned.to_vec(), Vec::new());
        loop {
            // Each time with fewer texts: those that show the volume that was met.
            match self.fill(dataset, rows, &left, form, question) {
                Err(FeedError::Shard(ShardError::Cell { path, row, volume, problem })) => {
                    let place = self.volume_ids.iter().position(|id| *id == volume);
                    let shows = |text: &HostText| place.is_some_and(|place| text.volumes.contains(&place));
                    bad.extend(self.texts.iter().filter(|text| shows(text)).map(|text| BadSample {
                        sample: text.sample_id,
                        volume,
                        shard: path.clone(),
                        row,
                        reason: problem.clone(),
                    }));
                    let mut texts = self.texts.iter();
                    left.retain(|_| !texts.next().is_some_and(shows));
                }
                done => {
                    self.bad = bad;
                    return done;
                }
            }
        }
    }
}

/// The volume's place in the list, at whose end it is put where it is not there yet.
fn place_of(volumes: &mut Vec<Id>, id: Id) -> usize {
    volumes.iter().position(|known| *known == id).unwrap_or_else(|| {
        volumes.push(id);
        volumes.len() - 1
    })
}

fn wide(ids: &[i32]) -> Vec<i64> {
    ids.iter().map(|&id| i64::from(id)).collect()
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
