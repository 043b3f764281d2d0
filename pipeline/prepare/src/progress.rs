//! What a person sees while a run goes on, and the only clocks of this crate: a bar with a rate on a terminal, a line
//! every few seconds otherwise, and thread seconds by step.

use std::fmt;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use med2e3_schemas::outcome::RangeOutcome;

/// Seconds between lines where there is no terminal.
const LINE_SECONDS: u64 = 10;

/// Progress over a known number of things.
pub struct Progress {
    bar: ProgressBar,
    what: &'static str,
    started: Instant,
    rejected: AtomicU64,
    next_line: AtomicU64,
    terminal: bool,
}

impl Progress {
    /// A bar for `total` things such as "volumes".
    pub fn new(total: u64, what: &'static str) -> Progress {
        let terminal = std::io::stderr().is_terminal();
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
        let template =
            format!("{{spinner}} {what:<8} {{bar:32}} {{pos}}/{{len}}  {{rate:>8}}  {{elapsed}}<{{eta}}  {{msg}}");
        let rate = |state: &ProgressState, text: &mut dyn fmt::Write| {
            // A terminal that refuses a few characters loses them, nothing else.
            let _ = write!(text, "{:.1}/s", state.per_sec());
        };
        let style = ProgressStyle::with_template(&template).expect("the template is valid");
        bar.set_style(style.with_key("rate", rate).progress_chars("=> "));
        Progress {
            bar,
            what,
            started: Instant::now(),
            rejected: AtomicU64::new(0),
            next_line: AtomicU64::new(LINE_SECONDS),
            terminal,
        }
    }

    /// Counts without a display.
    pub fn hidden() -> Progress {
        Progress { bar: ProgressBar::hidden(), terminal: true, ..Progress::new(0, "") }
    }

    /// One more thing is done; `accepted` says whether it became a row.
    pub fn step(&self, accepted: bool) {
        self.bar.inc(1);
        if !accepted {
            let rejected = self.rejected.fetch_add(1, Ordering::Relaxed) + 1;
            self.bar.set_message(format!("{rejected} set aside"));
        }
        let seconds = self.started.elapsed().as_secs();
        let due = self.next_line.load(Ordering::Relaxed);
        let mine = seconds >= due
            && self
                .next_line
                .compare_exchange(due, seconds + LINE_SECONDS, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if !self.terminal && mine {
            self.line();
        }
    }

    /// A whole range that an earlier run had done.
    pub fn skip(&self, outcome: &RangeOutcome) {
        let rejects = outcome.rejects.len() as u64;
        (0..outcome.manifest_rows).for_each(|row| self.step(row >= rejects));
    }

    /// The last word: how many, how fast.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
        self.line();
    }

    fn line(&self) {
        let (done, total) = (self.bar.position(), self.bar.length().unwrap_or(0));
        let seconds = self.started.elapsed().as_secs_f64();
        let rejected = self.rejected.load(Ordering::Relaxed);
        eprintln!(
            "{:<8} {done}/{total}, {rejected} set aside, {seconds:.1} s, {:.1}/s",
            self.what,
            done as f64 / seconds.max(1e-9)
        );
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

/// A wall clock that starts with its making.
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts.
    pub fn start() -> Stopwatch {
        Stopwatch(Instant::now())
    }

    /// Seconds since the start.
    pub fn seconds(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}
