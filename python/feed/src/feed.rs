//! The class `Feed`: a run over samples, iterated batch by batch, whose state is a cursor.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use med2e3_feed::{FedBatch, FeedCursor, FeedError as RustError, FeedPlan, Sequence};
use med2e3_shards::{Dataset, Samples};
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyDict};

use crate::batch::{Tensors, dict};
use crate::dlpack::Lent;
use crate::error::{FeedError, raised};
use crate::plan::Arguments;
use crate::waiting::{SLICE, done};

/// A run over the samples of a dataset, batch after batch, each a dict of tensors in the feed's own memory.
///
/// It is its own iterator and goes on where it stood: a loop that was left is taken up by the next one. Behind its end, that of
/// `epochs` passes over the selection, another loop raises FeedError; after `load_state_dict` of that end it is empty.
#[pyclass(module = "med2e3_feed", frozen)]
pub(crate) struct Feed {
    dataset: Arc<Dataset>,
    samples: Arc<Samples>,
    plan: FeedPlan,
    tensors: Tensors,
    /// Where it was begun, or loaded, in samples since the run began.
    begun: AtomicU64,
    /// The end of the last batch that was yielded.
    position: AtomicU64,
    running: Mutex<Running>,
    /// The process that made it.
    process: u32,
}

/// What a loop works on.
#[derive(Default)]
struct Running {
    /// Started when it is first asked for something.
    feed: Option<med2e3_feed::Feed>,
    /// A batch that was taken from the feed and is not yielded yet: something was raised in between.
    taken: Option<Arc<Lent>>,
}

#[pymethods]
impl Feed {
    #[new]
    #[pyo3(
        signature = (
            path, *, batch_size, split="train", tasks=None, subset=None, form="conversation", question="llm",
            order=None, seed=0, epochs=1, tail="keep", rank=None, world_size=None, readers=2, depth=2,
            on_bad_sample="fail", tensors="torch",
        ),
        text_signature = "(path, *, batch_size, split='train', tasks=None, subset=None, form='conversation', question='llm', \
                          order='shuffled', seed=0, epochs=1, tail='keep', rank=None, world_size=None, readers=2, depth=2, \
                          on_bad_sample='fail', tensors='torch')"
    )]
    #[expect(clippy::too_many_arguments, reason = "Python gives them by name")]
    fn new(
        py: Python<'_>,
        path: PathBuf,
        batch_size: usize,
        split: &str,
        tasks: Option<Vec<String>>,
        subset: Option<String>,
        form: &str,
        question: &str,
        order: Option<&Bound<'_, PyAny>>,
        seed: u64,
        epochs: u64,
        tail: &str,
        rank: Option<usize>,
        world_size: Option<usize>,
        readers: usize,
        depth: usize,
        on_bad_sample: &str,
        tensors: &str,
    ) -> PyResult<Feed> {
        #[rustfmt::skip]
        let arguments = Arguments {
            split, tasks, subset, form, question, order, seed, batch_size, epochs, tail, rank, world_size, readers, depth,
            on_bad_sample,
        };
        let (selection, mut plan) = (arguments.selection()?, arguments.plan()?);
        let tensors = Tensors::named(py, tensors, py.get_type::<Feed>().as_any())?;
        let order = plan.order.clone();
        let open = move || -> Result<(Dataset, Samples), RustError> {
            let dataset = Dataset::open(&path)?;
            let samples = dataset.select(&selection)?;
            Sequence::new(&samples.hash, &samples, &order)?;
            Ok((dataset, samples))
        };
        let (dataset, samples) = done(py, open)?.map_err(raised)?;
        plan.steps(samples.len()).map_err(raised)?;
        // What comes first in a text is no target, unless a volume's tokens come before it.
        plan.rule.splicing.visual_tokens = dataset.index().visual_tokens as usize;
        Ok(Feed {
            dataset: Arc::new(dataset),
            samples: Arc::new(samples),
            plan,
            tensors,
            begun: AtomicU64::new(0),
            position: AtomicU64::new(0),
            running: Mutex::default(),
            process: std::process::id(),
        })
    }

    /// The feed itself, at the batch behind the last one that was yielded.
    ///
    /// Raises FeedError where all was yielded.
    fn __iter__(slf: PyRef<'_, Self>) -> PyResult<PyRef<'_, Self>> {
        slf.check_process()?;
        slf.check_left()?;
        Ok(slf)
    }

    /// The next batch; waits for it. Other threads run meanwhile, and Ctrl-C is heard.
    ///
    /// Raises FeedError for a batch that can't be had, and where all batches of the feed are held: they come back when their tensors
    /// are gone.
    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let mut running = self.lock()?;
        if running.taken.is_none() {
            let Some(batch) = self.taken(py, &mut running)? else { return Ok(None) };
            running.taken = Some(Lent::new(batch, self.dataset.voxels()));
        }
        let Some(lent) = &running.taken else { return Ok(None) };
        let dict = dict(py, lent, self.dataset.voxels(), &self.tensors)?;
        self.position.store(lent.batch().position, Ordering::Relaxed);
        running.taken = None;
        Ok(Some(dict))
    }

    /// Batches of the whole run, whatever is loaded.
    fn __len__(&self) -> PyResult<usize> {
        Ok(self.plan.steps(self.samples.len()).map_err(raised)?.count() as usize)
    }

    /// The batches up to the end of the epoch at which the feed is, as an iterator.
    ///
    /// With `tail="straddle"` up to the first batch that ends in the next epoch or at its start. Raises FeedError where all was
    /// yielded.
    fn epoch(slf: Bound<'_, Self>) -> PyResult<Epoch> {
        let feed = slf.get();
        feed.check_process()?;
        feed.check_left()?;
        let samples = feed.samples();
        let end = (feed.position() / samples + 1).saturating_mul(samples);
        Ok(Epoch { feed: slf.unbind(), end })
    }

    /// The cursor behind the last batch that was yielded: a dict of plain values, at most 512 bytes as JSON.
    fn state_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.check_process()?;
        let cursor = self.plan.cursor(self.samples.hash, self.position());
        py.import("json")?.call_method1("loads", (cursor.to_json(),))
    }

    /// Goes on behind a cursor of `state_dict`. Batch size, ranks, readers and depth may be others than they were.
    ///
    /// Batches that are read ahead are dropped, and the feed gets new memory. Raises FeedError for a cursor of other samples, of
    /// another order, seed or tail, or behind the end; the feed then stays where it is.
    fn load_state_dict(&self, py: Python<'_>, state_dict: &Bound<'_, PyAny>) -> PyResult<()> {
        let mut running = self.lock()?;
        let compact = [("separators", (",", ":"))].into_py_dict(py)?;
        let text: String = py.import("json")?.call_method("dumps", (state_dict,), Some(&compact))?.extract()?;
        let cursor = FeedCursor::from_json(text.as_bytes()).map_err(raised)?;
        cursor.check(&self.plan.cursor(self.samples.hash, 0)).map_err(raised)?;
        let plan = FeedPlan { start: cursor.position, ..self.plan.clone() };
        plan.steps(self.samples.len()).map_err(raised)?;
        self.leave(&mut running);
        self.begun.store(cursor.position, Ordering::Relaxed);
        self.position.store(cursor.position, Ordering::Relaxed);
        Ok(())
    }

    /// Where the memory of all batches is: `[(address, bytes), ...]`, the same until `load_state_dict` or `close`. Every tensor of a
    /// batch begins at one of the addresses. To pin it for copies to a GPU: `torch.cuda.cudart().cudaHostRegister(address, bytes, 0)`.
    fn blocks(&self, py: Python<'_>) -> PyResult<Vec<(usize, usize)>> {
        let mut running = self.lock()?;
        Ok(self.started(py, &mut running)?.memory().to_vec())
    }

    /// Ends the feed's threads and waits for them. What is iterated afterwards starts them again, at the same place.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let mut running = self.lock()?;
        let running = std::mem::take(&mut *running);
        py.detach(|| drop(running));
        Ok(())
    }

    /// Samples of an epoch, of all ranks.
    #[getter]
    fn samples(&self) -> u64 {
        self.samples.len() as u64
    }

    /// Samples that were left out because a volume of theirs is not in the dataset.
    #[getter]
    fn without_volume(&self) -> u64 {
        self.samples.without_volume
    }

    /// Samples since the run began, of all ranks, up to the end of the last batch that was yielded.
    #[getter]
    fn position(&self) -> u64 {
        self.position.load(Ordering::Relaxed)
    }

    /// The rank that is fed, from 0.
    #[getter]
    fn rank(&self) -> usize {
        self.plan.rank
    }

    /// Ranks that share each batch.
    #[getter]
    fn world_size(&self) -> usize {
        self.plan.world_size
    }

    fn __repr__(&self) -> String {
        let (path, samples, position) = (self.dataset.root().display(), self.samples(), self.position());
        format!("Feed({path}: {samples} samples, {} epochs, at position {position})", self.plan.epochs)
    }
}

impl Feed {
    /// The state of its loop.
    ///
    /// # Errors
    /// It is another process's, or another thread is at it.
    fn lock(&self) -> PyResult<MutexGuard<'_, Running>> {
        self.check_process()?;
        match self.running.try_lock() {
            Ok(running) => Ok(running),
            Err(TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => {
                Err(FeedError::new_err("the feed: expected one thread at a time, found another one that is at it"))
            }
        }
    }

    fn check_process(&self) -> PyResult<()> {
        let here = std::process::id();
        if here == self.process {
            return Ok(());
        }
        Err(FeedError::new_err(format!(
            "the feed: expected process {}, which made it, found process {here}: a fork has none of its threads. Make a feed in each \
             process; a loader of torch takes it with num_workers=0",
            self.process
        )))
    }

    /// Whether there is something left, or there was nothing from the beginning.
    fn check_left(&self) -> PyResult<()> {
        let end = self.plan.epochs.saturating_mul(self.samples());
        if self.position() < end || self.begun.load(Ordering::Relaxed) == end {
            return Ok(());
        }
        Err(FeedError::new_err(format!(
            "the feed: expected samples that are left, found that all {} epochs were fed: make it with more epochs, or load a state",
            self.plan.epochs
        )))
    }

    /// The feed with its threads.
    fn started<'a>(&self, py: Python<'_>, running: &'a mut Running) -> PyResult<&'a mut med2e3_feed::Feed> {
        if running.feed.is_none() {
            let (dataset, samples) = (self.dataset.clone(), self.samples.clone());
            let plan = FeedPlan { start: self.position(), ..self.plan.clone() };
            let start = move || med2e3_feed::Feed::start(dataset, samples, plan);
            running.feed = Some(done(py, start)?.map_err(raised)?);
        }
        Ok(running.feed.as_mut().expect("it was just started"))
    }

    /// The next batch of the feed; waits for it.
    fn taken(&self, py: Python<'_>, running: &mut Running) -> PyResult<Option<FedBatch>> {
        let feed = self.started(py, running)?;
        while !py.detach(|| feed.wait(SLICE)) {
            py.check_signals()?;
        }
        feed.next_batch().transpose().map_err(raised)
    }

    /// Ends the loop's feed without waiting for its threads, which are only there in the process that made it.
    fn leave(&self, running: &mut Running) {
        running.taken = None;
        match running.feed.take() {
            Some(feed) if self.process == std::process::id() => feed.leave(),
            feed => std::mem::forget(feed),
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let mut running = std::mem::take(self.running.get_mut().unwrap_or_else(PoisonError::into_inner));
        self.leave(&mut running);
    }
}

/// The batches up to the end of an epoch.
#[pyclass(module = "med2e3_feed", frozen)]
pub(crate) struct Epoch {
    feed: Py<Feed>,
    /// The position at which it ends.
    end: u64,
}

#[pymethods]
impl Epoch {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    /// The next batch, as the feed gives it.
    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let feed = self.feed.bind(py).get();
        if feed.position() < self.end { feed.__next__(py) } else { Ok(None) }
    }
}
