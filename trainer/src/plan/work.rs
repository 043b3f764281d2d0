//! What the texts of a run are to the model: their lengths, and the micro-batches that they become. From ids alone, before a voxel
//! is read.

use std::collections::{BTreeSet, HashSet};

use med2e3_feed::{FeedError, Order, Sequence, Spliced, StepRule, Steps, Tail, TextForm};
use med2e3_shards::{Samples, Text};
use serde::Serialize;

use super::{MicroBatch, QUESTION_TOKENS};

/// Steps that are laid out at most, and their texts: more of them change a mean by less than it errs.
const STEPS: u64 = 2000;
const TEXTS: u64 = 200_000;
/// Ranges of a histogram at most.
const RANGES: usize = 8;

/// How the texts of a run are fed.
#[derive(Debug, Clone)]
pub struct Fed {
    /// Which text comes when.
    pub order: Order,
    /// What becomes of an epoch's last texts.
    pub tail: Tail,
    /// Which of a sample's texts.
    pub form: TextForm,
    /// Texts of a step.
    pub batch: usize,
    /// Steps of the run, 1 or more.
    pub steps: u64,
    /// How a step is cut.
    pub rule: StepRule,
}

/// Texts of one range of lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Range {
    /// Tokens of the shortest that may be in it.
    pub from: usize,
    /// Of the longest.
    pub to: usize,
    /// How many are.
    pub texts: u64,
}

/// The texts of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Work {
    /// Texts of an epoch.
    pub texts: u64,
    /// Their tokens, volumes spliced in and cut at the longest that the model takes.
    pub tokens: u64,
    /// Those that are targets.
    pub targets: u64,
    /// Texts by length, in ranges of one width.
    pub histogram: Vec<Range>,
    /// Steps that were laid out for what follows: the first of the run, all where they are few.
    pub laid_out_steps: u64,
    /// Tokens of one of them on average, padding left out.
    pub step_tokens: f64,
    /// Micro-batches of one on average.
    pub step_micro_batches: f64,
    /// Volumes that go through the encoders in one on average.
    pub step_volumes: f64,
    /// Tokens that only fill rows up, over all tokens that are computed.
    pub padding_share: f64,
    /// All texts of the laid out steps, as one batch without padding.
    #[serde(skip)]
    pub(super) laid_out: MicroBatch,
    /// Every padded micro-batch that occurs.
    #[serde(skip)]
    pub(super) shapes: Vec<MicroBatch>,
}

impl Work {
    /// Reads lengths, and lays out the first steps as the feed will.
    ///
    /// # Errors
    /// A sample that has no text of this form, or whose text does not read; an order or steps that do not fit the samples.
    pub fn of(samples: &Samples, fed: &Fed) -> Result<Work, FeedError> {
        let spliced = |text: Result<Text<'_>, _>| Ok(fed.rule.splicing.of(&text?, fed.form).unwrap_or_default());
        let spliced = samples.iter().map(spliced).collect::<Result<Vec<Spliced>, FeedError>>()?;
        let sum = |of: fn(&Spliced) -> usize| spliced.iter().map(of).sum::<usize>() as u64;
        let mut laid_out = LaidOut::default();
        let steps = fed.steps.min(STEPS).min((TEXTS / fed.batch.max(1) as u64).max(1));
        let sequence = Sequence::new(&samples.hash, samples, &fed.order)?;
        let mut walk = sequence.walk();
        // As many epochs as can be counted: how many steps there are is known.
        let epochs = u64::MAX / sequence.samples();
        let way = Steps::new(sequence.samples(), epochs, fed.batch.max(1) as u64, fed.tail, 0)?;
        for step in 0..steps {
            let positions: Vec<u32> = way.positions(step).map(|position| walk.at(position)).collect();
            for texts in fed.rule.plan(samples, &positions, fed.form)?.micro_batches() {
                let positions: Vec<usize> = texts.iter().map(|text| text.position as usize).collect();
                let mut volumes = BTreeSet::<u32>::new();
                for at in &positions {
                    volumes.extend(samples.text(*at)?.volume_ids.numbers());
                }
                laid_out.add(positions.iter().map(|at| spliced[*at]), volumes.len(), &fed.rule);
            }
        }
        let of_step = |count: f64| count / steps.max(1) as f64;
        let tokens: usize = laid_out.rows.iter().sum();
        Ok(Work {
            texts: samples.len() as u64,
            tokens: sum(|text| text.length),
            targets: sum(|text| text.targets),
            histogram: histogram(spliced.iter().map(|text| text.length)),
            laid_out_steps: steps,
            step_tokens: of_step(tokens as f64),
            step_micro_batches: of_step(laid_out.micro_batches as f64),
            step_volumes: of_step(laid_out.volumes as f64),
            padding_share: 1.0 - tokens as f64 / laid_out.padded.max(1) as f64,
            shapes: laid_out.shapes(),
            laid_out: MicroBatch {
                rows: laid_out.rows,
                volumes: laid_out.volumes as f64,
                targets: laid_out.targets,
                question_tokens: QUESTION_TOKENS,
            },
        })
    }

    /// Tokens of the shortest and of the longest text.
    pub fn lengths(&self) -> (usize, usize) {
        let ends = self.histogram.first().zip(self.histogram.last());
        ends.map_or((0, 0), |(first, last)| (first.from, last.to))
    }
}

/// Sums over the laid out steps.
#[derive(Default)]
struct LaidOut {
    rows: Vec<usize>,
    padded: usize,
    targets: usize,
    volumes: usize,
    micro_batches: usize,
    /// Rows, width, volumes and targets of those that occur.
    shapes: HashSet<(usize, usize, usize, usize)>,
}

impl LaidOut {
    fn add(&mut self, texts: impl Iterator<Item = Spliced>, volumes: usize, rule: &StepRule) {
        let (mut width, mut targets, before) = (0, 0, self.rows.len());
        for text in texts {
            width = width.max(text.length);
            targets += text.targets;
            self.rows.push(text.length);
        }
        let (rows, width) = (self.rows.len() - before, rule.width(width));
        self.padded += rows * width;
        self.targets += targets;
        self.volumes += volumes;
        self.micro_batches += 1;
        self.shapes.insert((rows, width, volumes, targets));
    }

    fn shapes(&self) -> Vec<MicroBatch> {
        let of = |(rows, width, volumes, targets): &(usize, usize, usize, usize)| {
            MicroBatch::of_width(*rows, *width, *volumes as f64, *targets)
        };
        self.shapes.iter().map(of).collect()
    }
}

/// Lengths in ranges of one width, from the shortest to the longest.
fn histogram(lengths: impl Iterator<Item = usize> + Clone) -> Vec<Range> {
    let (Some(shortest), Some(longest)) = (lengths.clone().min(), lengths.clone().max()) else {
        return Vec::new();
    };
    let width = (longest - shortest + 1).div_ceil(RANGES);
    let mut ranges: Vec<Range> = (shortest..=longest)
        .step_by(width)
        .map(|from| Range { from, to: (from + width - 1).min(longest), texts: 0 })
        .collect();
    lengths.for_each(|length| ranges[(length - shortest) / width].texts += 1);
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use med2e3_feed::{Budget, LossGroup, Splicing};
    use med2e3_schemas::Id;
    use med2e3_schemas::sample::SampleRow;

    fn samples(lengths: &[usize]) -> Samples {
        let row = |(number, length): (usize, &usize)| {
            let (volume, end) = (Id::of_volume(&(number / 2).to_string()), *length as u32);
            let sample_id = Id::of_volume(&format!("{number:04}"));
            let row = SampleRow::of_ids(sample_id, vec![volume], vec![1; *length], vec![(end - 1, end)]);
            SampleRow { question_ids_llm: vec![3], ..row }
        };
        Samples::of_rows(&lengths.iter().enumerate().map(row).collect::<Vec<_>>())
    }

    fn fed(batch: usize, steps: u64, budget: Budget, width_multiple: usize) -> Fed {
        let splicing = Splicing { visual_tokens: 4, max_length: 100 };
        let rule = StepRule { splicing, loss_group: LossGroup::All, budget, width_multiple };
        Fed { order: Order::ById, tail: Tail::Keep, form: TextForm::Conversation, batch, steps, rule }
    }

    #[test]
    fn lengths_padding_and_volumes_are_those_of_the_feeds_micro_batches() {
        let samples = samples(&[10, 20, 30, 40, 50, 120]);
        let work = Work::of(&samples, &fed(4, 2, Budget::WHOLE, 8)).unwrap();
        // The last is cut at 100.
        assert_eq!((work.texts, work.tokens, work.targets), (6, 250, 5));
        // Two steps: four rows of 40, two rows of 104.
        let share = 1.0 - 250.0 / (4.0 * 40.0 + 2.0 * 104.0);
        assert!((work.padding_share - share).abs() < 1e-12, "{}", work.padding_share);
        assert_eq!((work.laid_out_steps, work.step_micro_batches, work.step_tokens), (2, 1.0, 125.0));
        assert_eq!((work.step_volumes, work.lengths()), (1.5, (10, 100)));
        assert_eq!(work.histogram.iter().map(|range| range.texts).sum::<u64>(), 6);
        assert_eq!((work.histogram[0].from, work.histogram[0].to, work.histogram[0].texts), (10, 21, 2));
        let mut shapes: Vec<_> =
            work.shapes.iter().map(|shape| (shape.rows.clone(), shape.volumes, shape.targets)).collect();
        shapes.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(shapes, [(vec![40; 4], 2.0, 4), (vec![104; 2], 1.0, 1)]);

        // A budget cuts steps and pads less; the tokens stay.
        let cut = Work::of(&samples, &fed(4, 2, Budget { tokens: 110, volumes: 1 }, 1)).unwrap();
        assert!(cut.padding_share < work.padding_share && cut.step_tokens == work.step_tokens);
        assert_eq!(cut.step_micro_batches, 2.0);
    }

    #[test]
    fn a_long_run_is_laid_out_in_part() {
        let samples = samples(&[7; 8]);
        let work = Work::of(&samples, &fed(2, u64::MAX, Budget::WHOLE, 1)).unwrap();
        assert_eq!((work.laid_out_steps, work.padding_share, work.step_tokens), (STEPS, 0.0, 14.0));
        assert_eq!(work.histogram, [Range { from: 7, to: 7, texts: 8 }]);
        // A step takes all there is.
        let whole = Work::of(&samples, &fed(usize::MAX, 1, Budget::WHOLE, 1)).unwrap();
        assert_eq!((whole.laid_out_steps, whole.step_tokens), (1, 56.0));
    }
}
