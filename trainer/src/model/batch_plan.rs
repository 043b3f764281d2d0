//! Everything about a batch that follows from its ids: positions, targets, questions, mentions, draws. Made on the host before
//! anything is computed, so that a forward pass reads nothing back.

use tch::{Device, Tensor};

use super::config::Scorer;
use super::draws::{dropout_mask, purpose_key};
use super::error::ModelError;
use super::input::{TargetWeights, TextInput};
use super::med2e3::Med2e3;
use super::mentions::{Mentions, PlacedMentions};
use super::scorer::{mention_keys, normal_draws};
use super::splice::{Splice, VOLUME_ID};
use crate::host_array::HostArray;
use crate::staging::Part;

/// The plan of one batch.
#[derive(Debug)]
pub struct BatchPlan {
    pub(crate) splice: Splice,
    pub(crate) mentions: Mentions,
    questions: Questions,
    /// (places, B): what the text encoder's dropout is drawn from, where it drops anything.
    question_keys: Option<Vec<i64>>,
    target_weights: Vec<f32>,
    /// Slices of a volume.
    slices: i64,
    /// (M, N): the mask of the dropout on scores, where there is one.
    score_mask: Option<Vec<f32>>,
    /// (M, N): normal draws, where the scorer takes any.
    score_draws: Option<Vec<f32>>,
    /// (M, N): scores in place of the scorer's, where the texts state some.
    given_scores: Option<Vec<f32>>,
}

/// The texts' questions, padded.
#[derive(Debug, Default)]
struct Questions {
    ids: Vec<i64>,
    mask: Vec<bool>,
    rows: i64,
    width: i64,
}

/// What a batch is computed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Gradients: with dropouts, and widths as [`width_multiple`] states.
    Training,
    /// A loss: without dropouts, the widths the same.
    Loss,
    /// What is asked for by position, so that rows are as wide as the longest; without dropouts.
    Positions,
}

impl Purpose {
    fn drops(self) -> bool {
        self == Purpose::Training
    }

    fn width_multiple(self, device: Device) -> usize {
        if self == Purpose::Positions { 1 } else { width_multiple(device) }
    }
}

/// How a batch is planned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlanRule {
    /// Distinct volumes of the batch.
    pub(crate) volumes: usize,
    /// Tokens after which a text is cut.
    pub(crate) max_length: usize,
    /// What it is computed for.
    pub(crate) purpose: Purpose,
}

/// The plan's arrays where the model computes.
pub(crate) struct PlacedPlan<'a> {
    pub(crate) splice: &'a Splice,
    pub(crate) text_ids: Tensor,
    pub(crate) visual_positions: Tensor,
    pub(crate) visual_rows: Tensor,
    pub(crate) target_positions: Tensor,
    pub(crate) target_ids: Tensor,
    pub(crate) target_weights: Tensor,
    /// i64 and bool, (B, Q).
    pub(crate) question_ids_bt: Tensor,
    pub(crate) question_mask_bt: Tensor,
    /// Whether the mask is false anywhere.
    pub(crate) questions_are_padded: bool,
    /// i64, (places, B), where the text encoder drops anything.
    pub(crate) question_keys_pb: Option<Tensor>,
    pub(crate) mentions: PlacedMentions<'a>,
    pub(crate) score_mask_mn: Option<Tensor>,
    pub(crate) score_draws_mn: Option<Tensor>,
    pub(crate) given_scores_mn: Option<Tensor>,
}

impl BatchPlan {
    /// # Errors
    /// An id without an embedding; scores of a part of the texts; texts whose ids and volumes do not agree, or that name a volume that is not in the batch.
    pub(crate) fn new(
        model: &Med2e3,
        texts: &[TextInput],
        weights: &TargetWeights,
        rule: PlanRule,
    ) -> Result<BatchPlan, ModelError> {
        let config = model.config();
        let (variant, slices) = (&config.variant, config.slice_count() as usize);
        let ids: Vec<&[i64]> = texts.iter().map(|text| text.ids.as_slice()).collect();
        let labels: Vec<&[i64]> = texts.iter().map(|text| text.labels.as_slice()).collect();
        check_ids("ids", config.llm.vocab_size, ids.iter().copied().flatten().filter(|id| **id != VOLUME_ID))?;
        let multiple = rule.purpose.width_multiple(model.device());
        let visual_tokens = config.visual_token_count() as usize;
        let splice = Splice::plan_wide(&ids, &labels, visual_tokens, rule.max_length, multiple);

        let volumes: Vec<i64> = texts.iter().flat_map(|text| &text.volumes).map(|&volume| volume as i64).collect();
        let stated = texts.iter().map(|text| text.ids.iter().filter(|id| **id == VOLUME_ID).count());
        for (text, expected) in texts.iter().zip(stated) {
            expect_volumes(expected, text.volumes.len())?;
        }
        let shown = volumes.iter().max().map_or(0, |largest| *largest as usize + 1);
        expect_volumes(shown.max(rule.volumes), rule.volumes)?;
        let mentions = Mentions::plan(splice.volume_rows.clone(), volumes, rule.volumes as i64);

        let questions = Questions::pad(texts);
        if variant.uses_question() && !variant.needs_text_encoder() {
            check_ids("question ids", config.llm.vocab_size, questions.ids.iter())?;
        }
        let encoder = model.text_encoder.as_ref().filter(|_| mentions.count() > 0);
        if let Some(encoder) = encoder {
            encoder.check(&questions.ids, &questions.mask, [texts.len(), questions.width as usize])?;
        }
        let of_question = |text: &TextInput| purpose_key(text.key, "text encoder dropout");
        let question_keys: Vec<u64> = texts.iter().map(of_question).collect();
        let question_keys =
            encoder.and_then(|encoder| encoder.place_keys(rule.purpose.drops().then_some(&question_keys)));
        let target_weights = match weights {
            TargetWeights::Mean => vec![1.0 / splice.target_ids.len().max(1) as f32; splice.target_ids.len()],
            TargetWeights::PerText(weights) => splice.target_rows.iter().map(|row| weights[*row]).collect(),
        };
        let keys = || {
            let text_keys: Vec<u64> = texts.iter().map(|text| text.key).collect();
            mention_keys(&text_keys, &mentions.texts)
        };
        let (scored, dropout) = (variant.needs_2d() && variant.uses_scores(), variant.score_dropout);
        let mask = |key: u64| dropout_mask(key, "score dropout", slices, dropout);
        let is_masked = scored && rule.purpose.drops() && dropout > 0.0;
        let score_mask = is_masked.then(|| keys().into_iter().flat_map(mask).collect());
        let score_draws = (scored && variant.scorer == Scorer::Random)
            .then(|| keys().into_iter().flat_map(|key| normal_draws(key, slices)).collect());
        let given: Vec<f32> = texts.iter().flat_map(|text| text.scores.iter().copied()).collect();
        let of_text = |text: &&TextInput| text.scores.len() != text.volumes.len() * slices;
        if let Some(text) = texts.iter().find(of_text).filter(|_| !given.is_empty()) {
            let expected = format!("{slices} for each of {} volumes", text.volumes.len());
            return Err(ModelError::config("scores of a text", expected, text.scores.len()));
        }
        Ok(BatchPlan {
            given_scores: (!given.is_empty()).then_some(given),
            slices: slices as i64,
            splice,
            mentions,
            questions,
            question_keys,
            target_weights,
            score_mask,
            score_draws,
        })
    }

    /// Targets of the batch, after cutting.
    pub fn target_count(&self) -> usize {
        self.splice.target_ids.len()
    }

    /// The plan's arrays with their shapes, in the order in which [`BatchPlan::place`] asks for them.
    pub(crate) fn parts(&self) -> Vec<Part<'_>> {
        let mut parts = Vec::new();
        let _ = self.place(|array, shape| {
            parts.push(Part { array, shape: shape.to_vec() });
            Tensor::new()
        });
        parts
    }

    /// The plan where the model computes: `place` brings one array there, in the shape stated.
    pub(crate) fn place<'a>(&'a self, mut place: impl FnMut(HostArray<'a>, &[i64]) -> Tensor) -> PlacedPlan<'a> {
        let (splice, mentions, questions) = (&self.splice, &self.mentions, &self.questions);
        let mut flat = |values: &'a [i64]| place(HostArray::I64(values), &[values.len() as i64]);
        let [text_ids, visual_positions, visual_rows] =
            [&splice.text_ids, &splice.visual_positions, &splice.visual_rows].map(|values| flat(values));
        let [target_positions, target_ids] = [&splice.target_positions, &splice.target_ids].map(|values| flat(values));
        let [texts_m, volumes_m, slots_m] =
            [&mentions.texts, &mentions.volumes, &mentions.slots].map(|values| flat(values));
        let question_shape = [questions.rows, questions.width];
        let question_ids_bt = place(HostArray::I64(&questions.ids), &question_shape);
        let question_mask_bt = place(HostArray::Bool(&questions.mask), &question_shape);
        let question_keys_pb =
            self.question_keys.as_ref().map(|keys| place(HostArray::I64(keys), &[-1, questions.rows]));
        let target_weights = place(HostArray::F32(&self.target_weights), &[self.target_weights.len() as i64]);
        let score_shape = [mentions.count(), self.slices];
        let mut of_scores =
            |values: &'a Option<Vec<f32>>| values.as_ref().map(|values| place(HostArray::F32(values), &score_shape));
        let [score_mask_mn, score_draws_mn, given_scores_mn] =
            [&self.score_mask, &self.score_draws, &self.given_scores].map(&mut of_scores);
        PlacedPlan {
            splice,
            text_ids,
            visual_positions,
            visual_rows,
            target_positions,
            target_ids,
            target_weights,
            question_ids_bt,
            question_mask_bt,
            questions_are_padded: questions.mask.contains(&false),
            question_keys_pb,
            mentions: PlacedMentions { plan: mentions, texts_m, volumes_m, slots_m },
            score_mask_mn,
            score_draws_mn,
            given_scores_mn,
        }
    }
}

/// Widths of padded batches are multiples of it. On a GPU cuDNN prepares itself for each new shape, which takes tens of ms.
pub(crate) fn width_multiple(device: Device) -> usize {
    if device.is_cuda() { WIDTHS } else { 1 }
}

/// That multiple: as many tokens as the attention kernels take at once.
pub(crate) const WIDTHS: usize = 64;

impl Questions {
    /// Padded on the right by 0, which is an id of every vocabulary; at least one token wide.
    fn pad(texts: &[TextInput]) -> Questions {
        let width = texts.iter().map(|text| text.question_ids.len()).max().unwrap_or(0).max(1);
        let mut questions = Questions { rows: texts.len() as i64, width: width as i64, ..Questions::default() };
        for text in texts {
            let padding = width - text.question_ids.len();
            questions.ids.extend(text.question_ids.iter().copied().chain(std::iter::repeat_n(0, padding)));
            questions.mask.extend((0..width).map(|at| at < text.question_ids.len()));
        }
        questions
    }
}

/// A wrong id would end the process inside libtorch, on CUDA past any recovery.
fn check_ids<'a>(what: &'static str, expected: i64, mut ids: impl Iterator<Item = &'a i64>) -> Result<(), ModelError> {
    let outside = ids.find(|id| !(0..expected).contains(*id));
    outside.map_or(Ok(()), |&found| Err(ModelError::TokenId { what, expected, found }))
}

fn expect_volumes(expected: usize, found: usize) -> Result<(), ModelError> {
    if expected == found { Ok(()) } else { Err(ModelError::VolumeCount { expected, found }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_widths_occur_on_a_gpu_but_where_positions_are_asked_for() {
        let of = |purpose: Purpose| [Device::Cpu, Device::Cuda(0)].map(|device| purpose.width_multiple(device));
        assert_eq!([Purpose::Training, Purpose::Loss, Purpose::Positions].map(of), [[1, 64], [1, 64], [1, 1]]);
        assert_eq!([Purpose::Training, Purpose::Loss, Purpose::Positions].map(Purpose::drops), [true, false, false]);
    }
}
