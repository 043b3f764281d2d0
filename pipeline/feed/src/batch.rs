//! One batch in host memory: voxel codes of distinct volumes, token ids and labels of the texts that show them.

use med2e3_schemas::Id;
use med2e3_schemas::sample::{IGNORED, IMAGE3D};
use med2e3_shards::{Dataset, Samples, ShardError, Text};
use serde::{Deserialize, Serialize};

use crate::block::{Block, Cell};
use crate::step_plan::PlannedText;
use crate::{BadSample, FeedError};

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

/// Texts and the distinct volumes that they show, as arrays that stay where they are when the batch is filled again.
#[derive(Debug, Default)]
pub struct HostBatch {
    /// Voxel codes, one cell for each of [`HostBatch::volume_ids`], in their order.
    pub voxels: Block<u8>,
    /// The volumes, each once, in the order of their first appearance.
    pub volume_ids: Vec<Id>,
    /// The texts' keys.
    pub sample_ids: Vec<Id>,
    /// Token ids, (texts, [`HostBatch::width`]), padded with 0; [`IMAGE3D`] marks a volume.
    pub ids: Block<i64>,
    /// In the same shape the id itself where it is a target, else [`IGNORED`].
    pub labels: Block<i64>,
    /// Ids of each text.
    pub lengths: Block<i64>,
    /// For each [`IMAGE3D`] of a text, in order, its volume's place in the batch, (texts, [`HostBatch::shown`]), padded with -1.
    pub volume_of: Block<i64>,
    /// The questions' ids for the slice scorer, (texts, [`HostBatch::question_width`]), padded with 0.
    pub questions: Block<i64>,
    /// Ids of each question.
    pub question_lengths: Block<i64>,
    /// What each target of a text counts in the step's loss.
    pub weights: Block<f32>,
    /// Ids of the longest text.
    pub width: usize,
    /// Volumes of the text that shows most.
    pub shown: usize,
    /// Ids of the longest question.
    pub question_width: usize,
    /// What was planned for the batch and is not in it; its targets count 0.
    pub bad: Vec<BadSample>,
    /// The batch's place in its step.
    pub share: StepShare,
    /// The feed's position after the step that the batch belongs to, in samples since the run began.
    pub position: u64,
    /// What it is made of.
    planned: Vec<PlannedText>,
}

/// One text of a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HostText<'a> {
    /// The sample's position in the selection.
    pub sample: u32,
    /// Its key.
    pub sample_id: Id,
    /// Token ids; [`IMAGE3D`] marks a volume.
    pub ids: &'a [i64],
    /// As long as the ids: the id itself where it is a target, else [`IGNORED`].
    pub labels: &'a [i64],
    volume_of: &'a [i64],
    /// The question's ids for the slice scorer.
    pub question_ids: &'a [i64],
    /// What each target counts in the step's loss.
    pub target_weight: f32,
}

impl HostText<'_> {
    /// For each [`IMAGE3D`], in order, its volume's place in the batch.
    pub fn volumes(&self) -> impl ExactSizeIterator<Item = usize> {
        self.volume_of.iter().map(|place| *place as usize)
    }
}

/// The most that a batch may have to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Texts.
    pub texts: usize,
    /// Ids of a text.
    pub ids: usize,
    /// Ids of a question.
    pub question_ids: usize,
    /// Volumes that a text shows.
    pub shown: usize,
    /// Distinct volumes.
    pub volumes: usize,
    /// Bytes of a volume.
    pub cell_bytes: usize,
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
    /// An empty batch whose arrays need no other address for what fits the room.
    pub fn with_room(room: &Room) -> HostBatch {
        let Room { texts, ids, question_ids, shown, volumes, cell_bytes } = *room;
        let of = |count: usize| Block::with_room(texts.saturating_mul(count));
        HostBatch {
            voxels: Block::with_room(volumes.saturating_mul(cell_bytes)),
            volume_ids: Vec::with_capacity(volumes),
            sample_ids: Vec::with_capacity(texts),
            ids: of(ids),
            labels: of(ids),
            lengths: of(1),
            volume_of: of(shown),
            questions: of(question_ids),
            question_lengths: of(1),
            weights: Block::with_room(texts),
            planned: Vec::with_capacity(texts),
            ..HostBatch::default()
        }
    }

    /// Where the memory of its arrays begins, and its bytes.
    pub fn memory(&self) -> impl Iterator<Item = (usize, usize)> {
        let [ids, labels, lengths, volume_of, questions, question_lengths] =
            [&self.ids, &self.labels, &self.lengths, &self.volume_of, &self.questions, &self.question_lengths]
                .map(Block::memory);
        let weights = self.weights.memory();
        let all = [self.voxels.memory(), ids, labels, lengths, volume_of, questions, question_lengths, weights];
        all.into_iter().flatten()
    }

    /// How many texts it has.
    pub fn len(&self) -> usize {
        self.planned.len()
    }

    /// Whether it has no text.
    pub fn is_empty(&self) -> bool {
        self.planned.is_empty()
    }

    /// The texts in order.
    pub fn texts(&self) -> impl ExactSizeIterator<Item = HostText<'_>> {
        (0..self.len()).map(|row| self.text(row))
    }

    /// The text at a row.
    ///
    /// # Panics
    /// A row that is not there.
    pub fn text(&self, row: usize) -> HostText<'_> {
        let PlannedText { position, target_weight } = self.planned[row];
        let (width, length) = (self.width, self.lengths[row] as usize);
        let volume_of = &self.volume_of[row * self.shown..][..self.shown];
        let count = volume_of.iter().position(|place| *place < 0).unwrap_or(self.shown);
        HostText {
            sample: position,
            sample_id: self.sample_ids[row],
            ids: &self.ids[row * width..][..length],
            labels: &self.labels[row * width..][..length],
            volume_of: &volume_of[..count],
            question_ids: &self.questions[row * self.question_width..][..self.question_lengths[row] as usize],
            target_weight,
        }
    }

    /// Lays out planned samples: everything but the voxels, for which there is room of so many bytes each.
    ///
    /// # Errors
    /// A sample that has no such form.
    pub fn lay_out(
        &mut self,
        samples: &Samples,
        planned: &[PlannedText],
        TextLayout { form, question }: TextLayout,
        cell_bytes: usize,
    ) -> Result<(), FeedError> {
        self.clear();
        for planned in planned {
            let sample = samples.text(planned.position as usize)?;
            let text = text_of(&sample, form)?;
            self.width = self.width.max(text.ids.len());
            self.shown = self.shown.max(volumes_of(&sample, text.ids)?.len());
            self.question_width = self.question_width.max(question_of(&sample, question)?.len());
        }
        let count = planned.len();
        self.ids.fit(count * self.width).fill(0);
        self.labels.fit(count * self.width).fill(IGNORED);
        self.volume_of.fit(count * self.shown).fill(-1);
        self.questions.fit(count * self.question_width).fill(0);
        let (lengths, question_lengths) = (self.lengths.fit(count), self.question_lengths.fit(count));
        let weights = self.weights.fit(count);
        for (row, planned) in planned.iter().enumerate() {
            let sample = samples.text(planned.position as usize)?;
            let text = text_of(&sample, form)?;
            weights[row] = planned.target_weight;
            self.sample_ids.push(sample.sample_id);
            lengths[row] = text.ids.len() as i64;
            put(&mut self.ids[row * self.width..], text.ids);
            let labels = &mut self.labels[row * self.width..];
            for (start, end) in text.targets() {
                put(&mut labels[start..end], &text.ids[start..end]);
            }
            for (place, id) in self.volume_of[row * self.shown..].iter_mut().zip(volumes_of(&sample, text.ids)?) {
                *place = place_of(&mut self.volume_ids, id) as i64;
            }
            let question = question_of(&sample, question)?;
            question_lengths[row] = question.len() as i64;
            put(&mut self.questions[row * self.question_width..], question);
        }
        self.planned.extend_from_slice(planned);
        self.voxels.fit(cell_bytes * self.volume_ids.len());
        Ok(())
    }

    /// Each volume and its part of the voxels, which one thread may fill.
    pub fn cells(&mut self, cell_bytes: usize) -> impl Iterator<Item = (Id, Cell<u8>)> {
        let cells = self.voxels.cells(cell_bytes);
        self.volume_ids.iter().copied().zip(cells)
    }

    /// Lays out planned samples and reads their volumes, one after the other.
    ///
    /// # Errors
    /// A sample that has no such form, or whose volume can't be read.
    pub fn fill(
        &mut self,
        dataset: &Dataset,
        samples: &Samples,
        planned: &[PlannedText],
        layout: TextLayout,
    ) -> Result<(), FeedError> {
        let cell = dataset.voxels().cell_bytes();
        self.lay_out(samples, planned, layout, cell)?;
        for (id, cell) in self.volume_ids.iter().zip(self.voxels.chunks_exact_mut(cell)) {
            dataset.read_cell(*id, cell)?;
        }
        Ok(())
    }

    /// Reads the volumes of a batch that is laid out again, without the samples of which a volume does not read as it was
    /// written: they are in [`HostBatch::bad`].
    ///
    /// # Errors
    /// As [`HostBatch::fill`], but for such volumes.
    pub fn fill_without_bad(
        &mut self,
        dataset: &Dataset,
        samples: &Samples,
        layout: TextLayout,
    ) -> Result<(), FeedError> {
        let (mut left, mut bad) = (self.planned.clone(), Vec::new());
        loop {
            // Each time with fewer texts: those that show the volume that was met.
            match self.fill(dataset, samples, &left, layout) {
                Err(FeedError::Shard(ShardError::Cell { path, row, volume, problem })) => {
                    let place = self.volume_ids.iter().position(|id| *id == volume);
                    let shows = |text: &HostText<'_>| place.is_some_and(|place| text.volumes().any(|at| at == place));
                    bad.extend(self.texts().filter(shows).map(|text| BadSample {
                        sample: text.sample_id,
                        volume,
                        shard: path.clone(),
                        row,
                        reason: problem.clone(),
                    }));
                    let mut texts = self.texts();
                    left.retain(|_| !texts.next().is_some_and(|text| shows(&text)));
                }
                done => {
                    self.bad = bad;
                    return done;
                }
            }
        }
    }

    /// As it was filled last, of the same samples.
    ///
    /// # Errors
    /// As [`HostBatch::fill`].
    pub fn fill_again(&mut self, dataset: &Dataset, samples: &Samples, layout: TextLayout) -> Result<(), FeedError> {
        let planned = std::mem::take(&mut self.planned);
        self.fill(dataset, samples, &planned, layout)
    }

    /// Takes out all texts and volumes.
    pub fn clear(&mut self) {
        self.volume_ids.clear();
        self.sample_ids.clear();
        self.planned.clear();
        self.bad.clear();
        (self.width, self.shown, self.question_width) = (0, 0, 0);
    }
}

/// In which form texts and questions are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextLayout {
    /// Form of the text.
    pub form: TextForm,
    /// Tokens of the question.
    pub question: QuestionForm,
}

/// The volume's place in the list, at whose end it is put where it is not there yet.
fn place_of(volumes: &mut Vec<Id>, id: Id) -> usize {
    volumes.iter().position(|known| *known == id).unwrap_or_else(|| {
        volumes.push(id);
        volumes.len() - 1
    })
}

fn put(row: &mut [i64], ids: &[i32]) {
    row.iter_mut().zip(ids).for_each(|(place, id)| *place = i64::from(*id));
}

struct Form<'a> {
    ids: &'a [i32],
    form: TextForm,
    // The sample's, which are those of its conversation.
    target_spans: &'a [[u32; 2]],
}

impl Form<'_> {
    /// Stretches of ids that are targets.
    fn targets(&self) -> impl Iterator<Item = (usize, usize)> {
        let spans = if self.form == TextForm::Conversation { self.target_spans } else { &[] };
        let captions = if self.form == TextForm::Pretrain { self.ids } else { &[] };
        let all_but_marks = captions.iter().enumerate().filter(|(_, id)| **id != IMAGE3D);
        let spans = spans.iter().map(|&[start, end]| (start as usize, end as usize));
        spans.chain(all_but_marks.map(|(at, _)| (at, at + 1)))
    }
}

fn text_of<'a>(sample: &Text<'a>, form: TextForm) -> Result<Form<'a>, FeedError> {
    let error = |problem: &str| FeedError::Sample { sample: sample.sample_id, problem: problem.to_owned() };
    let (end, target_spans) = (sample.ids.len() as u32, sample.target_spans);
    if target_spans.iter().any(|&[start, stop]| start > stop || stop > end) {
        return Err(error("a target span is outside the ids"));
    }
    let ids = match form {
        TextForm::Conversation => sample.ids,
        TextForm::Pretrain => sample.pretrain_ids.ok_or_else(|| error("only captions have a pretrain form"))?,
        TextForm::Prompt => {
            let first = target_spans.first().ok_or_else(|| error("no target span, so no end of the prompt"))?;
            &sample.ids[..first[0] as usize]
        }
    };
    Ok(Form { ids, form, target_spans })
}

fn question_of<'a>(sample: &Text<'a>, form: QuestionForm) -> Result<&'a [i32], FeedError> {
    match form {
        QuestionForm::Llm => Ok(sample.question_ids_llm),
        QuestionForm::Bert => sample.question_ids_bert.ok_or_else(|| FeedError::Sample {
            sample: sample.sample_id,
            problem: "no question in a text encoder's tokens; prepare with text.question_tokenizer".into(),
        }),
    }
}

/// The volumes that a text shows; those that its form leaves out are the last ones.
fn volumes_of<'a>(sample: &Text<'a>, ids: &[i32]) -> Result<impl ExactSizeIterator<Item = Id> + use<'a>, FeedError> {
    let shown = ids.iter().filter(|id| **id == IMAGE3D).count();
    let named = sample.volume_ids.len();
    if shown > named {
        let problem = format!("its ids show {shown} volumes, it names {named}");
        return Err(FeedError::Sample { sample: sample.sample_id, problem });
    }
    Ok(sample.volume_ids.iter().take(shown))
}
