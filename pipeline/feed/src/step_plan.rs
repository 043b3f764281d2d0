//! How the samples of a step are cut into micro-batches, and what a target of each counts: pure, from lengths and ids alone.
//!
//! A step's gradient depends on neither: weights of targets come from the order of the step's samples, before they are sorted
//! and cut.

use std::collections::HashMap;
use std::ops::Range;

use med2e3_shards::{Samples, Text};
use serde::{Deserialize, Serialize};

use crate::spliced::{Spliced, Splicing};
use crate::{FeedError, TextForm};

/// Which samples share a mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LossGroup {
    /// All targets of a step count the same.
    All,
    /// The loss is the mean of means over so many samples each, consecutive ones of the order: a target counts 1 / (groups of
    /// the step x targets of its group). The released training has groups of 32 (2 devices x 2 accumulations of a step of 128).
    Of(usize),
}

/// The most that is computed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Budget {
    /// Tokens of a micro-batch: its texts times the width of the longest.
    pub tokens: usize,
    /// Distinct volumes of a micro-batch.
    pub volumes: usize,
}

impl Budget {
    /// A step is one micro-batch.
    pub const WHOLE: Budget = Budget { tokens: usize::MAX, volumes: usize::MAX };
}

/// How a step is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepRule {
    /// How volumes become tokens.
    pub splicing: Splicing,
    /// Which samples share a mean.
    pub loss_group: LossGroup,
    /// The most that is computed at once.
    pub budget: Budget,
    /// Widths are rounded up to a multiple of it: cuDNN prepares itself for each new shape, which takes tens of ms.
    pub width_multiple: usize,
}

/// One step: its micro-batches in the order in which they are computed, the one with the longest texts first, so that a lack of
/// memory shows at once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepPlan {
    /// Each a list of texts.
    pub micro_batches: Vec<Vec<PlannedText>>,
    /// Targets of all of them.
    pub targets: usize,
    /// Groups without a target, by their place in the step; they count 0.
    pub targetless_groups: Vec<usize>,
}

/// A text in its micro-batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlannedText {
    /// Its position in the selection.
    pub position: u32,
    /// What each of its targets counts in the step's loss.
    pub target_weight: f32,
}

impl StepRule {
    /// A step in one piece, as it comes, all targets alike.
    pub const WHOLE: StepRule = StepRule {
        splicing: Splicing { visual_tokens: 0, max_length: usize::MAX },
        loss_group: LossGroup::All,
        budget: Budget::WHOLE,
        width_multiple: 1,
    };

    /// The plan of the step whose samples are those at `positions`, in the order of the epoch.
    ///
    /// # Errors
    /// A sample that has no such form, or whose text does not read.
    pub fn plan(&self, samples: &Samples, positions: &[u32], form: TextForm) -> Result<StepPlan, FeedError> {
        self.plan_share(samples, positions, 0..positions.len(), form)
    }

    /// The same for one rank, whose share of the step is `own`: its micro-batches, with what each target counts in the whole step,
    /// and the targets of the whole step. An empty share is one micro-batch without texts.
    ///
    /// # Errors
    /// As [`StepRule::plan`].
    pub fn plan_share(
        &self,
        samples: &Samples,
        positions: &[u32],
        own: Range<usize>,
        form: TextForm,
    ) -> Result<StepPlan, FeedError> {
        let found = positions.iter().map(|&position| samples.text(position as usize));
        let found = found.collect::<Result<Vec<Text<'_>>, _>>()?;
        let texts = found.iter().map(|text| self.text(text, form)).collect::<Result<Vec<Spliced>, _>>()?;
        let size = match self.loss_group {
            LossGroup::All => positions.len().max(1),
            LossGroup::Of(size) => size,
        };
        let targets: Vec<usize> = texts.chunks(size).map(|group| group.iter().map(|text| text.targets).sum()).collect();
        let groups = targets.len() as f64;
        let weight = |place: usize| match targets[place / size] {
            0 => 0.0,
            of_group => (1.0 / (groups * of_group as f64)) as f32,
        };
        let empty = targets.iter().enumerate().filter(|(_, targets)| **targets == 0);
        Ok(StepPlan {
            micro_batches: self.cut(&found[own.clone()], &positions[own.clone()], &texts[own.clone()], |place| {
                weight(own.start + place)
            }),
            targets: targets.iter().sum(),
            targetless_groups: empty.map(|(group, _)| group).collect(),
        })
    }

    /// The padded width of a micro-batch whose longest text has `length` tokens.
    pub fn width(&self, length: usize) -> usize {
        length.next_multiple_of(self.width_multiple)
    }

    fn text(&self, text: &Text<'_>, form: TextForm) -> Result<Spliced, FeedError> {
        self.splicing.of(text, form).ok_or_else(|| FeedError::Sample {
            sample: text.sample_id,
            problem: "only captions have a pretrain form".into(),
        })
    }

    /// Texts sorted by length, those of one volume together, cut where the budget ends. A text that alone is above the budget is a
    /// micro-batch of its own.
    fn cut(
        &self,
        found: &[Text<'_>],
        positions: &[u32],
        texts: &[Spliced],
        weight: impl Fn(usize) -> f32,
    ) -> Vec<Vec<PlannedText>> {
        if self.budget == Budget::WHOLE {
            let planned = positions
                .iter()
                .zip(0..)
                .map(|(&position, place)| PlannedText { position, target_weight: weight(place) });
            return vec![planned.collect()];
        }
        // Numbered as their ids are sorted.
        let volumes = |place: &usize| found[*place].volume_ids.numbers();
        let mut longest: HashMap<Option<&u32>, usize> = HashMap::new();
        for (place, text) in texts.iter().enumerate() {
            let most = longest.entry(volumes(&place).first()).or_default();
            *most = text.length.max(*most);
        }
        let mut places: Vec<usize> = (0..positions.len()).collect();
        places.sort_by_cached_key(|place| {
            let first = volumes(place).first();
            let by_volume = (std::cmp::Reverse(longest[&first]), first.copied());
            (by_volume, std::cmp::Reverse(texts[*place].length), positions[*place])
        });

        let (mut micro_batches, mut open) = (Vec::new(), Open::default());
        for place in places {
            let width = self.width(open.width.max(texts[place].length));
            let is_new = |volume: &&u32| !open.volumes.contains(volume);
            let new: Vec<&u32> = volumes(&place).iter().filter(is_new).collect();
            let fits = (open.texts.len() + 1).saturating_mul(width) <= self.budget.tokens
                && open.volumes.len() + new.len() <= self.budget.volumes;
            if !fits && !open.texts.is_empty() {
                micro_batches.push(std::mem::take(&mut open).texts);
            }
            open.width = open.width.max(texts[place].length);
            open.volumes.extend(volumes(&place));
            open.texts.push(PlannedText { position: positions[place], target_weight: weight(place) });
        }
        micro_batches.push(open.texts);
        micro_batches
    }
}

/// The micro-batch that is being filled.
#[derive(Default)]
struct Open<'a> {
    texts: Vec<PlannedText>,
    volumes: std::collections::HashSet<&'a u32>,
    width: usize,
}
