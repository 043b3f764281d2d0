//! Waiting in slices between which Python hears signals, with the interpreter free for other threads meanwhile.

use std::panic::resume_unwind;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use pyo3::prelude::*;

/// The longest time for which a signal stays unheard.
pub(crate) const SLICE: Duration = Duration::from_millis(50);

/// Does long work in a thread of its own and waits for it. After Ctrl-C nobody waits any more, and what it makes is dropped.
///
/// # Errors
/// What a signal's handler raised.
///
/// # Panics
/// The work panicked.
pub(crate) fn done<T: Send + 'static>(py: Python<'_>, work: impl FnOnce() -> T + Send + 'static) -> PyResult<T> {
    let (sender, receiver) = channel();
    let thread = thread::spawn(move || {
        // Nobody may want it any more.
        let _ = sender.send(work());
    });
    let mut receiver = receiver;
    loop {
        let (back, waited) = py.detach(move || {
            let waited = receiver.recv_timeout(SLICE);
            (receiver, waited)
        });
        receiver = back;
        match waited {
            Ok(made) => return Ok(made),
            Err(RecvTimeoutError::Timeout) => py.check_signals()?,
            Err(RecvTimeoutError::Disconnected) => match thread.join() {
                Err(panic) => resume_unwind(panic),
                Ok(()) => unreachable!("a thread that ends without a panic sends"),
            },
        }
    }
}
