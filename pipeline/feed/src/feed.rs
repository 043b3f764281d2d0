//! The flow from dataset to batches: order -> step plan -> lay out -> read -> [`FedBatch`].
//!
//! A step is planned from ids alone and comes as one micro-batch or several. One thread plans and lays out texts, readers fill the
//! voxels of batches cell by cell, and the consumer takes batches in order (see [`crate::ring`]). So what comes when depends on the
//! order alone, never on which thread was faster. Memory is that of [`FeedPlan::batches`] batches, whatever the readers.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use med2e3_schemas::Id;
use med2e3_shards::{Dataset, Samples, Watch};

use crate::batch::Room;
use crate::block::Cell;
use crate::order::steps::share;
use crate::ring::{self, Consumer, NoBatch, Planner, Work};
use crate::step_plan::{StepPlan, StepRule};
use crate::{
    FeedCursor, FeedError, HostBatch, OnBadSample, Order, QuestionForm, Sequence, Spent, Steps, Tail, TextForm,
    TextLayout, Totals,
};

/// Batches that the consumer may have without slowing the feed: one that is used, and one that travels to a device.
pub const HELD: usize = 2;

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
    /// Micro-batches that are made ahead of the consumer, who may have two more.
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

    /// Batches of a feed: what is made ahead, and what the consumer has.
    pub fn batches(&self) -> usize {
        self.depth + HELD
    }

    fn layout(&self) -> TextLayout {
        TextLayout { form: self.form, question: self.question }
    }

    /// The most that a micro-batch of these samples holds, of a dataset of so many volumes: from the table of texts alone, so that no
    /// text is read for it. Room that is never filled takes no memory.
    fn room(&self, samples: &Samples, volumes: usize, cell_bytes: usize) -> Room {
        let most = |of: fn(&Samples, usize) -> usize| (0..samples.len()).map(|at| of(samples, at)).max().unwrap_or(0);
        let unit = self.order.unit().max(1);
        let of_rank = self.batch_size.div_ceil(unit).div_ceil(self.world_size).saturating_mul(unit);
        // A step that goes on into the next epoch may have a sample twice.
        let epochs = if self.tail == Tail::Straddle { usize::try_from(self.epochs).unwrap_or(usize::MAX) } else { 1 };
        let texts = of_rank.min(self.batch_size).min(samples.len().saturating_mul(epochs));
        let shown = most(Samples::volume_count);
        // A text that alone shows more than the budget allows is a micro-batch of its own.
        let by_texts = texts.saturating_mul(shown).min(self.rule.budget.volumes.max(shown));
        let is_known = shown < Samples::MANY_VOLUMES;
        // A caption or a question is a part of its conversation; a text encoder's has two tokens more.
        let ids = most(Samples::ids_len);
        Room {
            texts,
            ids,
            question_ids: ids + 2,
            shown,
            volumes: if is_known { by_texts.min(volumes) } else { volumes },
            cell_bytes,
        }
    }
}

/// A batch of a feed. Dropping it gives its memory back to the feed, which it may outlive.
pub type FedBatch = ring::Held<Reading>;

/// What the readers of a feed do.
pub struct Reading {
    dataset: Arc<Dataset>,
    samples: Arc<Samples>,
    plan: FeedPlan,
    totals: Arc<Totals>,
}

impl Work for Reading {
    type Batch = HostBatch;
    type Cell = (Id, Cell<u8>);
    type Error = FeedError;

    fn read(&self, (volume, mut cell): (Id, Cell<u8>)) -> bool {
        let read = || self.dataset.read_cell(volume, &mut cell).map(|cost| self.totals.add(&cost.into())).is_ok();
        catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|payload| {
            let place = self.dataset.places().ok().and_then(|places| places.find(volume));
            let row = place.map_or(String::new(), |place| {
                format!(", row {} of {}", place.row, self.dataset.index().volumes[place.shard as usize].path)
            });
            resume_unwind(Box::new(format!("volume {volume}{row}: {}", ring::said(&*payload))))
        })
    }

    fn finish(&self, batch: &mut HostBatch, is_read: bool) -> Result<(), FeedError> {
        // A batch with a volume that did not read is made again by one thread, in order: so its error is always the same, and a
        // read that failed once does no harm.
        match (is_read, self.plan.on_bad_sample) {
            (true, _) => Ok(()),
            (false, OnBadSample::Fail) => batch.fill_again(&self.dataset, &self.samples, self.plan.layout()),
            (false, OnBadSample::Skip) => batch.fill_without_bad(&self.dataset, &self.samples, self.plan.layout()),
        }
    }
}

/// A running feed. Dropping it stops its threads.
pub struct Feed {
    // `None` once it is being dropped.
    consumer: Option<Consumer<Reading>>,
    threads: Vec<JoinHandle<()>>,
    memory: Vec<(usize, usize)>,
}

impl Feed {
    /// Starts the threads.
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
        let sequence = Sequence::new(&samples.hash, &samples, &plan.order)?;
        let steps = plan.steps(samples.len())?;
        // Before the readers ask for them at once.
        let volumes = dataset.places()?.all().len();
        let room = plan.room(&samples, volumes, dataset.voxels().cell_bytes());
        let batches: Vec<HostBatch> = (0..plan.batches()).map(|_| HostBatch::with_room(&room)).collect();
        let memory = batches.iter().flat_map(HostBatch::memory).collect();
        let count = plan.readers;
        let totals = Arc::new(Totals::default());
        let work =
            Reading { dataset: dataset.clone(), samples: samples.clone(), plan: plan.clone(), totals: totals.clone() };
        let (planner, readers, consumer) = ring::ring(work, batches, room.volumes, count);
        let mut feed = Feed { consumer: Some(consumer), threads: Vec::new(), memory };
        let mut spawn = |name: String, body: Box<dyn FnOnce() + Send>| {
            let spawned = thread::Builder::new().name(name).spawn(body);
            spawned
                .map(|thread| feed.threads.push(thread))
                .map_err(|source| FeedError::Threads { readers: count, source })
        };
        let lay_out = move || lay_out(planner, &dataset, &samples, &plan, &totals, &sequence, steps);
        spawn("feed-plan".into(), Box::new(lay_out))?;
        for (number, reader) in readers.into_iter().enumerate() {
            spawn(format!("feed-{number}"), Box::new(move || reader.run()))?;
        }
        Ok(feed)
    }

    /// The next micro-batch in order; blocks until it is ready. `None` after the last.
    ///
    /// # Errors
    /// What was met in making this batch; the feed may be asked for the next one. [`FeedError::Panic`], again and again.
    /// [`FeedError::AllHeld`] where the caller has all batches of the feed: it has to drop one first.
    pub fn next_batch(&mut self) -> Option<Result<FedBatch, FeedError>> {
        let next = self.consumer.as_mut()?.next()?;
        Some(next.map_err(|problem| match problem {
            NoBatch::Error(error) => error,
            NoBatch::Panic(said) => {
                let path = self.consumer().work().dataset.root().to_owned();
                FeedError::Panic { path, said }
            }
            NoBatch::AllHeld(batches) => FeedError::AllHeld { batches },
        }))
    }

    /// Waits until [`Feed::next_batch`] will not block, but no longer than `most`. Gives whether it will not.
    pub fn wait(&mut self, most: Duration) -> bool {
        self.consumer.as_mut().is_none_or(|consumer| consumer.wait(Some(most)))
    }

    /// Micro-batches that are ready now.
    pub fn ready(&self) -> usize {
        self.consumer().ready()
    }

    /// Where the memory of all its batches is: the addresses and bytes of their arrays. They stay the same for the feed's life, so
    /// a caller may pin them once for copies to a device.
    pub fn memory(&self) -> &[(usize, usize)] {
        &self.memory
    }

    /// Ends the feed as dropping it does, without waiting for its threads: each ends after the cell at which it is.
    pub fn leave(mut self) {
        self.threads.clear();
    }

    /// What its threads did so far, for batches that are yet to come too.
    pub fn spent(&self) -> Spent {
        self.consumer().work().totals.spent()
    }

    fn consumer(&self) -> &Consumer<Reading> {
        self.consumer.as_ref().expect("it is there until the feed is dropped")
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.consumer = None;
        for thread in self.threads.drain(..) {
            // A panic was already told; it must not become a second one here.
            let _ = thread.join();
        }
    }
}

/// Plans step after step and lays out their micro-batches.
fn lay_out(
    planner: Planner<Reading>,
    dataset: &Dataset,
    samples: &Samples,
    plan: &FeedPlan,
    totals: &Totals,
    sequence: &Sequence,
    steps: Steps,
) {
    let (mut walk, mut next, cell_bytes) = (sequence.walk(), 0..steps.count(), dataset.voxels().cell_bytes());
    // The step whose micro-batches are laid out, its number, and how many of them are.
    let (mut step, mut number, mut place, mut positions) = (StepPlan::default(), 0, 0, Vec::new());
    planner.run(|batch, cells| {
        let watch = Watch::start();
        if place == step.len() {
            number = next.next()?;
            place = 0;
            positions.clear();
            positions.extend(steps.positions(number).map(|position| walk.at(position)));
            let own = share(positions.len(), plan.order.unit(), plan.rank, plan.world_size);
            if let Err(problem) = plan.rule.plan_share(&mut step, samples, &positions, own, plan.form) {
                return Some(Err(problem));
            }
        }
        batch.position = steps.position_after(number);
        (batch.share.micro_batch, batch.share.micro_batches, batch.share.targets) = (place, step.len(), step.targets);
        batch.share.targetless_groups.clone_from(&step.targetless_groups);
        let planned = step.micro_batch(place);
        place += 1;
        let laid_out = batch.lay_out(samples, planned, plan.layout(), cell_bytes);
        // A disk then reads while batches before this one are filled.
        batch.volume_ids.iter().for_each(|volume| dataset.will_read(*volume));
        let laid_out = laid_out.map(|()| cells.extend(batch.cells(cell_bytes)));
        totals.add(&Spent { collate: watch.elapsed(), ..Spent::default() });
        Some(laid_out)
    });
}
