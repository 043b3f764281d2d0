//! Answers of a checkpoint to a dataset's samples: text, slice scores and metrics by sample.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use med2e3_feed::order::Order;
use med2e3_feed::{Dataset, Feed, FeedCursor, FeedPlan, Samples, TextForm};
use med2e3_input::text::{QuestionTokenizer, Tokenizer};
use med2e3_schemas::report::Answer;
use med2e3_schemas::sample::{SampleRow, Task};
use tch::{Device, Kind};

use crate::TrainerError;
use crate::checkpoint::Checkpoint;
use crate::device::{DeviceChoice, set_threads};
use crate::device_batch::to_device;
use crate::fit;
use crate::generate::{Decoding, Until, generate};
use crate::metric::bleu::bleu1;
use crate::metric::closed_accuracy::{is_correct, is_correct_strict};
use crate::metric::rouge::rouge1;
use crate::model::Med2e3;
use crate::progress::Progress;

/// A checkpoint, ready to answer.
pub(crate) struct Answerer {
    pub(crate) model: Med2e3,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) device: Device,
    pub(crate) end_token: i64,
    /// The template's end token, and those that the language model was published with.
    pub(crate) stop_ids: Vec<i64>,
    tokenizer_file: PathBuf,
    /// Where questions go through the text encoder, its tokenizer's file.
    text_tokenizer: Option<PathBuf>,
}

impl Answerer {
    pub(crate) fn open(checkpoint: &Path, device: DeviceChoice, threads: usize) -> Result<Answerer, TrainerError> {
        if threads > 0 {
            set_threads(threads);
        }
        let device = device.open()?;
        let checkpoint = Checkpoint::open(checkpoint)?;
        let tokenizer_file = checkpoint.tokenizer()?;
        let tokenizer = Tokenizer::load(&tokenizer_file)?;
        let end = med2e3_input::text::template::END_TOKEN;
        let end_token = tokenizer.token_to_id(end).ok_or_else(|| TrainerError::File {
            path: tokenizer_file.clone(),
            expected: format!("the token {end}"),
            found: "none".into(),
        })?;
        let (model, end_token) = (checkpoint.model(device)?, i64::from(end_token));
        let mut stop_ids = model.config().llm.special_ids.end.clone();
        if !stop_ids.contains(&end_token) {
            stop_ids.push(end_token);
        }
        let text_tokenizer = checkpoint.tokenizers().text;
        Ok(Answerer { model, tokenizer, device, end_token, stop_ids, tokenizer_file, text_tokenizer })
    }

    /// Whether the checkpoint was made for this dataset.
    pub(crate) fn check_fit(&self, dataset: &Dataset) -> Result<(), TrainerError> {
        fit::check(&self.model, Some(&self.tokenizer_file), dataset)
    }

    /// A question in the tokens that the model's scorer reads.
    pub(crate) fn question_ids(&self, question: &str) -> Result<Vec<i32>, TrainerError> {
        if !self.model.reads_questions_as_text() {
            return Ok(self.tokenizer.encode(question)?);
        }
        let file = self.text_tokenizer.as_ref().ok_or_else(|| TrainerError::File {
            path: self.tokenizer_file.with_file_name("text_tokenizer.json"),
            expected: "the text encoder's tokenizer, as import --text-tokenizer copies it".into(),
            found: "nothing".into(),
        })?;
        Ok(QuestionTokenizer::load(file)?.encode(question)?)
    }

    /// Answers every sample, in the order of the selection.
    pub(crate) fn answer(
        &self,
        dataset: &Arc<Dataset>,
        samples: &Arc<Samples>,
        batch_size: usize,
        decoding: Decoding,
        max_new_tokens: usize,
    ) -> Result<Vec<Answer>, TrainerError> {
        let plan = FeedPlan {
            order: Order::ById,
            form: TextForm::Prompt,
            question: fit::question_form(&self.model),
            batch_size,
            epochs: 1,
            start: FeedCursor::default(),
            readers: 1,
            depth: 2,
            pad: self.end_token,
        };
        let until = Until { max_new_tokens, stop_ids: self.stop_ids.clone() };
        let mut feed = Feed::start(dataset.clone(), samples.clone(), plan);
        let mut progress = Progress::new(samples.rows.len() as u64, 0, "answers");
        let mut answers = Vec::with_capacity(samples.rows.len());
        while let Some(batch) = feed.next_batch() {
            let batch = batch?;
            let input = to_device(&batch, dataset.voxels(), self.device);
            let generated = generate(&self.model, &input, decoding, &until)?;
            let scores_bn = generated.scores_bn.to_device(Device::Cpu).to_kind(Kind::Float);
            let mut volume = 0;
            for (row, &position) in batch.samples.iter().enumerate() {
                let ids: Vec<i32> = generated.ids[row].iter().map(|&id| id as i32).collect();
                let text = self.tokenizer.decode(&ids)?.trim().to_owned();
                // Those of the first volume; a row of text alone has none.
                let scores = match batch.volume_counts[row] {
                    0 => Vec::new(),
                    _ => Vec::try_from(scores_bn.get(volume)).expect("a flat f32 tensor on the CPU"),
                };
                volume += batch.volume_counts[row] as i64;
                answers.push(judged(&samples.rows[position as usize], text, scores));
            }
            progress.step(batch.rows() as u64, String::new());
            feed.recycle(batch);
        }
        progress.finish();
        assert_eq!(answers.len(), samples.rows.len(), "a feed that ends early ends with an error");
        Ok(answers)
    }
}

/// One answer with its metrics.
fn judged(sample: &SampleRow, text: String, scores: Vec<f32>) -> Answer {
    let right = |judge: fn(&str, &str) -> bool| {
        sample.answer_choice.as_deref().map_or(0.0, |choice| f64::from(judge(&text, choice)))
    };
    let metrics: HashMap<&str, f64> = match sample.task {
        Task::Caption | Task::OpenVqa => {
            HashMap::from([("bleu1", bleu1(&text, &sample.answer)), ("rouge1", rouge1(&text, &sample.answer))])
        }
        Task::ClosedVqa => {
            HashMap::from([("correct", right(is_correct)), ("correct_strict", right(is_correct_strict))])
        }
    };
    Answer {
        sample_id: sample.sample_id.to_string(),
        volume_id: sample.volume_ids.first().map(ToString::to_string).unwrap_or_default(),
        task: sample.task,
        topic: sample.topic,
        question: sample.question.clone(),
        expected: sample.answer.clone(),
        answer: text,
        answer_choice: sample.answer_choice.clone(),
        metrics: metrics.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<BTreeMap<_, _>>(),
        scores,
    }
}
