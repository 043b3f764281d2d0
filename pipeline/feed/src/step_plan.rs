//! How the samples of a step are cut into micro-batches, and what a target of each counts: pure, from lengths and ids alone.
//!
//! A step's gradient depends on neither: weights of targets come from the order of the step's samples, before they are sorted
//! and cut.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
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
/// memory shows at once. One that is planned again and again keeps its memory.
#[derive(Clone, Debug, Default)]
pub struct StepPlan {
    /// Targets of all micro-batches, and, where a rank plans its share, of those of the others.
    pub targets: usize,
    /// Groups without a target, by their place in the step; they count 0.
    pub targetless_groups: Vec<usize>,
    /// The texts of all micro-batches.
    texts: Vec<PlannedText>,
    /// Where each micro-batch ends in them.
    ends: Vec<usize>,
    scratch: Scratch,
}

/// What planning needs on its way.
#[derive(Clone, Debug, Default)]
struct Scratch {
    spliced: Vec<Spliced>,
    /// Of each loss group.
    targets: Vec<usize>,
    /// The longest text of each volume.
    longest: HashMap<Option<u32>, usize>,
    /// Texts by their place in the share, with what they are sorted by.
    sorted: Vec<(SortKey, usize)>,
    /// Volumes of the micro-batch that is being filled.
    volumes: HashSet<u32>,
    /// Numbers of the volumes of all texts, and where those of each text end.
    shown: Vec<u32>,
    shown_ends: Vec<usize>,
}

/// The longest text of its volume, the volume (numbered as its ids are sorted), the own length, the position.
type SortKey = (Reverse<usize>, Option<u32>, Reverse<usize>, u32);

impl StepPlan {
    /// How many micro-batches there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether nothing is planned.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The texts of a micro-batch.
    ///
    /// # Panics
    /// A micro-batch that is not there.
    pub fn micro_batch(&self, place: usize) -> &[PlannedText] {
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.texts[start..self.ends[place]]
    }

    /// The micro-batches in order, each a list of texts.
    pub fn micro_batches(&self) -> impl ExactSizeIterator<Item = &[PlannedText]> {
        (0..self.len()).map(|place| self.micro_batch(place))
    }

    /// Takes out all micro-batches.
    pub fn clear(&mut self) {
        self.targets = 0;
        self.targetless_groups.clear();
        self.texts.clear();
        self.ends.clear();
    }
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

    /// The plan of the step whose samples are those at these positions, in the order of the epoch.
    ///
    /// # Errors
    /// A sample that has no such form, or whose text does not read.
    pub fn plan(&self, samples: &Samples, positions: &[u32], form: TextForm) -> Result<StepPlan, FeedError> {
        let mut plan = StepPlan::default();
        self.plan_share(&mut plan, samples, positions, 0..positions.len(), form)?;
        Ok(plan)
    }

    /// The same for one rank, whose share of the step is `own`: its micro-batches, with what each target counts in the whole step,
    /// and the targets of the whole step. An empty share is one micro-batch without texts.
    ///
    /// # Errors
    /// As [`StepRule::plan`]; the plan is then without a micro-batch.
    pub fn plan_share(
        &self,
        plan: &mut StepPlan,
        samples: &Samples,
        positions: &[u32],
        own: Range<usize>,
        form: TextForm,
    ) -> Result<(), FeedError> {
        plan.clear();
        let StepPlan { targets, targetless_groups, texts, ends, scratch } = plan;
        scratch.spliced.clear();
        scratch.shown.clear();
        scratch.shown_ends.clear();
        for (place, &position) in positions.iter().enumerate() {
            let text = samples.text(position as usize)?;
            scratch.spliced.push(self.text(&text, form)?);
            if own.contains(&place) {
                scratch.shown.extend(text.volume_ids.numbers());
                scratch.shown_ends.push(scratch.shown.len());
            }
        }
        let size = match self.loss_group {
            LossGroup::All => positions.len().max(1),
            LossGroup::Of(size) => size,
        };
        let of_group = |group: &[Spliced]| group.iter().map(|text| text.targets).sum::<usize>();
        scratch.targets.clear();
        scratch.targets.extend(scratch.spliced.chunks(size).map(of_group));
        let by_group = &scratch.targets;
        *targets = by_group.iter().sum();
        let empty = by_group.iter().enumerate().filter(|(_, targets)| **targets == 0);
        targetless_groups.extend(empty.map(|(group, _)| group));
        // What a target counts that is at a place of the share.
        let groups = by_group.len() as f64;
        let weight = |place: usize| match by_group[(own.start + place) / size] {
            0 => 0.0,
            of_group => (1.0 / (groups * of_group as f64)) as f32,
        };
        let of_share = Share {
            positions: &positions[own.clone()],
            spliced: &scratch.spliced[own.clone()],
            shown: &scratch.shown,
            shown_ends: &scratch.shown_ends,
        };
        let planned = |place: usize| PlannedText { position: of_share.positions[place], target_weight: weight(place) };
        if self.budget == Budget::WHOLE {
            texts.extend((0..own.len()).map(planned));
        } else {
            of_share.sort(&mut scratch.longest, &mut scratch.sorted);
            let places = scratch.sorted.iter().map(|(_, place)| *place);
            texts.extend(places.clone().map(planned));
            self.cut(&of_share, places, ends, &mut scratch.volumes);
        }
        ends.push(texts.len());
        Ok(())
    }

    /// The padded width of a micro-batch whose longest text has `length` tokens.
    pub fn width(&self, length: usize) -> usize {
        length.next_multiple_of(self.width_multiple)
    }

    fn text(&self, sample: &Text<'_>, form: TextForm) -> Result<Spliced, FeedError> {
        self.splicing.of(sample, form).ok_or_else(|| FeedError::Sample {
            sample: sample.sample_id,
            problem: "only captions have a pretrain form".into(),
        })
    }

    /// Puts down where micro-batches end but for the last one: where the budget does. A text that alone is above the budget is a
    /// micro-batch of its own.
    fn cut(
        &self,
        share: &Share<'_>,
        places: impl Iterator<Item = usize>,
        ends: &mut Vec<usize>,
        open: &mut HashSet<u32>,
    ) {
        open.clear();
        let (mut start, mut longest) = (0, 0);
        for (number, place) in places.enumerate() {
            let (length, volumes) = (share.spliced[place].length, share.volumes(place));
            let tokens = (number - start + 1).saturating_mul(self.width(longest.max(length)));
            let new = volumes.iter().filter(|id| !open.contains(*id)).count();
            if number > start && (tokens > self.budget.tokens || open.len() + new > self.budget.volumes) {
                ends.push(number);
                (start, longest) = (number, 0);
                open.clear();
            }
            longest = longest.max(length);
            open.extend(volumes);
        }
    }
}

/// A rank's part of a step.
struct Share<'a> {
    positions: &'a [u32],
    spliced: &'a [Spliced],
    /// Numbers of the volumes of all texts, and where those of each text end.
    shown: &'a [u32],
    shown_ends: &'a [usize],
}

impl Share<'_> {
    fn volumes(&self, place: usize) -> &[u32] {
        let start = place.checked_sub(1).map_or(0, |before| self.shown_ends[before]);
        &self.shown[start..self.shown_ends[place]]
    }

    /// Places sorted by length, those of one volume together.
    fn sort(&self, longest: &mut HashMap<Option<u32>, usize>, sorted: &mut Vec<(SortKey, usize)>) {
        longest.clear();
        let first = |place: usize| self.volumes(place).first().copied();
        for (place, text) in self.spliced.iter().enumerate() {
            let most = longest.entry(first(place)).or_default();
            *most = text.length.max(*most);
        }
        sorted.clear();
        sorted.extend(self.spliced.iter().zip(self.positions).enumerate().map(|(place, (text, position))| {
            let volume = first(place);
            ((Reverse(longest[&volume]), volume, Reverse(text.length), *position), place)
        }));
        sorted.sort_unstable();
    }
}
