//! One question about one volume on disk, answered without a dataset.

use std::path::Path;

use med2e3_input::recipe;
use med2e3_input::text::template::with_image;
use med2e3_input::text::{LengthBudget, Template, Turn};
use med2e3_input::volume::{self, ReadLimits};
use serde::Serialize;
use tch::{Device, Kind, Tensor};

use crate::TrainerError;
use crate::answer::Answerer;
use crate::device::DeviceChoice;
use crate::generate::{Decoding, Until, generate};
use crate::model::ModelInput;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// A run's folder (its last checkpoint) or one checkpoint's folder.
    pub checkpoint: &'a Path,
    /// A NIfTI file or a folder of slices; prepared as the recipe `m3d` does.
    pub volume: &'a Path,
    /// The instruction, without image tokens.
    pub text: &'a str,
    /// How the answer's tokens are chosen.
    pub decoding: Decoding,
    /// Longest answer.
    pub max_new_tokens: usize,
    /// Where to run.
    pub device: DeviceChoice,
}

/// What the model says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reply {
    /// The answer.
    pub answer: String,
    /// How much each slice counted.
    pub scores: Vec<f32>,
}

/// Answers a question.
///
/// # Errors
/// A checkpoint or volume that does not read, a question that is too long.
pub fn ask(question: &Question<'_>) -> Result<Reply, TrainerError> {
    let answerer = Answerer::open(question.checkpoint, question.device, 0)?;
    let config = answerer.model.config();
    let [depth, height, width] = config.vision3d.img_size;
    let volume = volume::read(question.volume, &ReadLimits::default())?;
    let mut values = Vec::new();
    recipe::m3d(&volume, [depth, height, width].map(|n| n as usize), &mut values)?;

    let budget = LengthBudget {
        total: config.variant.max_length,
        visual_tokens: config.visual_token_count() as usize,
        keep_end: false,
    };
    let turn = Turn { question: with_image(question.text), answer: None };
    let prompt = Template::Phi.encode(&answerer.tokenizer, &[turn], &budget)?;
    let row = |ids: &[i32]| {
        let ids: Vec<i64> = ids.iter().map(|&id| i64::from(id)).collect();
        Tensor::from_slice(&ids).unsqueeze(0)
    };
    let question_ids_bt = row(&answerer.question_ids(question.text)?);
    let input = ModelInput {
        voxels_bcdhw: Tensor::from_slice(&values).view([1, 1, depth, height, width]).to_device(answerer.device),
        ids_bt: row(&prompt.ids),
        lengths_b: vec![prompt.ids.len() as i64],
        labels_bt: None,
        question_mask_bt: question_ids_bt.ones_like().to_kind(Kind::Bool),
        question_ids_bt,
    };
    let until = Until { max_new_tokens: question.max_new_tokens, stop_ids: answerer.stop_ids.clone() };
    let generated = generate(&answerer.model, &input, question.decoding, &until)?;
    let ids: Vec<i32> = generated.ids[0].iter().map(|&id| id as i32).collect();
    Ok(Reply {
        answer: answerer.tokenizer.decode(&ids)?.trim().to_owned(),
        scores: Vec::<f32>::try_from(generated.scores_bn.get(0).to_device(Device::Cpu)).unwrap_or_default(),
    })
}
