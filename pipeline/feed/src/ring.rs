//! A ring of batches that are made by several threads and handed over in order, without a lock.
//!
//! One planner lays batches out, one after the other, and queues their cells. Readers take cells, not batches, oldest first, so
//! that all of them make the first batch together and a slow cell holds back its own batch alone. Who fills a batch's last
//! cell finishes it and puts it to its place in the ring, from which the consumer takes batches by number: what comes when never
//! depends on which thread was faster. A batch that the consumer drops goes back to the planner and is used again, so memory is
//! that of the batches that the ring was made with.
//!
//! Passing a cell or a batch is a compare-and-swap. Who finds nothing to do parks its thread after a short spin; whoever makes
//! something for it to do wakes it, and the parker keeps a wake-up that comes between the look and the sleep.

use std::any::Any;
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::sync::{
    ArrayQueue, AtomicBool, AtomicCell, AtomicU64, AtomicUsize, Backoff, Ordering, Parker, Unparker, Watch,
};

/// What the threads of a ring do.
pub trait Work: Send + Sync + 'static {
    /// What is handed over.
    type Batch: Send;
    /// A part of a batch that one thread fills.
    type Cell: Send;
    /// Why a batch can't be had.
    type Error: Send;

    /// Fills a cell. Gives whether it did.
    fn read(&self, cell: Self::Cell) -> bool;

    /// Ends the making of a batch whose cells were all tried, and, where `is_read`, filled.
    ///
    /// # Errors
    /// The batch is not to be had.
    fn finish(&self, batch: &mut Self::Batch, is_read: bool) -> Result<(), Self::Error>;
}

/// The number of batches before the planner has told it.
const UNKNOWN: u64 = u64::MAX;

struct Entry<W: Work> {
    batch: W::Batch,
    error: Option<W::Error>,
    /// What a thread said that panicked over it.
    panic: Option<String>,
}

/// A place of the ring: that of every batch whose number has the same rest.
struct Slot<W: Work> {
    filling: AtomicCell<Option<Box<Entry<W>>>>,
    /// Cells that are not tried yet.
    left: AtomicUsize,
    has_failed: AtomicBool,
    #[expect(clippy::box_collection, reason = "a box is one word, which is swapped without a lock")]
    panic: AtomicCell<Option<Box<String>>>,
    made: AtomicCell<Option<Box<Entry<W>>>>,
}

struct Ring<W: Work> {
    work: W,
    slots: Box<[Slot<W>]>,
    /// Each with its slot.
    cells: ArrayQueue<(usize, W::Cell)>,
    empty: ArrayQueue<Box<Entry<W>>>,
    /// Batches that the consumer has.
    held: AtomicUsize,
    /// Batches that wait for the consumer.
    ready: AtomicUsize,
    count: AtomicU64,
    is_closed: AtomicBool,
    planner: Unparker,
    readers: Vec<Unparker>,
    consumer: Unparker,
}

/// The three roles of a new ring over `batches`, each of which has at most `most_cells` cells.
///
/// # Panics
/// No batches.
pub fn ring<W: Work>(
    work: W,
    batches: Vec<W::Batch>,
    most_cells: usize,
    readers: usize,
) -> (Planner<W>, Vec<Reader<W>>, Consumer<W>) {
    assert!(!batches.is_empty(), "a ring has a batch");
    let (of_planner, of_consumer) = (Parker::new(), Parker::new());
    let of_readers: Vec<Parker> = (0..readers).map(|_| Parker::new()).collect();
    let slot = |_| Slot {
        filling: AtomicCell::new(None),
        left: AtomicUsize::new(0),
        has_failed: AtomicBool::new(false),
        panic: AtomicCell::new(None),
        made: AtomicCell::new(None),
    };
    let empty = ArrayQueue::new(batches.len());
    let ring = Ring {
        work,
        slots: (0..batches.len()).map(slot).collect(),
        cells: ArrayQueue::new(batches.len() * most_cells.max(1)),
        held: AtomicUsize::new(0),
        ready: AtomicUsize::new(0),
        count: AtomicU64::new(UNKNOWN),
        is_closed: AtomicBool::new(false),
        planner: of_planner.unparker().clone(),
        readers: of_readers.iter().map(|parker| parker.unparker().clone()).collect(),
        consumer: of_consumer.unparker().clone(),
        empty,
    };
    for batch in batches {
        let _ = ring.empty.push(Box::new(Entry { batch, error: None, panic: None }));
    }
    let ring = Arc::new(ring);
    let reader = |parker| Reader { ring: ring.clone(), parker };
    let readers = of_readers.into_iter().map(reader).collect();
    let consumer = Consumer { ring: ring.clone(), parker: of_consumer, next: 0, peeked: None, panic: None };
    (Planner { ring, parker: of_planner, next: 0 }, readers, consumer)
}

impl<W: Work> Ring<W> {
    fn slot(&self, number: u64) -> usize {
        (number % self.slots.len() as u64) as usize
    }

    fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    fn wake_readers(&self) {
        self.readers.iter().for_each(Unparker::unpark);
    }

    fn hand_over(&self, slot: usize, entry: Box<Entry<W>>) {
        self.ready.fetch_add(1, Ordering::Relaxed);
        self.slots[slot].made.store(Some(entry));
        self.consumer.unpark();
    }

    fn give_back(&self, mut entry: Box<Entry<W>>) {
        (entry.error, entry.panic) = (None, None);
        let _ = self.empty.push(entry);
        self.planner.unpark();
    }

    fn read(&self, number: usize, cell: W::Cell) {
        let slot = &self.slots[number];
        match caught(|| self.work.read(cell)) {
            Ok(true) => {}
            Ok(false) => slot.has_failed.store(true, Ordering::Relaxed),
            Err(said) => slot.panic.store(Some(Box::new(said))),
        }
        // Acquires what the others have filled and failed.
        if slot.left.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        let mut entry = slot.filling.take().expect("a batch is finished once");
        entry.panic = slot.panic.take().map(|said| *said);
        if entry.panic.is_none() {
            let is_read = !slot.has_failed.load(Ordering::Relaxed);
            match caught(|| self.work.finish(&mut entry.batch, is_read)) {
                Ok(done) => entry.error = done.err(),
                Err(said) => entry.panic = Some(said),
            }
        }
        self.hand_over(number, entry);
    }
}

/// Who lays batches out.
pub struct Planner<W: Work> {
    ring: Arc<Ring<W>>,
    parker: Parker,
    next: u64,
}

impl<W: Work> Planner<W> {
    /// Lays batches out with `plan`, which changes a batch and names its cells, in order, until it gives `None`, the consumer is
    /// gone, or it panics. A batch whose plan is an error comes as that error.
    pub fn run(mut self, mut plan: impl FnMut(&mut W::Batch, &mut Vec<W::Cell>) -> Option<Result<(), W::Error>>) {
        let mut cells = Vec::new();
        while let Some(mut entry) = self.empty() {
            match caught(|| plan(&mut entry.batch, &mut cells)) {
                Ok(None) => break,
                Ok(Some(Ok(()))) => {}
                Ok(Some(Err(error))) => {
                    cells.clear();
                    entry.error = Some(error);
                }
                Err(said) => {
                    entry.panic = Some(said);
                    self.ring.hand_over(self.ring.slot(self.next), entry);
                    self.next += 1;
                    break;
                }
            }
            self.publish(entry, &mut cells);
        }
        self.ring.count.store(self.next, Ordering::Release);
        self.ring.consumer.unpark();
        self.ring.wake_readers();
    }

    /// An empty batch; waits for one. `None` where nobody wants it any more.
    fn empty(&self) -> Option<Box<Entry<W>>> {
        loop {
            if self.ring.is_closed() {
                return None;
            }
            if let Some(entry) = self.ring.empty.pop() {
                return Some(entry);
            }
            self.parker.park();
        }
    }

    fn publish(&mut self, entry: Box<Entry<W>>, cells: &mut Vec<W::Cell>) {
        let ring = &self.ring;
        let number = ring.slot(self.next);
        self.next += 1;
        if cells.is_empty() {
            return ring.hand_over(number, entry);
        }
        let slot = &ring.slots[number];
        slot.left.store(cells.len(), Ordering::Relaxed);
        slot.has_failed.store(false, Ordering::Relaxed);
        slot.filling.store(Some(entry));
        for cell in cells.drain(..) {
            let is_room = ring.cells.push((number, cell)).is_ok();
            assert!(is_room, "no batch has more cells than the ring was made for");
        }
        ring.wake_readers();
    }
}

/// Who fills cells.
pub struct Reader<W: Work> {
    ring: Arc<Ring<W>>,
    parker: Parker,
}

impl<W: Work> Reader<W> {
    /// Fills cells until none is to come, or the consumer is gone.
    pub fn run(self) {
        let ring = &self.ring;
        let mut backoff = Backoff::new();
        while !ring.is_closed() {
            // Looked at before the cells: the planner queues the last of them before it tells that there are no more.
            let is_planned = ring.count.load(Ordering::Acquire) != UNKNOWN;
            match ring.cells.pop() {
                Some((slot, cell)) => {
                    ring.read(slot, cell);
                    backoff = Backoff::new();
                }
                None if is_planned => return,
                None if backoff.is_completed() => self.parker.park(),
                None => backoff.snooze(),
            }
        }
    }
}

/// Why there is no batch.
#[derive(Debug)]
pub enum NoBatch<E> {
    /// This one can't be had; the next one can be asked for.
    Error(E),
    /// A thread panicked over this one. There is no other, whoever asks.
    Panic(String),
    /// The consumer has all batches; it may drop one and ask again.
    AllHeld(usize),
}

/// Who takes batches. Dropping it ends the others.
pub struct Consumer<W: Work> {
    ring: Arc<Ring<W>>,
    parker: Parker,
    next: u64,
    /// The next batch, where it was waited for already.
    peeked: Option<Box<Entry<W>>>,
    panic: Option<String>,
}

impl<W: Work> Consumer<W> {
    /// Waits until [`Consumer::next`] will not block, but no longer than `most`. Gives whether it will not.
    pub fn wait(&mut self, most: Option<Duration>) -> bool {
        let (ring, watch) = (&self.ring, Watch::start());
        let backoff = Backoff::new();
        while self.peeked.is_none() && self.panic.is_none() {
            if let Some(entry) = ring.slots[ring.slot(self.next)].made.take() {
                ring.ready.fetch_sub(1, Ordering::Relaxed);
                self.peeked = Some(entry);
                break;
            }
            let is_end = ring.count.load(Ordering::Acquire) == self.next;
            if is_end || ring.held.load(Ordering::Acquire) == ring.slots.len() {
                break;
            }
            if !backoff.is_completed() {
                backoff.snooze();
                continue;
            }
            match most.map(|most| most.checked_sub(watch.elapsed())) {
                None => self.parker.park(),
                Some(Some(left)) => self.parker.park_timeout(left),
                Some(None) => return false,
            }
        }
        true
    }

    /// The next batch; waits for it. `None` behind the last one.
    #[expect(clippy::should_implement_trait, reason = "a consumer goes on after some errors and ends after others")]
    pub fn next(&mut self) -> Option<Result<Held<W>, NoBatch<W::Error>>> {
        self.wait(None);
        if let Some(said) = &self.panic {
            return Some(Err(NoBatch::Panic(said.clone())));
        }
        let Some(mut entry) = self.peeked.take() else {
            let held = self.ring.held.load(Ordering::Acquire);
            let is_end = self.ring.count.load(Ordering::Acquire) == self.next;
            return (!is_end).then_some(Err(NoBatch::AllHeld(held)));
        };
        self.next += 1;
        if let Some(said) = entry.panic.take() {
            self.panic = Some(said.clone());
            return Some(Err(NoBatch::Panic(said)));
        }
        if let Some(error) = entry.error.take() {
            self.ring.give_back(entry);
            return Some(Err(NoBatch::Error(error)));
        }
        self.ring.held.fetch_add(1, Ordering::AcqRel);
        Some(Ok(Held { entry: Some(entry), ring: self.ring.clone() }))
    }

    /// Batches that are ready now.
    pub fn ready(&self) -> usize {
        self.ring.ready.load(Ordering::Relaxed) + usize::from(self.peeked.is_some())
    }

    /// What the threads do.
    pub fn work(&self) -> &W {
        &self.ring.work
    }
}

impl<W: Work> Drop for Consumer<W> {
    fn drop(&mut self) {
        self.ring.is_closed.store(true, Ordering::Release);
        self.ring.planner.unpark();
        self.ring.wake_readers();
    }
}

/// A batch that the consumer has. Dropping it gives the batch back to be filled again; it may outlive the consumer.
pub struct Held<W: Work> {
    entry: Option<Box<Entry<W>>>,
    ring: Arc<Ring<W>>,
}

impl<W: Work> Deref for Held<W> {
    type Target = W::Batch;

    fn deref(&self) -> &W::Batch {
        &self.entry.as_ref().expect("it is there until it is dropped").batch
    }
}

impl<W: Work> DerefMut for Held<W> {
    fn deref_mut(&mut self) -> &mut W::Batch {
        &mut self.entry.as_mut().expect("it is there until it is dropped").batch
    }
}

impl<W: Work> Drop for Held<W> {
    fn drop(&mut self) {
        if let Some(entry) = self.entry.take() {
            self.ring.held.fetch_sub(1, Ordering::AcqRel);
            self.ring.give_back(entry);
        }
    }
}

/// What a function gives, or what it said when it panicked.
fn caught<T>(body: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(body)).map_err(|payload| said(&*payload))
}

/// The words of a panic.
pub(crate) fn said(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no words").to_owned()
}
