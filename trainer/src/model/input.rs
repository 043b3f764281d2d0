//! What the whole model takes: volumes, and texts that show them.

use tch::{Device, Kind, Tensor};

use super::error::{ModelError, expect_shape};
use super::splice::VOLUME_ID;

/// One batch. Texts are on the host, where everything about them is planned before anything is computed.
pub struct ModelInput {
    /// (V, C, D, H, W), values in 0..1: the distinct volumes of the batch, on the model's device. Of any kind of floats: the
    /// model converts them to its own.
    pub voxels_vcdhw: Tensor,
    /// The texts.
    pub texts: Vec<TextInput>,
    /// What a target counts in the loss.
    pub weights: TargetWeights,
}

/// One text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TextInput {
    /// Ids of the language model's tokens; [`VOLUME_ID`] marks a volume.
    pub ids: Vec<i64>,
    /// As long as the ids: the id itself where it is a target, else [`IGNORED`](med2e3_schemas::sample::IGNORED). Empty where
    /// there is no target.
    pub labels: Vec<i64>,
    /// For each volume that the ids mark, in order, its place among the batch's volumes.
    pub volumes: Vec<usize>,
    /// The bare question, for the scorer: in the language model's ids, or where the variant's text feature is M3D-CLIP's, in
    /// BERT's with start and end token.
    pub question_ids: Vec<i64>,
    /// What is drawn for the text comes from its key alone, whatever the batch.
    pub key: u64,
    /// Scores to take in place of the scorer's, one a slice of each volume that the text shows; empty for the scorer's own. All texts
    /// of a batch that show a volume have some, or none has.
    pub scores: Vec<f32>,
}

/// What a target counts in the loss.
#[derive(Clone, Debug, PartialEq)]
pub enum TargetWeights {
    /// All of the batch the same: the loss is their mean.
    Mean,
    /// Each target of a text as stated for the text: the loss is the weighed sum.
    PerText(Vec<f32>),
}

/// Texts as the rows of padded tensors, as files and other programs have them.
pub struct PaddedTexts<'a> {
    /// i64, (B, T), right-padded.
    pub ids_bt: &'a Tensor,
    /// Ids of each row before padding.
    pub lengths_b: &'a [i64],
    /// The shape of the ids; None where there is no target.
    pub labels_bt: Option<&'a Tensor>,
    /// i64, (B, Q).
    pub question_ids_bt: &'a Tensor,
    /// Bool or number, the shape of the question's ids: true at tokens.
    pub question_mask_bt: &'a Tensor,
}

impl PaddedTexts<'_> {
    /// The texts, each of whose volumes is the next one of the batch. Waits for the device where a tensor is on one.
    ///
    /// # Errors
    /// Shapes that do not fit each other.
    pub fn texts(&self) -> Result<Vec<TextInput>, ModelError> {
        let rows = self.lengths_b.len() as i64;
        expect_shape("ids", self.ids_bt, &[rows, -1])?;
        self.labels_bt.map_or(Ok(()), |labels_bt| expect_shape("labels", labels_bt, &self.ids_bt.size()))?;
        expect_shape("question ids", self.question_ids_bt, &[rows, -1])?;
        expect_shape("question mask", self.question_mask_bt, &self.question_ids_bt.size())?;
        let width = self.ids_bt.size()[1];
        if let Some(longest) = self.lengths_b.iter().max().filter(|longest| **longest > width) {
            let (expected, found) = (width as usize, *longest as usize);
            return Err(ModelError::TooLong { what: "row of ids", expected, found });
        }
        let mut volumes = 0;
        let mut text = |row: usize| {
            let length = self.lengths_b[row] as usize;
            let cut = |tensor: &Tensor| host_row(tensor, row)[..length].to_vec();
            let ids = cut(self.ids_bt);
            let first = volumes;
            volumes += ids.iter().filter(|id| **id == VOLUME_ID).count();
            let (questions, mask) = (host_row(self.question_ids_bt, row), host_row(self.question_mask_bt, row));
            let question_ids = questions.into_iter().zip(mask).filter(|(_, is_token)| *is_token != 0);
            TextInput {
                ids,
                labels: self.labels_bt.map(cut).unwrap_or_default(),
                volumes: (first..volumes).collect(),
                question_ids: question_ids.map(|(id, _)| id).collect(),
                key: row as u64,
                scores: Vec::new(),
            }
        };
        Ok((0..self.lengths_b.len()).map(&mut text).collect())
    }
}

fn host_row(tensor_bt: &Tensor, row: usize) -> Vec<i64> {
    let row = tensor_bt.get(row as i64).to_device(Device::Cpu).to_kind(Kind::Int64);
    Vec::try_from(row).expect("a row of two axes")
}
