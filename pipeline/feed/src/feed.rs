//! The flow from dataset to batches: order -> step plan -> readers -> collate -> queue -> [`HostBatch`].
//!
//! A step is planned from ids alone, by every reader in the same way, and comes as one micro-batch or several. Micro-batch k,
//! counted from the start, is made by reader k modulo the number of readers, each with its own queue, and the consumer takes
//! from the queues in turn. So what comes when depends on the order alone, never on which thread was faster. Used batches travel
//! back the same way and are filled again, so that in steady state no batch is allocated.

use std::ops::Range;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use med2e3_shards::{Dataset, Samples};

use crate::order::{Order, permutation};
use crate::queue::{self, Receiver, Sender};
use crate::step_plan::{StepPlan, StepRule};
use crate::{FeedCursor, FeedError, HostBatch, OnBadSample, QuestionForm, StepShare, TextForm};

/// What to feed and how.
#[derive(Clone, Debug)]
pub struct FeedPlan {
    /// Order of each epoch.
    pub order: Order,
    /// Form of the text.
    pub form: TextForm,
    /// Tokens of the question.
    pub question: QuestionForm,
    /// Samples a step; the last step of an epoch may have fewer.
    pub batch_size: usize,
    /// How a step is cut.
    pub rule: StepRule,
    /// Passes over the selection.
    pub epochs: u64,
    /// Where to begin.
    pub start: FeedCursor,
    /// Reader threads.
    pub readers: usize,
    /// Micro-batches that each reader may be ahead.
    pub depth: usize,
    /// What becomes of a sample whose volume does not read.
    pub on_bad_sample: OnBadSample,
}

impl FeedPlan {
    /// One pass over the selection by sample id, with one reader and a step in one piece: what answers and features are made from.
    pub fn one_pass(form: TextForm, question: QuestionForm, batch_size: usize) -> FeedPlan {
        FeedPlan {
            order: Order::ById,
            form,
            question,
            batch_size,
            rule: StepRule::WHOLE,
            epochs: 1,
            start: FeedCursor::default(),
            readers: 1,
            depth: 2,
            on_bad_sample: OnBadSample::Fail,
        }
    }
}

/// What a reader passes on.
struct Made {
    ends_step: bool,
    batch: Result<HostBatch, FeedError>,
}

struct Lane {
    ready: Receiver<Made>,
    empty: Sender<HostBatch>,
}

/// A running feed. Dropping it stops the readers.
pub struct Feed {
    lanes: Vec<Lane>,
    readers: Vec<JoinHandle<()>>,
    next_lane: usize,
    // Steps still to come: a lane that ends earlier has lost its reader.
    left: u64,
    dataset: Arc<Dataset>,
}

impl Feed {
    /// Starts the readers.
    ///
    /// # Errors
    /// [`FeedError::Threads`] where the system does not give a thread for each; places of the volumes that can't be had.
    ///
    /// # Panics
    /// A batch size, reader count or depth of zero.
    pub fn start(dataset: Arc<Dataset>, samples: Arc<Samples>, plan: FeedPlan) -> Result<Feed, FeedError> {
        assert!(
            plan.batch_size > 0 && plan.readers > 0 && plan.depth > 0,
            "batch size, readers and depth are positive"
        );
        // Before the readers ask for them at once.
        dataset.places()?;
        let per_epoch = batches_per_epoch(samples.rows.len(), plan.batch_size);
        let left = (plan.epochs * per_epoch).saturating_sub(plan.start.number(per_epoch));
        let mut feed = Feed { lanes: Vec::new(), readers: Vec::new(), next_lane: 0, left, dataset: dataset.clone() };
        let readers = plan.readers;
        for reader in 0..readers {
            let (ready, ready_end) = queue::bounded(plan.depth);
            // The batches that wait, the one that is being filled, and the one that the consumer holds.
            let (empty, empty_end) = queue::bounded(plan.depth + 2);
            let (dataset, samples, plan) = (dataset.clone(), samples.clone(), plan.clone());
            let name = format!("feed-{reader}");
            let body = move || read(&dataset, &samples, &plan, reader, &ready, &empty_end);
            let spawned = thread::Builder::new().name(name).spawn(body);
            feed.readers.push(spawned.map_err(|source| FeedError::Threads { readers, source })?);
            feed.lanes.push(Lane { ready: ready_end, empty });
        }
        Ok(feed)
    }

    /// The next micro-batch in order; blocks until it is ready. `None` after the last.
    ///
    /// # Errors
    /// What the reader met in making this batch; the feed may be asked for the next one.
    pub fn next_batch(&mut self) -> Option<Result<HostBatch, FeedError>> {
        if self.left == 0 {
            return None;
        }
        let lane = self.next_lane;
        self.next_lane = (lane + 1) % self.lanes.len();
        let Some(made) = self.lanes[lane].ready.pop() else {
            self.left = 0;
            return Some(Err(FeedError::Reader { path: self.dataset.root().to_owned() }));
        };
        self.left -= u64::from(made.ends_step);
        Some(made.batch)
    }

    /// Returns a used batch to be filled again; call it before the next [`Feed::next_batch`]. Never blocks.
    pub fn recycle(&self, batch: HostBatch) {
        // The batch came from the lane before the next one. A reader that has ended, or has enough, needs no buffer.
        let lane = (self.next_lane + self.lanes.len() - 1) % self.lanes.len();
        let _ = self.lanes[lane].empty.try_push(batch);
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.lanes.clear();
        for reader in self.readers.drain(..) {
            // A panic of a reader was already seen as the end of its lane; it must not become a second one here.
            let _ = reader.join();
        }
    }
}

/// Steps of one epoch.
pub fn batches_per_epoch(samples: usize, batch_size: usize) -> u64 {
    samples.div_ceil(batch_size) as u64
}

fn read(
    dataset: &Dataset,
    samples: &Samples,
    plan: &FeedPlan,
    reader: usize,
    ready: &Sender<Made>,
    empty: &Receiver<HostBatch>,
) {
    let per_epoch = batches_per_epoch(samples.rows.len(), plan.batch_size);
    let first = plan.start.number(per_epoch);
    let (mut order, mut micro_batch) = ((u64::MAX, Vec::new()), 0);
    for number in first..plan.epochs * per_epoch {
        let FeedCursor { epoch, batch } = FeedCursor::at(number, per_epoch);
        if order.0 != epoch {
            order = (epoch, permutation(&samples.hash, &samples.rows, plan.order, epoch));
        }
        let positions = &order.1[span(batch, plan.batch_size, samples.rows.len())];
        let step = plan.rule.plan(&samples.rows, positions, plan.form);
        let count = step.as_ref().map_or(1, |step| step.micro_batches.len());
        let mut of_this_reader = Vec::new();
        for place in 0..count {
            if micro_batch % plan.readers == reader {
                of_this_reader.push(place);
            }
            micro_batch += 1;
        }
        let mut step = step.map_err(Some);
        for place in of_this_reader {
            let batch = match &mut step {
                // A step that can't be planned is one batch, of one reader.
                Err(error) => Err(error.take().expect("it is told once")),
                Ok(step) => {
                    // A consumer that keeps its batches costs an allocation each, no more.
                    let buffer = empty.try_pop().unwrap_or_default();
                    fill(buffer, dataset, samples, plan, step, place, FeedCursor::at(number + 1, per_epoch))
                }
            };
            if ready.push(Made { ends_step: place + 1 == count, batch }).is_err() {
                return;
            }
        }
    }
}

/// The micro-batch of a step at `place`.
fn fill(
    mut buffer: HostBatch,
    dataset: &Dataset,
    samples: &Samples,
    plan: &FeedPlan,
    step: &StepPlan,
    place: usize,
    cursor: FeedCursor,
) -> Result<HostBatch, FeedError> {
    let fill = match plan.on_bad_sample {
        OnBadSample::Fail => HostBatch::fill,
        OnBadSample::Skip => HostBatch::fill_without_bad,
    };
    fill(&mut buffer, dataset, &samples.rows, &step.micro_batches[place], plan.form, plan.question)?;
    buffer.cursor = cursor;
    buffer.share = StepShare {
        micro_batch: place,
        micro_batches: step.micro_batches.len(),
        targets: step.targets,
        targetless_groups: step.targetless_groups.clone(),
    };
    Ok(buffer)
}

fn span(batch: u64, batch_size: usize, samples: usize) -> Range<usize> {
    let start = batch as usize * batch_size;
    start..(start + batch_size).min(samples)
}
