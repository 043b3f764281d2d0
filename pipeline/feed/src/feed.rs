//! The flow from dataset to batches: order -> step plan -> readers -> collate -> queue -> [`HostBatch`].
//!
//! A step is planned from ids alone, by every reader in the same way, and comes as one micro-batch or several. Micro-batch k,
//! counted from the start, is made by reader k modulo the number of readers, each with its own queue, and the consumer takes
//! from the queues in turn. So what comes when depends on the order alone, never on which thread was faster. Used batches travel
//! back the same way and are filled again, so that in steady state no batch is allocated.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use med2e3_shards::{Dataset, Samples};

use crate::order::steps::share;
use crate::queue::{self, Receiver, Sender};
use crate::step_plan::{StepPlan, StepRule};
use crate::{
    FeedCursor, FeedError, HostBatch, OnBadSample, Order, QuestionForm, Sequence, Spent, StepShare, Steps, Tail,
    TextForm, Totals,
};

/// What to feed and how.
#[derive(Clone, Debug)]
pub struct FeedPlan {
    /// Which sample comes when.
    pub order: Order,
    /// What becomes of an epoch's last samples.
    pub tail: Tail,
    /// Form of the text.
    pub form: TextForm,
    /// Tokens of the question.
    pub question: QuestionForm,
    /// Samples a step, of all ranks together.
    pub batch_size: usize,
    /// How a step is cut.
    pub rule: StepRule,
    /// Passes over the selection.
    pub epochs: u64,
    /// The position to begin at, in samples since the run began.
    pub start: u64,
    /// The rank that is fed, from 0.
    pub rank: usize,
    /// Ranks that share each step.
    pub world_size: usize,
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
            tail: Tail::Keep,
            form,
            question,
            batch_size,
            rule: StepRule::WHOLE,
            epochs: 1,
            start: 0,
            rank: 0,
            world_size: 1,
            readers: 1,
            depth: 2,
            on_bad_sample: OnBadSample::Fail,
        }
    }

    /// The steps over so many samples.
    ///
    /// # Errors
    /// A rank outside the ranks, fewer samples a step than ranks, groups or buckets that do not divide a step; as
    /// [`Steps::new`].
    pub fn steps(&self, samples: usize) -> Result<Steps, FeedError> {
        let FeedPlan { batch_size: batch, rank, world_size: ranks, .. } = *self;
        FeedError::check("the rank", rank < ranks, || format!("0 to below {ranks}, the ranks"), || rank.to_string())?;
        FeedError::check(
            "the batch",
            batch >= ranks,
            || format!("{ranks} or more, one sample a rank"),
            || batch.to_string(),
        )?;
        let unit = self.order.batch_unit().max(1);
        let divides = batch.is_multiple_of(unit);
        FeedError::check(
            "the order",
            divides,
            || format!("texts that come together to divide the batch of {batch}"),
            || unit.to_string(),
        )?;
        Steps::new(samples as u64, self.epochs, batch as u64, self.tail, self.start)
    }

    /// The cursor at a position of the selection with this hash.
    pub fn cursor(&self, selection: [u8; 32], position: u64) -> FeedCursor {
        FeedCursor { selection, order: self.order.clone(), tail: self.tail, position }
    }
}

/// What a reader passes on.
struct Made {
    ends_step: bool,
    batch: Result<HostBatch, FeedError>,
}

/// What comes when, for all readers, and what they did.
struct Way {
    sequence: Sequence,
    steps: Steps,
    totals: Totals,
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
    way: Arc<Way>,
}

impl Feed {
    /// Starts the readers.
    ///
    /// # Errors
    /// An order that does not fit the samples; as [`FeedPlan::steps`]; [`FeedError::Threads`] where the system does not give a thread for
    /// each; places of the volumes that can't be had.
    ///
    /// # Panics
    /// A batch size, reader count or depth of zero.
    pub fn start(dataset: Arc<Dataset>, samples: Arc<Samples>, plan: FeedPlan) -> Result<Feed, FeedError> {
        assert!(
            plan.batch_size > 0 && plan.readers > 0 && plan.depth > 0,
            "batch size, readers and depth are positive"
        );
        let sequence = Sequence::new(&samples.hash, &samples.rows, &plan.order)?;
        let way = Arc::new(Way { sequence, steps: plan.steps(samples.rows.len())?, totals: Totals::default() });
        let left = way.steps.count();
        // Before the readers ask for them at once.
        dataset.places()?;
        let mut feed = Feed {
            lanes: Vec::new(),
            readers: Vec::new(),
            next_lane: 0,
            left,
            dataset: dataset.clone(),
            way: way.clone(),
        };
        let readers = plan.readers;
        for reader in 0..readers {
            let (ready, ready_end) = queue::bounded(plan.depth);
            // The batches that wait, the one that is being filled, and the one that the consumer holds.
            let (empty, empty_end) = queue::bounded(plan.depth + 2);
            let (dataset, samples, way, plan) = (dataset.clone(), samples.clone(), way.clone(), plan.clone());
            let name = format!("feed-{reader}");
            let body = move || read(&dataset, &samples, &way, &plan, reader, &ready, &empty_end);
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

    /// Micro-batches that are ready, without waiting.
    pub fn ready(&self) -> usize {
        self.lanes.iter().map(|lane| lane.ready.len()).sum()
    }

    /// What the readers did so far, for batches that are yet to come too.
    pub fn spent(&self) -> Spent {
        self.way.totals.spent()
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

fn read(
    dataset: &Dataset,
    samples: &Samples,
    way: &Way,
    plan: &FeedPlan,
    reader: usize,
    ready: &Sender<Made>,
    empty: &Receiver<HostBatch>,
) {
    let Way { sequence, steps, totals } = way;
    let (mut walk, mut micro_batch) = (sequence.walk(), 0);
    for number in 0..steps.count() {
        let positions: Vec<u32> = steps.positions(number).map(|position| walk.at(position)).collect();
        let own = share(positions.len(), plan.order.unit(), plan.rank, plan.world_size);
        let step = plan.rule.plan_share(&samples.rows, &positions, own, plan.form);
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
                    let filled = fill(buffer, dataset, samples, plan, step, place, steps.position_after(number));
                    filled.inspect(|batch| totals.add(&batch.spent))
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
    position: u64,
) -> Result<HostBatch, FeedError> {
    let fill = match plan.on_bad_sample {
        OnBadSample::Fail => HostBatch::fill,
        OnBadSample::Skip => HostBatch::fill_without_bad,
    };
    fill(&mut buffer, dataset, &samples.rows, &step.micro_batches[place], plan.form, plan.question)?;
    buffer.position = position;
    buffer.share = StepShare {
        micro_batch: place,
        micro_batches: step.micro_batches.len(),
        targets: step.targets,
        targetless_groups: step.targetless_groups.clone(),
    };
    Ok(buffer)
}
