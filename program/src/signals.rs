//! Signals: taken by one thread that does nothing else, never by a thread that computes.
//!
//! Compiled kernels (oneDNN's, which libtorch runs on a CPU) keep values below the stack pointer, where the system puts the frame
//! of a signal's handler: a handler on such a thread, whoever installed it, corrupts the numbers or the heap. What a
//! signal does stays as it was; only where it is taken changes, unless work that can stop in good order [listens](StopSignal).
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::note;

/// Signals that stay with the thread that causes them: faults of the program itself.
const FAULTS: [i32; 7] =
    [libc::SIGABRT, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGSEGV, libc::SIGSYS, libc::SIGTRAP];

/// Signals that ask a program to end: from another program, the keyboard, and a terminal that is closed.
const STOPS: [i32; 3] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP];

/// What is said at the first signal; None where nobody listens.
static LISTENER: Mutex<Option<&'static str>> = Mutex::new(None);
static IS_ASKED: AtomicBool = AtomicBool::new(false);

/// While it lives, the first signal that asks the program to end (SIGTERM, SIGINT, SIGHUP) only sets a mark, for work that stops
/// in good order; the second one ends it at once, as the first does where nobody listens. Signals that the program was started
/// to ignore, as `nohup` does, stay ignored.
#[derive(Debug)]
pub struct StopSignal(());

impl StopSignal {
    /// Listens; `message` is said on standard error at the first signal. One part of a program listens at a time.
    pub fn listen(message: &'static str) -> StopSignal {
        *LISTENER.lock().unwrap_or_else(PoisonError::into_inner) = Some(message);
        StopSignal(())
    }

    /// Whether a signal came.
    pub fn is_asked(&self) -> bool {
        IS_ASKED.load(Ordering::Relaxed)
    }
}

impl Drop for StopSignal {
    fn drop(&mut self) {
        *LISTENER.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Blocks signals on this thread and all that it will start, and starts one thread that takes them. To be called before any
/// other thread is started.
///
/// A write beyond a limit on the size of files (`ulimit -f`) is an error then, which names the file, and no longer the end of
/// the program without a word.
///
/// # Errors
/// The system gives no thread.
pub(crate) fn take_on_one_thread() -> io::Result<()> {
    let before = set_mask(&all_but_faults())?;
    let take = move || {
        // What was blocked or ignored by whoever started the program stays so.
        let stops: Vec<i32> =
            STOPS.into_iter().filter(|signal| !is_member(&before, *signal) && !is_ignored(*signal)).collect();
        let (waited_for, blocked) = (with(empty(), &stops), with(before, &stops));
        if set_mask(&blocked).is_err() {
            return;
        }
        while !stops.is_empty() {
            if let Some(signal) = wait_for(&waited_for) {
                obey(signal, &before);
            }
        }
        loop {
            thread::park();
        }
    };
    thread::Builder::new().name("signals".into()).stack_size(256 << 10).spawn(take)?;
    Ok(())
}

/// Marks that the program is to stop, where somebody listens and this is the first signal; ends the program otherwise.
fn obey(signal: i32, unblocked: &libc::sigset_t) {
    let listener = *LISTENER.lock().unwrap_or_else(PoisonError::into_inner);
    match listener {
        Some(message) if !IS_ASKED.swap(true, Ordering::Relaxed) => note(message),
        _ => {
            // SAFETY: a signal's number; the thread takes it when it is no longer blocked, and it ends the program.
            unsafe { libc::raise(signal) };
            let _ = set_mask(unblocked);
        }
    }
}

/// The next of these signals, which are blocked.
fn wait_for(set: &libc::sigset_t) -> Option<i32> {
    let mut signal = 0;
    // SAFETY: the set and the number live as long as the call.
    (unsafe { libc::sigwait(set, &mut signal) } == 0).then_some(signal)
}

fn is_ignored(signal: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: the call initializes the action where it gives 0, and changes nothing.
    unsafe {
        libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

fn is_member(set: &libc::sigset_t, signal: i32) -> bool {
    // SAFETY: the set lives as long as the call.
    unsafe { libc::sigismember(set, signal) == 1 }
}

fn empty() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: `sigemptyset` initializes the set that it is given.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        set.assume_init()
    }
}

fn with(mut set: libc::sigset_t, signals: &[i32]) -> libc::sigset_t {
    for signal in signals {
        // SAFETY: the set lives as long as the call.
        unsafe { libc::sigaddset(&mut set, *signal) };
    }
    set
}

fn all_but_faults() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: `sigfillset` initializes the set that it is given, which `sigdelset` changes.
    unsafe {
        libc::sigfillset(set.as_mut_ptr());
        for fault in FAULTS {
            libc::sigdelset(set.as_mut_ptr(), fault);
        }
        set.assume_init()
    }
}

/// Sets which signals this thread does not take, and gives which it did not before.
fn set_mask(set: &libc::sigset_t) -> io::Result<libc::sigset_t> {
    let mut before = MaybeUninit::uninit();
    // SAFETY: both sets live as long as the call, which initializes `before` where it gives 0.
    match unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, ptr::from_ref(set), before.as_mut_ptr()) } {
        // SAFETY: the call gave 0.
        0 => Ok(unsafe { before.assume_init() }),
        number => Err(io::Error::from_raw_os_error(number)),
    }
}
