//! A checkpoint that is ready to answer: volumes and prompts in, texts and slice scores out.

use std::ops::Range;
use std::path::{Path, PathBuf};

use med2e3_feed::QuestionForm;
use med2e3_input::inputs::deep_pictures_word;
use med2e3_input::text::{LengthBudget, QuestionTokenizer, Template, Tokenizer, Turn};
use med2e3_input::volume::DeepPictures;
use med2e3_schemas::inputs::{Inputs, VolumeInputs, VolumeRecipe};
use med2e3_schemas::sample::{IGNORED, SampleRow, Task};
use med2e3_schemas::volume::{VoxelCode, VoxelFormat};
use med2e3_shards::Dataset;
use serde::Serialize;
use tch::{Device, Kind, Tensor};

use crate::TrainerError;
use crate::config::OtherInputs;
use crate::device::DeviceChoice;
use crate::files::checkpoint::Checkpoint;
use crate::fit::{self, Learned};
use crate::generate::letters::{LetterTokens, likeliest_letter};
use crate::generate::{Decoding, Generated, Step, Until, generate, generate_aloud};
use crate::model::splice::VOLUME_ID;
use crate::model::{LanguageModelConfig, Med2e3, ModelInput, TargetWeights, TextInput};

/// A checkpoint's model on its device, with its tokenizers.
pub struct Answerer {
    model: Med2e3,
    device: Device,
    tokenizer: Tokenizer,
    tokenizer_file: PathBuf,
    /// The checkpoint's folder.
    folder: PathBuf,
    /// See [`Checkpoint::identity`].
    identity: String,
    /// How its inputs were made, where it states it.
    inputs: Option<Inputs>,
    template: Template,
    /// The text encoder's, where questions go through one and the checkpoint holds it.
    question_tokenizer: Option<QuestionTokenizer>,
    /// The end token of the tokenizer and of the texts that the checkpoint learned from, and those that the language model was
    /// published with.
    stop_ids: Vec<i64>,
}

/// The released code's, in which a checkpoint is asked that does not state its own.
const UNSTATED_TEMPLATE: Template = Template::Phi;

/// One row of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prompt {
    /// Ids of the language model's tokenizer, up to where the answer begins; each [`VOLUME_ID`] takes the next volume of the
    /// batch.
    pub ids: Vec<i64>,
    /// The bare question in the ids that the slice scorer reads, see [`Answerer::question_form`].
    pub question_ids: Vec<i64>,
    /// What is drawn for the row comes from this.
    pub key: u64,
}

impl Prompt {
    /// Its text, which shows these volumes of a batch.
    fn text_about(&self, volumes: Range<usize>) -> TextInput {
        TextInput {
            ids: self.ids.clone(),
            labels: Vec::new(),
            volumes: volumes.collect(),
            question_ids: self.question_ids.clone(),
            key: self.key,
            scores: Vec::new(),
        }
    }
}

/// The answer to a prompt.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Reply {
    /// The text, without the end token.
    pub answer: String,
    /// How much each slice of the prompt's first volume counted, between 0 and 1; empty for a prompt without a volume, and
    /// where the model makes no 2D tokens.
    pub scores: Vec<f32>,
    /// Whether it was ended by the most tokens that were allowed, not by an end token.
    pub is_cut: bool,
    /// The answer's tokens.
    #[serde(skip)]
    pub ids: Vec<i64>,
    /// The place of the offered letter that was the most likely first token, where letters are offered.
    #[serde(skip)]
    pub likeliest: Option<usize>,
}

/// What is known of an answer before it is whole.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// How much each slice counts; before the first token.
    Scores(Vec<f32>),
    /// The text so far.
    Text(String),
}

impl Answerer {
    /// Opens a run's folder (its last checkpoint) or one checkpoint's folder. `threads` is as for [`DeviceChoice::open`].
    ///
    /// # Errors
    /// A checkpoint or device that can't be opened, a checkpoint without the language model's tokenizer, a model without
    /// any token that ends an answer.
    pub fn open(checkpoint: &Path, device: DeviceChoice, threads: usize) -> Result<Answerer, TrainerError> {
        let device = device.open(threads)?;
        let checkpoint = Checkpoint::open(checkpoint)?;
        let tokenizer_file = checkpoint.tokenizer()?;
        let tokenizer = Tokenizer::load(&tokenizer_file)?;
        let inputs = checkpoint.inputs()?;
        let text = inputs.as_ref().and_then(|inputs| inputs.text.as_ref());
        let template = text.map_or(Ok(UNSTATED_TEMPLATE), |text| Template::of_word(&text.template))?;
        let model = checkpoint.model(device)?;
        let stop_ids = stop_ids(&model.config().llm, text.and_then(|text| text.end_token), &tokenizer);
        if stop_ids.is_empty() {
            let (expected, found) = ("an end token, or one in the language model's special_ids".into(), "none".into());
            return Err(TrainerError::File { path: tokenizer_file, expected, found });
        }
        let question_file = checkpoint.tokenizers().text.filter(|_| model.reads_questions_as_text());
        let question_tokenizer = question_file.map(|file| QuestionTokenizer::load(&file)).transpose()?;
        let (folder, identity) = (checkpoint.folder().to_owned(), checkpoint.identity()?);
        Ok(Answerer {
            identity,
            model,
            device,
            tokenizer,
            tokenizer_file,
            folder,
            inputs,
            template,
            question_tokenizer,
            stop_ids,
        })
    }

    /// What tells its checkpoint from any other.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// The shape of the volumes that the model takes, D H W.
    pub fn shape_dhw(&self) -> [usize; 3] {
        self.model.config().vision3d.img_size.map(|n| n as usize)
    }

    /// Its model.
    pub(crate) fn model(&self) -> &Med2e3 {
        &self.model
    }

    /// A sample's prompt with an answer behind it, whose tokens are the targets; its volumes are the first ones of a batch.
    pub(crate) fn text_of(&self, sample: &SampleRow, prompt: &[i32], answer: &[i64]) -> TextInput {
        let wide = |ids: &[i32]| ids.iter().map(|id| i64::from(*id)).collect::<Vec<i64>>();
        let question = match self.question_form() {
            QuestionForm::Llm => &sample.question_ids_llm,
            QuestionForm::Bert => sample.question_ids_bert.as_ref().unwrap_or(&sample.question_ids_llm),
        };
        let mut ids = wide(prompt);
        let mut labels = vec![IGNORED; ids.len()];
        ids.extend(answer);
        labels.extend(answer);
        let shown = ids.iter().filter(|id| **id == VOLUME_ID).count();
        TextInput {
            ids,
            labels,
            volumes: (0..shown).collect(),
            question_ids: wide(question),
            key: 0,
            scores: Vec::new(),
        }
    }

    /// The device that volumes go to.
    pub fn device(&self) -> Device {
        self.device
    }

    /// The language model's tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Whether every row's prompt leaves room for an answer within the language model's positions.
    ///
    /// # Errors
    /// Some do not: their number.
    pub fn check_room(&self, rows: &[SampleRow], max_new_tokens: usize) -> Result<(), TrainerError> {
        let config = self.model.config();
        let (most, visual) = (config.llm.max_position_embeddings, config.visual_token_count() as usize);
        let positions = |row: &SampleRow| -> usize {
            let end = row.target_spans.first().map_or(row.ids.len(), |span| span.0 as usize);
            row.ids.iter().take(end).map(|id| if i64::from(*id) == VOLUME_ID { visual } else { 1 }).sum()
        };
        let largest = |row: &SampleRow| row.ids.iter().chain(&row.question_ids_llm).copied().max().unwrap_or(0);
        let (largest, vocabulary) = (rows.iter().map(largest).max().unwrap_or(0), config.llm.vocab_size);
        let expected = format!("ids below {vocabulary}, as the model's vocabulary has");
        fit::expect("dataset", i64::from(largest) < vocabulary, expected, largest.to_string())?;
        let positions: Vec<usize> = rows.iter().map(positions).collect();
        let longest = positions.iter().max().copied().unwrap_or(0);
        let without = positions.iter().filter(|positions| positions.saturating_add(max_new_tokens) > most).count();
        fit::expect(
            "max_new_tokens",
            without == 0,
            format!("prompts of up to {longest} positions and their answers within the model's {most}"),
            format!("{max_new_tokens}, with which {without} of {} rows take more", rows.len()),
        )
    }

    /// Whether a reply has slice scores.
    pub fn scores_slices(&self) -> bool {
        self.model.encoder2d().is_some()
    }

    /// How many slices share a layer of 3D tokens, where the model has both.
    pub(crate) fn slices_of_a_layer(&self) -> Option<usize> {
        let config = self.model.config();
        self.model.encoder3d().filter(|_| self.scores_slices())?;
        Some((config.slice_count() / config.pooled_grid()[0]) as usize)
    }

    /// Whether slices count by scores, so that other scores give another answer.
    pub fn weighs_slices(&self) -> bool {
        self.scores_slices() && self.model.config().variant.uses_scores()
    }

    /// The tokens in which the slice scorer reads a question.
    pub fn question_form(&self) -> QuestionForm {
        fit::question_form(self.model.config())
    }

    /// Whether the checkpoint was made for this dataset.
    ///
    /// # Errors
    /// Sizes or vocabulary differ; or inputs are made in another way, and `other` does not accept that.
    pub fn check_fit(&self, dataset: &Dataset, other: OtherInputs) -> Result<(), TrainerError> {
        fit::check(self.model.config(), dataset)?;
        let tokenizer = Some(self.tokenizer_file.as_path());
        fit::check_inputs(
            &Learned { checkpoint: &self.folder, tokenizer, inputs: self.inputs.as_ref() },
            dataset,
            other,
        )
    }

    /// How a volume is made into voxels: as those that the checkpoint learned from; where it does not state it, by recipe
    /// `m3d` without rounding.
    pub fn volume_inputs(&self) -> VolumeInputs {
        let shape_dhw = self.shape_dhw();
        match &self.inputs {
            Some(Inputs { volume, .. }) => {
                VolumeInputs { voxels: VoxelFormat { shape_dhw, ..volume.voxels }, ..volume.clone() }
            }
            None => VolumeInputs {
                recipe: VolumeRecipe::M3d,
                voxels: VoxelFormat::unit_range(shape_dhw, VoxelCode::F32),
                deep_pictures: deep_pictures_word(DeepPictures::default()).into(),
            },
        }
    }

    /// What a person should know who asks a checkpoint that does not state how its inputs were made.
    pub fn note(&self) -> Option<String> {
        let template = UNSTATED_TEMPLATE.as_str();
        self.inputs.is_none().then(|| {
            format!(
                "the checkpoint {} does not state how its inputs were made; the volume is prepared as recipe m3d has it, \
                 the question laid out as template {template} has it",
                self.folder.display()
            )
        })
    }

    /// The prompt of a question about one volume, laid out as the texts that the checkpoint learned from.
    ///
    /// # Errors
    /// A question that is too long, or a checkpoint without the text encoder's tokenizer where questions go through it.
    pub fn prompt(&self, question: &str) -> Result<Prompt, TrainerError> {
        // Some templates lay out the instruction of a caption in another way.
        let text = self.inputs.as_ref().and_then(|inputs| inputs.text.as_ref());
        let is_caption = text.is_some_and(|text| text.caption_prompts.iter().any(|prompt| prompt == question.trim()));
        self.prompt_of(if is_caption { Task::Caption } else { Task::OpenVqa }, question)
    }

    /// The same of a question whose task is known.
    ///
    /// # Errors
    /// As [`Answerer::prompt`].
    pub fn prompt_of(&self, task: Task, question: &str) -> Result<Prompt, TrainerError> {
        let config = self.model.config();
        let budget = LengthBudget {
            total: config.llm.max_position_embeddings,
            visual_tokens: config.visual_token_count() as usize,
            keep_end: false,
        };
        let turn = Turn { question: self.template.with_image(task, question), answer: None };
        let encoded = self.template.encode(&self.tokenizer, &[turn], &budget)?;
        let wide = |ids: Vec<i32>| ids.into_iter().map(i64::from).collect();
        Ok(Prompt { ids: wide(encoded.ids), question_ids: wide(self.question_ids(question)?), key: 0 })
    }

    /// The first token of a stated answer to a question about one volume; `None` where they can't be laid out.
    pub(crate) fn first_token(&self, task: Task, question: &str, answer: &str) -> Option<i64> {
        let budget = LengthBudget { total: usize::MAX, visual_tokens: 0, keep_end: false };
        let turn = Turn { question: self.template.with_image(task, question), answer: Some(answer.into()) };
        let encoded = self.template.encode(&self.tokenizer, &[turn], &budget).ok()?;
        let start = encoded.target_spans.first()?.0 as usize;
        encoded.ids.get(start).map(|id| i64::from(*id))
    }

    fn question_ids(&self, question: &str) -> Result<Vec<i32>, TrainerError> {
        if !self.model.reads_questions_as_text() {
            return Ok(self.tokenizer.encode(question)?);
        }
        let tokenizer = self.question_tokenizer.as_ref().ok_or_else(|| TrainerError::File {
            path: self.tokenizer_file.with_file_name("text_tokenizer.json"),
            expected: "the text encoder's tokenizer, as import --text-tokenizer copies it".into(),
            found: "nothing".into(),
        })?;
        Ok(tokenizer.encode(question)?)
    }

    /// Answers a batch of prompts. `voxels_bcdhw` are all volumes that the prompts name, in order of appearance: (volumes, 1,
    /// D, H, W), values in 0..1, on any device. Blocks until all rows have ended or have `max_new_tokens` tokens.
    ///
    /// # Errors
    /// As [`generate`].
    pub fn answer(
        &self,
        voxels_bcdhw: &Tensor,
        prompts: &[Prompt],
        decoding: Decoding,
        max_new_tokens: usize,
    ) -> Result<Vec<Reply>, TrainerError> {
        let mut volumes = 0;
        let text = |prompt: &Prompt| {
            let first = volumes;
            volumes += prompt.ids.iter().filter(|id| **id == VOLUME_ID).count();
            prompt.text_about(first..volumes)
        };
        self.answer_batch(voxels_bcdhw, prompts.iter().map(text).collect(), &[], decoding, max_new_tokens)
    }

    /// Answers one prompt about one volume; `hear` is told the scores first, then the answer so far after each token, and ends it where it
    /// returns false.
    ///
    /// # Errors
    /// As [`generate`].
    pub fn answer_aloud(
        &self,
        voxels_bcdhw: &Tensor,
        prompt: &Prompt,
        decoding: Decoding,
        max_new_tokens: usize,
        mut hear: impl FnMut(Heard) -> bool,
    ) -> Result<Reply, TrainerError> {
        let text = prompt.text_about(0..1);
        let voxels_vcdhw = voxels_bcdhw.to_device(self.device);
        let input = ModelInput { voxels_vcdhw, texts: vec![text], weights: TargetWeights::Mean };
        let until = Until { max_new_tokens, stop_ids: self.stop_ids.clone() };
        let mut hear_step = |step: Step<'_>| match step {
            Step::Scores(scores_mn) => hear(Heard::Scores(flat(&scores_mn.get(0)))),
            // A character of several tokens may be there in part.
            Step::Rows(rows) => decoded(&self.tokenizer, &rows[0]).is_ok_and(|text| hear(Heard::Text(text))),
        };
        let generated = generate_aloud(&self.model, &input, decoding, &until, &mut hear_step)?;
        let replies = read_replies(generated, &self.tokenizer, &input, &[], &until)?;
        Ok(replies.into_iter().next().expect("one prompt has one reply"))
    }

    /// As [`Answerer::answer`] for texts that state which volumes they show: (volumes, 1, D, H, W), each once; `letters` are the tokens of
    /// each text's offered letters, as far as any are.
    ///
    /// # Errors
    /// As [`generate`].
    pub fn answer_batch(
        &self,
        voxels_vcdhw: &Tensor,
        texts: Vec<TextInput>,
        letters: &[LetterTokens],
        decoding: Decoding,
        max_new_tokens: usize,
    ) -> Result<Vec<Reply>, TrainerError> {
        let (voxels_vcdhw, weights) = (voxels_vcdhw.to_device(self.device), TargetWeights::Mean);
        let input = ModelInput { voxels_vcdhw, texts, weights };
        let until = Until { max_new_tokens, stop_ids: self.stop_ids.clone() };
        replies(&self.model, &self.tokenizer, &input, letters, decoding, &until)
    }
}

/// The text of ids.
fn decoded(tokenizer: &Tokenizer, ids: &[i64]) -> Result<String, TrainerError> {
    let narrow: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
    Ok(tokenizer.decode(&narrow)?.trim().to_owned())
}

/// The numbers of a flat tensor.
fn flat(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.to_device(Device::Cpu).to_kind(Kind::Float)).expect("a flat f32 tensor on the CPU")
}

/// The tokens that end an answer, sorted: the stated one, the tokenizer's, and those that the language model was published with.
pub(crate) fn stop_ids(llm: &LanguageModelConfig, stated: Option<i32>, tokenizer: &Tokenizer) -> Vec<i64> {
    let mut ids = llm.special_ids.end.clone();
    ids.extend(stated.into_iter().chain(tokenizer.end_token().map(|end| end.id)).map(i64::from));
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// Answers the texts of an input, in their order; `letters` as in [`Answerer::answer_batch`]. Blocks until all have ended.
///
/// # Errors
/// As [`generate`].
pub(crate) fn replies(
    model: &Med2e3,
    tokenizer: &Tokenizer,
    input: &ModelInput,
    letters: &[LetterTokens],
    decoding: Decoding,
    until: &Until,
) -> Result<Vec<Reply>, TrainerError> {
    read_replies(generate(model, input, decoding, until)?, tokenizer, input, letters, until)
}

/// Ids as texts.
fn read_replies(
    generated: Generated,
    tokenizer: &Tokenizer,
    input: &ModelInput,
    letters: &[LetterTokens],
    until: &Until,
) -> Result<Vec<Reply>, TrainerError> {
    let scores_mn = generated.scores_mn.to_device(Device::Cpu).to_kind(Kind::Float);
    let first_bv = generated.first_bv.filter(|_| !letters.is_empty()).map(|first_bv| first_bv.to_device(Device::Cpu));
    let (mut mention, mut replies) = (0, Vec::with_capacity(input.texts.len()));
    for (row, (text, ids)) in input.texts.iter().zip(generated.ids).enumerate() {
        let answer = decoded(tokenizer, &ids)?;
        let scores = if text.volumes.is_empty() { Vec::new() } else { flat(&scores_mn.get(mention)) };
        // The token that ends an answer is none of its ids.
        let is_cut = ids.len() >= until.max_new_tokens;
        let likeliest = letters.get(row).zip(first_bv.as_ref());
        let likeliest = likeliest.and_then(|(tokens, first_bv)| likeliest_letter(&first_bv.get(row as i64), tokens));
        replies.push(Reply { answer, scores, is_cut, ids, likeliest });
        mention += text.volumes.len() as i64;
    }
    Ok(replies)
}
