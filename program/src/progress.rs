//! What a person sees while a run goes on, and the only clocks: a bar with a rate on a terminal, a line every few seconds
//! otherwise.

use std::fmt;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use crate::pace::{Pace, in_words};
use crate::{note, visible};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// Seconds between lines where there is no terminal.
const LINE_SECONDS: u64 = 10;

/// Progress over a known number of items, with a message of the moment. Several threads may report to one.
pub struct Progress {
    bar: ProgressBar,
    what: &'static str,
    // Items that an earlier run had done.
    before: u64,
    watch: Stopwatch,
    pace: Arc<Mutex<Pace>>,
    message: Mutex<String>,
    next_line: AtomicU64,
    shows_lines: bool,
}

impl Progress {
    /// A bar for `total` items such as "volumes", of which `done` were done before.
    pub fn new(total: u64, done: u64, what: &'static str) -> Progress {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr()).with_position(done);
        let template = format!(
            "{{spinner}} {what:<8} {{bar:32}} {{pos}}/{{len}}  {{rate:>8}}  {{elapsed}}<{{left}}  {{wide_msg}}"
        );
        let rate = |state: &ProgressState, text: &mut dyn fmt::Write| {
            // A terminal that refuses a few characters loses them, nothing else.
            let _ = write!(text, "{:.1}/s", state.per_sec());
        };
        let pace = Arc::new(Mutex::new(Pace::default()));
        let own = pace.clone();
        let left = move |state: &ProgressState, text: &mut dyn fmt::Write| {
            let median = own.lock().unwrap_or_else(PoisonError::into_inner).median();
            let items = state.len().unwrap_or(0).saturating_sub(state.pos());
            let seconds = median.map_or_else(|| state.eta().as_secs_f64(), |seconds| seconds * items as f64);
            let _ = write!(text, "{}", in_words(seconds));
        };
        let style = ProgressStyle::with_template(&template).expect("the template is valid");
        bar.set_style(style.with_key("rate", rate).with_key("left", left).progress_chars("=> "));
        bar.reset_eta();
        Progress {
            bar,
            what,
            before: done,
            watch: Stopwatch::start(),
            pace,
            message: Mutex::new(String::new()),
            next_line: AtomicU64::new(LINE_SECONDS),
            shows_lines: !std::io::stderr().is_terminal(),
        }
    }

    /// Counts without a display.
    pub fn hidden() -> Progress {
        Progress { bar: ProgressBar::hidden(), shows_lines: false, ..Progress::new(0, 0, "") }
    }

    /// `count` more are done.
    pub fn add(&self, count: u64) {
        self.bar.inc(count);
        let seconds = self.watch.seconds() as u64;
        let due = self.next_line.load(Ordering::Relaxed);
        let take =
            || self.next_line.compare_exchange(due, seconds + LINE_SECONDS, Ordering::Relaxed, Ordering::Relaxed);
        // One thread takes each line; the last one is `finish`'s.
        let is_last = self.bar.length().is_some_and(|total| self.bar.position() >= total);
        if self.shows_lines && !is_last && seconds >= due && take().is_ok() {
            self.line();
        }
    }

    /// One more is done and took so many seconds. The time that is left then follows from the median of late, not from the mean:
    /// use it where items come one after the other.
    pub fn add_timed(&self, seconds: f64) {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner).add(seconds);
        self.add(1);
    }

    /// Says how it goes, from now on.
    pub fn set_message(&self, message: String) {
        self.bar.set_message(visible::value(&message).into_owned());
        *self.message.lock().unwrap_or_else(PoisonError::into_inner) = message;
    }

    /// Removes the bar and prints the last line: how many, how fast.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
        self.line();
    }

    fn line(&self) {
        let (done, total) = (self.bar.position(), self.bar.length().unwrap_or(0));
        let seconds = self.watch.seconds();
        let rate = done.saturating_sub(self.before) as f64 / seconds.max(1e-9);
        let message = self.message.lock().unwrap_or_else(PoisonError::into_inner);
        let items = total.saturating_sub(done);
        let median = self.pace.lock().unwrap_or_else(PoisonError::into_inner).median().filter(|_| items > 0);
        let left = median.map_or(String::new(), |seconds| format!(", {} left", in_words(seconds * items as f64)));
        let line = format!("{:<8} {done}/{total}, {seconds:.1} s{left}, {rate:.2}/s  {message}", self.what);
        note(line.trim_end());
    }
}

/// Whether the machine's clock shows a time that libraries do not expect, and panic at.
pub(crate) fn clock_is_before_1970() -> bool {
    SystemTime::now() < SystemTime::UNIX_EPOCH
}

/// The time of day that follows a steady clock from its making on: setting the machine's clock moves it neither back nor forth.
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    begin: f64,
    watch: Stopwatch,
}

impl WallClock {
    /// Reads the machine's clock once.
    pub fn start() -> WallClock {
        let begin = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        WallClock { begin, watch: Stopwatch::start() }
    }

    /// Seconds since 1970; from 0 on where the machine's clock shows an earlier time.
    pub fn seconds(&self) -> f64 {
        self.begin + self.watch.seconds()
    }
}

/// A wall clock that starts when it is made.
#[derive(Clone, Copy, Debug)]
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
