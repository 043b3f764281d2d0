//! One question about one volume on disk, answered without a dataset.

use std::path::Path;

use med2e3_input::inputs::{Prepared, SourceSlice, read_volume};
use med2e3_input::orientation::Plane;
use med2e3_input::text::template::{IMAGE2D_TOKEN, IMAGE3D_TOKEN};
use med2e3_input::volume::ReadLimits;
use med2e3_program::note;
use med2e3_shards::codes::{decode, encode};
use serde::Serialize;

use crate::TrainerError;
use crate::device::DeviceChoice;
use crate::device_batch::voxels;
use crate::fit::expect;
use crate::generate::Decoding;
use crate::generate::answerer::{Answerer, Reply};

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// A run's folder (its last checkpoint) or one checkpoint's folder.
    pub checkpoint: &'a Path,
    /// A volume's file or a folder of slices; prepared as those that the checkpoint learned from.
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

/// A reply about a volume on disk, and where its slices are there.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Located {
    /// Answer and scores.
    #[serde(flatten)]
    pub reply: Reply,
    /// Where each score's slice is in the source.
    pub slices: Vec<SourceSlice>,
    /// Where millimetres grow: towards `right`, `anterior` or `superior`, as NIfTI counts; `None` where the orientation is not known.
    pub mm_towards: Option<&'static str>,
    /// The slices as the model has seen them.
    #[serde(skip)]
    pub seen: Seen,
}

/// Slices as a model sees them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// Values in 0..1, in D H W order.
    pub values: Vec<f32>,
    /// Slices, rows, columns.
    pub shape_dhw: [usize; 3],
}

/// Whether a question can be laid out; `key` names it.
///
/// # Errors
/// It is empty, or holds an image token.
pub(super) fn check_text(key: &str, text: &str) -> Result<(), TrainerError> {
    for mark in [IMAGE3D_TOKEN, IMAGE2D_TOKEN] {
        let expected = format!("a text without {mark}; the volume's place in it is the template's");
        expect(key, !text.contains(mark), expected, text.into())?;
    }
    expect(key, !text.trim().is_empty(), "a text".into(), "none".into())
}

/// Answers a question.
///
/// # Errors
/// A checkpoint or volume that does not read; a question that is empty, too long or holds an image token; numbers out of
/// range.
pub fn ask(question: &Question<'_>) -> Result<Located, TrainerError> {
    let text = question.text;
    check_text("--question", text)?;
    expect("--max-new-tokens", question.max_new_tokens > 0, "1 or more".into(), "0".into())?;
    question.decoding.check()?;
    let answerer = Answerer::open(question.checkpoint, question.device, 0)?;
    if let Some(words) = answerer.note() {
        note(format_args!("note: {words}"));
    }
    let prompt = answerer.prompt(text)?;
    let inputs = answerer.volume_inputs();
    expect("checkpoint", inputs.voxels.is_unit_range(), "voxels in 0..1".into(), "Hounsfield units".into())?;
    let Prepared { values, slices, plane } = read_volume(question.volume, &inputs, &ReadLimits::default())?;
    // Rounded to the codes that the model has seen.
    let mut cell = Vec::with_capacity(inputs.voxels.cell_bytes());
    encode(&values, &inputs.voxels, &mut cell);
    let voxels_bcdhw = voxels(&cell, 1, &inputs.voxels, answerer.device());
    let replies = answerer.answer(&voxels_bcdhw, &[prompt], question.decoding, question.max_new_tokens)?;
    let reply = replies.into_iter().next().expect("one prompt has one reply");
    let seen = Seen { values: decode(&cell, &inputs.voxels), shape_dhw: inputs.voxels.shape_dhw };
    Ok(Located { reply, slices, mm_towards: plane.map(Plane::towards), seen })
}
