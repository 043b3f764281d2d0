//! Texts of the lengths that training sees, about made-up volumes. `tests/peers/step.py` makes texts of the same lengths.

use med2e3_feed::step_plan::PlannedText;
use med2e3_feed::{Splicing, StepRule, TextForm};
use med2e3_schemas::Id;
use med2e3_schemas::sample::{IGNORED, IMAGE3D, SampleRow};
use med2e3_schemas::volume::{VoxelCode, VoxelFormat};
use med2e3_shards::Samples;

use super::sizes::Sizes;
use crate::augmentation::Draw;
use crate::device_batch::Planned;
use crate::model::Med2e3;
use crate::model::ModelError;
use crate::model::batch_plan::{BatchPlan, Purpose};
use crate::model::splice::VOLUME_ID;
use crate::model::{Med2e3Config, TargetWeights, TextInput};
use crate::plan::MicroBatch;
use crate::plan::choice::{Budget, Texts, WIDTHS};

/// Weight, tokens beyond the visual ones, and targets of a kind of text: captions, open and closed questions.
const MIX: [(usize, usize, usize); 3] = [(115, 208, 165), (420, 68, 7), (420, 113, 9)];
/// Tokens of a question.
const QUESTION: usize = 20;
/// Ids before the volume.
const PREFIX: usize = 8;

/// One text's length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Length {
    /// After splicing.
    pub(super) tokens: usize,
    pub(super) targets: usize,
}

/// The length of a text: kinds follow each other in the shares of [`MIX`], the same at every run.
pub(super) fn length_of(index: usize, sizes: Sizes, visual_tokens: usize) -> Length {
    let mut place = (index * 356 + 178) % MIX.iter().map(|(weight, ..)| weight).sum::<usize>();
    let kind = MIX.iter().find(|(weight, ..)| match place.checked_sub(*weight) {
        None => true,
        Some(rest) => {
            place = rest;
            false
        }
    });
    let (_, tokens, targets) = kind.expect("a place is below the sum of the weights");
    let shorter = sizes.shorter();
    Length { tokens: visual_tokens + tokens.div_ceil(shorter), targets: targets.div_ceil(shorter) }
}

/// The texts of one step.
pub(super) struct StepTexts {
    sizes: Sizes,
    config: Med2e3Config,
    pub(super) lengths: Vec<Length>,
    pub(super) texts_per_volume: usize,
}

/// A micro-batch on the host: volumes as codes, texts as ids.
pub(super) struct HostMicroBatch {
    codes: Vec<u8>,
    /// What happens to each volume: nothing.
    draws: Vec<Draw>,
    texts: Vec<TextInput>,
    weights: TargetWeights,
    format: VoxelFormat,
}

impl StepTexts {
    pub(super) fn new(sizes: Sizes, count: usize, texts_per_volume: usize) -> StepTexts {
        let config = sizes.config();
        let visual = config.visual_token_count() as usize;
        let lengths = (0..count).map(|index| length_of(index, sizes, visual)).collect();
        StepTexts { sizes, config, lengths, texts_per_volume: texts_per_volume.max(1) }
    }

    /// For the model of costs.
    pub(super) fn summary(&self) -> Texts {
        let mean = |of: fn(&Length) -> usize| {
            self.lengths.iter().map(of).sum::<usize>() as f64 / self.lengths.len().max(1) as f64
        };
        Texts {
            batch: self.lengths.len(),
            mean_tokens: mean(|length| length.tokens),
            longest: self.lengths.iter().map(|length| length.tokens).max().unwrap_or(1),
            mean_targets: mean(|length| length.targets),
            texts_per_volume: self.lengths.len() as f64 / self.volumes() as f64,
            most_volumes: 1,
        }
    }

    /// Tokens of all texts.
    pub(super) fn tokens(&self) -> usize {
        self.lengths.iter().map(|length| length.tokens).sum()
    }

    fn volumes(&self) -> usize {
        self.lengths.len().div_ceil(self.texts_per_volume).max(1)
    }

    /// Cut by a budget as a run's feed cuts a step, from ids alone.
    fn cut(&self, budget: Budget) -> Vec<Vec<usize>> {
        let visual_tokens = self.config.visual_token_count() as usize;
        let splicing = Splicing { visual_tokens, max_length: usize::MAX };
        let rule = StepRule { splicing, budget, width_multiple: WIDTHS, ..StepRule::WHOLE };
        let rows: Vec<SampleRow> = (0..self.lengths.len()).map(|text| self.row(text)).collect();
        let (samples, positions): (_, Vec<u32>) = (Samples::of_rows(&rows), (0..).take(rows.len()).collect());
        let plan = rule.plan(&samples, &positions, TextForm::Conversation).expect("every text is a conversation");
        let texts = |batch: &[PlannedText]| batch.iter().map(|text| text.position as usize).collect();
        plan.micro_batches().map(texts).collect()
    }

    /// What a dataset would say of a text, as far as lengths and volumes go.
    fn row(&self, text: usize) -> SampleRow {
        let visual = self.config.visual_token_count() as usize;
        let mut ids = vec![0; self.lengths[text].tokens - visual + 1];
        ids[0] = IMAGE3D;
        let volume = Id::of_volume(&format!("volume {}", text / self.texts_per_volume));
        SampleRow::of_ids(Id::of_volume(&format!("text {text}")), vec![volume], ids, Vec::new())
    }

    /// What each micro-batch holds, for the model of costs, its width a multiple of this number.
    pub(super) fn shapes(&self, budget: Budget, width_multiple: usize) -> Vec<MicroBatch> {
        let shape = |texts: &Vec<usize>| {
            let width = texts.iter().map(|text| self.lengths[*text].tokens).max().unwrap_or(0);
            let targets = texts.iter().map(|text| self.lengths[*text].targets).sum();
            let width = width.next_multiple_of(width_multiple);
            MicroBatch::of_width(texts.len(), width, self.volumes_of(texts).len() as f64, targets)
        };
        self.cut(budget).iter().map(shape).collect()
    }

    fn volumes_of(&self, texts: &[usize]) -> Vec<usize> {
        let mut volumes: Vec<usize> = texts.iter().map(|text| text / self.texts_per_volume).collect();
        volumes.dedup();
        volumes
    }

    /// The micro-batches; all targets of the step weigh the same.
    pub(super) fn micro_batches(&self, budget: Budget) -> Vec<HostMicroBatch> {
        let targets: usize = self.lengths.iter().map(|length| length.targets).sum();
        let weight = 1.0 / targets.max(1) as f32;
        let shape = self.config.vision3d.img_size.map(|size| size as usize);
        let format = VoxelFormat::unit_range(shape, VoxelCode::U8);
        let batch = |texts: &Vec<usize>| {
            let volumes = self.volumes_of(texts);
            let codes = volumes.iter().flat_map(|volume| codes(*volume, format.cell_bytes())).collect();
            let text = |text: &usize| {
                let place = volumes.iter().position(|volume| *volume == text / self.texts_per_volume);
                self.text(*text, place.expect("every text's volume is listed"))
            };
            HostMicroBatch {
                codes,
                draws: vec![Draw::default(); volumes.len()],
                texts: texts.iter().map(text).collect(),
                weights: TargetWeights::PerText(vec![weight; texts.len()]),
                format,
            }
        };
        self.cut(budget).iter().map(batch).collect()
    }

    fn text(&self, index: usize, volume: usize) -> TextInput {
        let visual = self.config.visual_token_count() as usize;
        let length = length_of(index, self.sizes, visual);
        let vocabulary = self.config.llm.vocab_size as usize;
        let id = |at: usize| ((index * 7919 + at * 104_729 + 13) % vocabulary) as i64;
        let count = length.tokens - visual + 1;
        let ids: Vec<i64> = (0..count).map(|at| if at == PREFIX.min(count - 1) { VOLUME_ID } else { id(at) }).collect();
        let is_target = |at: usize| at + length.targets >= count && ids[at] != VOLUME_ID;
        let labels = (0..count).map(|at| if is_target(at) { ids[at] } else { IGNORED }).collect();
        let question_ids = (0..QUESTION).map(|at| id(1000 + at)).collect();
        TextInput { labels, ids, volumes: vec![volume], question_ids, key: index as u64, scores: Vec::new() }
    }
}

/// The voxels of a volume: a pattern of its own.
fn codes(volume: usize, bytes: usize) -> impl Iterator<Item = u8> {
    (0..bytes).map(move |at| ((at * 31 + at / 97 * 7 + volume * 53) % 256) as u8)
}

impl HostMicroBatch {
    /// How the model takes its texts.
    pub(super) fn plan(&self, model: &Med2e3) -> Result<BatchPlan, ModelError> {
        model.plan_texts(&self.texts, &self.weights, self.draws.len(), Purpose::Training)
    }

    /// For the copy to the device.
    pub(super) fn planned<'a>(&'a self, plan: &'a BatchPlan) -> Planned<'a> {
        Planned { cells: &self.codes, format: &self.format, draws: &self.draws, plan }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers that the peer's own function gives, which is the same by design.
    #[test]
    fn lengths_are_those_of_the_mix() {
        let texts = StepTexts::new(Sizes::Published, 955, 1);
        let of = |tokens: usize| texts.lengths.iter().filter(|length| length.tokens == tokens).count();
        assert_eq!([of(720), of(580), of(625)], [115, 420, 420]);
        assert!((texts.summary().mean_tokens - 616.7).abs() < 0.1);
        let sixteen = StepTexts::new(Sizes::Published, 16, 1);
        assert!(sixteen.lengths.iter().any(|length| length.tokens == 720));
    }

    #[test]
    fn every_text_is_in_one_micro_batch_within_the_budget() {
        let texts = StepTexts::new(Sizes::Tiny, 21, 4);
        let budget = Budget { tokens: 512, volumes: 2 };
        let mut all: Vec<usize> = texts.cut(budget).into_iter().flatten().collect();
        all.sort_unstable();
        assert_eq!(all, (0..21).collect::<Vec<_>>());
        for shape in texts.shapes(budget, WIDTHS) {
            assert!(shape.tokens() <= 512 && shape.rows[0] % WIDTHS == 0 && shape.volumes <= 2.0);
        }
        assert!(texts.shapes(budget, 1).iter().any(|shape| shape.rows[0] % WIDTHS != 0));
        let inputs = texts.micro_batches(budget);
        assert_eq!(inputs.iter().map(|input| input.texts.len()).sum::<usize>(), 21);
        let cell = texts.config.vision3d.img_size.iter().product::<i64>() as usize;
        let is_whole = |input: &HostMicroBatch| input.draws.len() <= 2 && input.codes.len() == input.draws.len() * cell;
        assert!(inputs.iter().all(is_whole));
    }
}
