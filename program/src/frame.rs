//! The frame of a program: parse the arguments, run the verb, print an error with its causes, end with a code.
//!
//! 0 fine, 1 finished but something was found or set aside, 2 failed. Data goes to standard output, everything else to
//! standard error.

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::progress::clock_is_before_1970;
use crate::{Stdout, signals, stderr};

/// How a verb ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Everything is fine.
    Fine,
    /// It finished, but inputs were set aside or a check found something.
    Found,
}

impl Ending {
    /// [`Ending::Found`] where there is something.
    pub fn of(found: bool) -> Ending {
        if found { Ending::Found } else { Ending::Fine }
    }
}

/// Runs a program; `MED2E3_LOG` sets what is logged to standard error.
///
/// What the verb prints is flushed before the code is known: a reader that closed the pipe, such as `head`, has what it wanted,
/// and a full disk is a failure.
pub fn main<Args: Parser>(run: impl FnOnce(Args, &mut Stdout) -> anyhow::Result<Ending>) -> ExitCode {
    stderr::say_panics_visibly();
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(shown) if !shown.use_stderr() => shown.exit(),
        Err(error) => {
            // What a person typed is no safer than a file's name.
            stderr::text(&error.to_string());
            return ExitCode::from(2);
        }
    };
    if clock_is_before_1970() {
        stderr::note(format_args!("error: expected a clock that is set, found a time before 1970"));
        return ExitCode::from(2);
    }
    if let Err(error) = signals::take_on_one_thread() {
        stderr::note(format_args!("error: the system gives no second thread: {error}"));
        return ExitCode::from(2);
    }
    let filter = EnvFilter::try_from_env("MED2E3_LOG").unwrap_or_else(|_| "warn".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(stderr::Log).init();
    let mut out = Stdout::lock();
    let ended = run(args, &mut out).and_then(|ending| Ok(out.finish().map(|()| ending)?));
    match ended {
        Ok(Ending::Fine) => ExitCode::SUCCESS,
        Ok(Ending::Found) => ExitCode::from(1),
        Err(error) => {
            stderr::note(format_args!("error: {error:#}"));
            ExitCode::from(2)
        }
    }
}
