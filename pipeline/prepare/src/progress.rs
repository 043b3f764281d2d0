//! Rows that are done, and thread time by step: the only clocks of this crate.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use med2e3_program::Progress;
use med2e3_schemas::outcome::RangeOutcome;

/// Progress over a table's rows, and how many of them were set aside.
pub struct RowProgress {
    progress: Progress,
    rejected: AtomicU64,
}

impl RowProgress {
    /// A display for `total` rows of `what`, such as "volumes".
    pub fn new(total: u64, what: &'static str) -> RowProgress {
        let progress = Progress::new(total, 0, what);
        progress.set_message("0 set aside".into());
        RowProgress { progress, rejected: AtomicU64::new(0) }
    }

    /// Counts without a display.
    pub fn hidden() -> RowProgress {
        RowProgress { progress: Progress::hidden(), rejected: AtomicU64::new(0) }
    }

    /// One more row is done; `accepted` says whether it is in a shard.
    pub fn step(&self, accepted: bool) {
        if !accepted {
            let rejected = self.rejected.fetch_add(1, Ordering::Relaxed) + 1;
            self.progress.set_message(format!("{rejected} set aside"));
        }
        self.progress.add(1);
    }

    /// A whole range that an earlier run had done.
    pub fn skip(&self, outcome: &RangeOutcome) {
        let rejects = outcome.rejects.len() as u64;
        (0..outcome.manifest_rows).for_each(|row| self.step(row >= rejects));
    }

    /// Prints the last line: how many, how fast.
    pub fn finish(&self) {
        self.progress.finish();
    }
}

/// Thread time spent in the steps of one piece of work.
#[derive(Default)]
pub struct StepClock {
    nanoseconds: [AtomicU64; Step::ALL.len()],
}

/// The steps that are timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A range's wait for a thread.
    Wait,
    /// An input's bytes into memory.
    Read,
    /// Its gzip streams.
    Inflate,
    /// Bytes to samples: pictures, byte orders.
    Decode,
    /// Min-max, crop and resample.
    Resample,
    /// Values to codes, hashes.
    Encode,
    /// Tokenizing a text.
    Tokenize,
    /// Compressing and writing a shard.
    Write,
}

impl Step {
    /// Every step, in order.
    pub const ALL: [Step; 8] = [
        Step::Wait,
        Step::Read,
        Step::Inflate,
        Step::Decode,
        Step::Resample,
        Step::Encode,
        Step::Tokenize,
        Step::Write,
    ];

    /// The step's word in reports and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Step::Wait => "wait",
            Step::Read => "read",
            Step::Inflate => "inflate",
            Step::Decode => "decode",
            Step::Resample => "resample",
            Step::Encode => "encode",
            Step::Tokenize => "tokenize",
            Step::Write => "write",
        }
    }
}

impl StepClock {
    /// Runs `work` and adds its time to a step.
    pub fn time<T>(&self, step: Step, work: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let result = work();
        self.add(step, started.elapsed());
        result
    }

    /// Starts a lap in `step`, which ends when it is dropped.
    pub fn lap(self: &Arc<Self>, step: Step) -> Lap {
        Lap { clock: self.clone(), step, started: Instant::now() }
    }

    fn add(&self, step: Step, time: Duration) {
        self.nanoseconds[step as usize].fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
    }

    /// The time of a step so far.
    pub fn total(&self, step: Step) -> Duration {
        Duration::from_nanos(self.nanoseconds[step as usize].load(Ordering::Relaxed))
    }

    /// Seconds by step so far.
    pub fn seconds(&self) -> StepSeconds {
        StepSeconds(Step::ALL.map(|step| self.total(step).as_secs_f64()))
    }
}

/// Time that goes to one step after the other.
pub struct Lap {
    clock: Arc<StepClock>,
    step: Step,
    started: Instant,
}

impl Lap {
    /// Ends the step and begins another.
    pub fn switch(&mut self, step: Step) {
        let now = Instant::now();
        self.clock.add(self.step, now - self.started);
        (self.step, self.started) = (step, now);
    }
}

impl Drop for Lap {
    fn drop(&mut self) {
        self.switch(self.step);
    }
}

/// Thread seconds by step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StepSeconds([f64; Step::ALL.len()]);

impl StepSeconds {
    /// The seconds of one step.
    pub fn of(&self, step: Step) -> f64 {
        self.0[step as usize]
    }
}
