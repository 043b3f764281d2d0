//! One question about one volume on disk, answered without a dataset.

use std::path::Path;

use med2e3_input::recipe;
use med2e3_input::volume::{self, ReadLimits};
use tch::Tensor;

use crate::TrainerError;
use crate::device::DeviceChoice;
use crate::generate::Decoding;
use crate::generate::answerer::{Answerer, Reply};

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
    /// Tokens of the answer at most.
    pub max_new_tokens: usize,
    /// Where to run.
    pub device: DeviceChoice,
}

/// Answers a question.
///
/// # Errors
/// A checkpoint or volume that does not read, a question that is too long.
pub fn ask(question: &Question<'_>) -> Result<Reply, TrainerError> {
    let answerer = Answerer::open(question.checkpoint, question.device, 0)?;
    let volume = volume::read(question.volume, &ReadLimits::default())?;
    let (shape_dhw, mut values) = (answerer.shape_dhw(), Vec::new());
    recipe::m3d(&volume, shape_dhw, &mut values)?;
    let [depth, height, width] = shape_dhw.map(|n| n as i64);
    let voxels_bcdhw = Tensor::from_slice(&values).view([1, 1, depth, height, width]);

    let prompt = answerer.prompt(question.text)?;
    let replies = answerer.answer(&voxels_bcdhw, &[prompt], question.decoding, question.max_new_tokens)?;
    Ok(replies.into_iter().next().expect("one prompt has one reply"))
}
