//! What a person sees while a run goes on, and the only clocks of this crate.

use std::fmt;
use std::io::IsTerminal;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// Seconds between lines where there is no terminal.
const LINE_SECONDS: f64 = 10.0;

/// A bar over a known number of things, with a message of the moment; lines where there is no terminal.
pub struct Progress {
    bar: ProgressBar,
    // Things that an earlier run had done.
    before: u64,
    what: String,
    watch: Stopwatch,
    last_line: f64,
    message: String,
    terminal: bool,
}

impl Progress {
    /// A bar for `total` things such as "steps", of which `done` are done.
    pub fn new(total: u64, done: u64, what: &str) -> Progress {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr()).with_position(done);
        let template =
            format!("{{spinner}} {what:<8} {{bar:32}} {{pos}}/{{len}}  {{rate:>8}}  {{elapsed}}<{{eta}}  {{msg}}");
        let rate = |state: &ProgressState, text: &mut dyn fmt::Write| {
            // A terminal that refuses a few characters loses them, nothing else.
            let _ = write!(text, "{:.1}/s", state.per_sec());
        };
        let style = ProgressStyle::with_template(&template).expect("the template is valid");
        bar.set_style(style.with_key("rate", rate).progress_chars("=> "));
        bar.reset_eta();
        Progress {
            bar,
            before: done,
            what: what.to_owned(),
            watch: Stopwatch::start(),
            last_line: 0.0,
            message: String::new(),
            terminal: std::io::stderr().is_terminal(),
        }
    }

    /// `count` more are done; `message` says how it goes.
    pub fn step(&mut self, count: u64, message: String) {
        self.bar.inc(count);
        self.bar.set_message(message.clone());
        self.message = message;
        let now = self.watch.seconds();
        if !self.terminal && now - self.last_line >= LINE_SECONDS {
            self.last_line = now;
            self.line();
        }
    }

    /// The last word: how many, how fast.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
        self.line();
    }

    fn line(&self) {
        let (done, total) = (self.bar.position(), self.bar.length().unwrap_or(0));
        let seconds = self.watch.seconds();
        let rate = (done - self.before) as f64 / seconds.max(1e-9);
        eprintln!("{:<8} {done}/{total}, {seconds:.1} s, {rate:.2}/s  {}", self.what, self.message);
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
